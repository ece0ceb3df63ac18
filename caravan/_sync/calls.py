# Made from caravan/_async/calls.py by tools/sync_client.py. Do not edit.
"""What every group of calls is given: the transport and the options, and the ways to call."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from caravan._sync.transport import Transport
from caravan.config import CallOptions

R = TypeVar("R", bound=Message)
T_co = TypeVar("T_co", covariant=True)


class Page(Protocol[T_co]):
    """A page of a list."""

    @property
    def data(self) -> Iterable[T_co]:
        """The entries."""

    @property
    def next_page_token(self) -> str:
        """Token of the next page; empty: this was the last."""


@dataclass(frozen=True)
class Calls:
    """Calls with the client's options."""

    transport: Transport
    """Makes the calls."""
    options: CallOptions
    """What applies to every call."""

    def unary(self, request: Message, response_type: type[R], timeout: float | None = None) -> R:
        """Makes a call that has one response.

        Args:
            request: The request.
            response_type: Class of the response.
            timeout: Seconds until it fails. None: the client's.
        """
        return self.transport.unary(request, response_type, self.options.changed(timeout=timeout))

    def stream(
        self, request: Message, response_type: type[R], timeout: float | None = None
    ) -> Generator[R, None, None]:
        """Makes a call whose response is a stream.

        Args:
            request: The request.
            response_type: Class of each response.
            timeout: Seconds until it fails. None: the client's.
        """
        return self.transport.stream(request, response_type, self.options.changed(timeout=timeout))

    def exchange(
        self,
        first: Message,
        rest: Iterable[Message],
        response_type: type[R],
        timeout: float | None = None,
    ) -> Generator[R, None, None]:
        """Makes a call in which both sides stream.

        Args:
            first: The first request.
            rest: The requests that follow.
            response_type: Class of each response.
            timeout: Seconds until it fails. None: the client's.
        """
        return self.transport.exchange(first, rest, response_type, self.options.changed(timeout=timeout))

    def entries(self, fetch: Callable[[str], Message], page_type: type[Page[T_co]]) -> Generator[T_co, None, None]:
        """Yields the entries of a list, page by page.

        Args:
            fetch: Makes the request of a page from its token.
            page_type: Class of a page.
        """
        token = ""
        while True:
            page = self.unary(fetch(token), page_type)  # type: ignore[type-var]  # a page is a message
            yield from page.data
            token = page.next_page_token
            if not token:
                return
