"""Calls of tools that are to be repeatable, in Redis. One key a call; nothing else belongs to it."""

from typing import Any

from google.rpc import status_pb2

from caravan.agents.v1 import tool_runtime_pb2
from services.agents.invocations import Claim, InvocationStore, Kept, Underway
from services.agents.state import Request
from services.agents.store.context import DAY_MILLISECONDS, Context, operation, reused

_TOO_LARGE = b"too large"


class RedisInvocations(InvocationStore):
    """Calls with a `request_id`."""

    _context: Context

    async def claim_invocation(self, request: Request) -> Claim | Kept | Underway:
        """See InvocationStore."""
        token = operation()
        milliseconds = int(self._context.settings.lease_seconds * 1000)
        outcome, *rest = await self._run(request, "claim_invocation", token, request.digest, milliseconds)
        match outcome:
            case b"reused":
                raise reused()
            case b"claimed":
                return Claim(request, token, int(rest[0]))
            case b"runs":
                return Underway(int(rest[0]) / 1000)
            case _:
                return self._kept(*rest)

    async def renew_invocation(self, claim: Claim) -> bool:
        """See InvocationStore."""
        milliseconds = int(self._context.settings.lease_seconds * 1000)
        (outcome,) = await self._run(claim.request, "renew_invocation", claim.token, milliseconds, 0)
        return bool(outcome == b"held")

    async def settle_invocation(self, claim: Claim, kept: Kept) -> bool:
        """See InvocationStore."""
        kind, message = ("error", kept.error) if kept.error is not None else ("response", kept.response)
        content = self._context.codec.encode(message) if message is not None else b""
        if not content or len(content) > self._context.settings.max_result_bytes:
            kind, content = _TOO_LARGE.decode(), b""
        (outcome,) = await self._run(claim.request, "settle_invocation", claim.token, kind, content, DAY_MILLISECONDS)
        return bool(outcome == b"settled")

    async def release_invocation(self, claim: Claim, *, forget: bool) -> None:
        """See InvocationStore."""
        await self._run(claim.request, "renew_invocation", claim.token, 0, int(forget))

    async def _run(self, request: Request, script: str, *arguments: bytes | str | int) -> list[Any]:
        key = self._context.keys.invocation(request.request_id)
        call = self._context.scripts[script].call([key], *arguments)
        reply: list[Any] = await self._context.commands.run(key, call, write=True)
        return reply

    def _kept(self, kind: bytes, content: bytes) -> Kept:
        codec = self._context.codec
        match kind:
            case b"response":
                return Kept(codec.decode(tool_runtime_pb2.InvokeToolResponse, content))
            case b"error":
                return Kept(error=codec.decode(status_pb2.Status, content))
            case _:
                return Kept()
