"""What every group of calls is given: the transport and the options, and the ways to call."""

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from caravan._async.transport import AsyncTransport
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
class AsyncCalls:
    """Calls with the client's options."""

    transport: AsyncTransport
    """Makes the calls."""
    options: CallOptions
    """What applies to every call."""

    async def unary(self, request: Message, response_type: type[R], timeout: float | None = None) -> R:  # noqa: ASYNC109
        """Makes a call that has one response.

        Args:
            request: The request.
            response_type: Class of the response.
            timeout: Seconds until it fails. None: the client's.
        """
        return await self.transport.unary(request, response_type, self.options.changed(timeout=timeout))

    def stream(self, request: Message, response_type: type[R], timeout: float | None = None) -> AsyncGenerator[R, None]:
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
    ) -> AsyncGenerator[R, None]:
        """Makes a call in which both sides stream.

        Args:
            first: The first request.
            rest: The requests that follow.
            response_type: Class of each response.
            timeout: Seconds until it fails. None: the client's.
        """
        return self.transport.exchange(first, rest, response_type, self.options.changed(timeout=timeout))

    async def entries(self, fetch: Callable[[str], Message], page_type: type[Page[T_co]]) -> AsyncGenerator[T_co, None]:
        """Yields the entries of a list, page by page.

        Args:
            fetch: Makes the request of a page from its token.
            page_type: Class of a page.
        """
        token = ""
        while True:
            page = await self.unary(fetch(token), page_type)  # type: ignore[type-var]  # a page is a message
            for entry in page.data:
                yield entry
            token = page.next_page_token
            if not token:
                return
