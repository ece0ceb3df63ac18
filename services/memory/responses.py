"""Responses that fit into one message, without reading more than that.

Entries are read in portions, which grow while what comes is small: a page of a thousand values of some MiB each must not be in memory.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from services.core.errors import ResourceExhaustedError

_PORTION = 16
_GROWTH = 4
# What a message has beside its entries: tags, lengths, a page token.
_OVERHEAD = 32_768

T = TypeVar("T")
Response = TypeVar("Response", bound=Message)


class Responses:
    """How large responses may be."""

    def __init__(self, most_bytes: int) -> None:
        """Sets the limit.

        Args:
            most_bytes: Largest message that the server sends.
        """
        self._most_bytes = max(0, most_bytes - _OVERHEAD)

    def checked(self, response: Response, advice: str) -> Response:
        """Returns a response that fits.

        Args:
            response: The response.
            advice: What to ask for instead, when it does not.

        Raises:
            ResourceExhaustedError: It is too large.
        """
        if response.ByteSize() > self._most_bytes:
            raise self._too_large(advice)
        return response

    async def page(
        self, read: Callable[[T | None, int], Awaitable[Sequence[T]]], count: int, size_of: Callable[[T], int]
    ) -> tuple[list[T], bool]:
        """Reads a page: as many entries as are wanted, or as fit, but one at least.

        Args:
            read: Reads up to so many entries that follow one; None: the first.
            count: Most entries.
            size_of: Size of an entry in bytes.

        Returns:
            The entries, and whether there are more.
        """
        entries: list[T] = []
        held, portion = 0, _PORTION
        while True:
            wanted = min(portion, count + 1 - len(entries))
            some = await read(entries[-1] if entries else None, wanted)
            for entry in some:
                held += size_of(entry)
                if len(entries) == count or (entries and held > self._most_bytes):
                    return entries, True
                entries.append(entry)
            if len(some) < wanted:
                return entries, False
            portion = self._following(portion, held, len(entries))

    async def every(
        self,
        keys: Sequence[str],
        read: Callable[[Sequence[str]], Awaitable[dict[str, T]]],
        size_of: Callable[[T], int],
        advice: str,
        *,
        portion: int = _PORTION,
    ) -> dict[str, T]:
        """Reads the entries of all keys.

        Args:
            keys: The keys.
            read: Reads the entries of some.
            size_of: Size of an entry in bytes.
            advice: What to ask for instead, when they do not fit.
            portion: Number of keys to begin with.

        Raises:
            ResourceExhaustedError: They are too large.
        """
        entries: dict[str, T] = {}
        held = begin = 0
        while begin < len(keys):
            some = await read(keys[begin : begin + portion])
            held += sum(map(size_of, some.values()))
            if held > self._most_bytes:
                raise self._too_large(advice)
            entries |= some
            begin += portion
            portion = self._following(portion, held, begin)
        return entries

    def _following(self, portion: int, held: int, count: int) -> int:
        """Returns how many entries to read next, by how large those before were."""
        fitting = (self._most_bytes - held) * count // max(held, 1)
        return max(1, min(portion * _GROWTH, fitting))

    def _too_large(self, advice: str) -> ResourceExhaustedError:
        message = f"the response is larger than the {self._most_bytes} bytes that one message holds: {advice}"
        return ResourceExhaustedError(message, reason="RESPONSE_TOO_LARGE")
