"""The gRPC edge of the safety service."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from caravan.safety.v1 import safety_pb2, safety_pb2_grpc
from services.core.errors import CaravanError, InvalidArgumentError
from services.safety.hops import enter_hops
from services.safety.judging import Judge
from services.safety.provider import ShieldProvider
from services.safety.running import Runner
from services.safety.streaming import ShieldedText
from services.safety.texts import Role

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class SafetyServicer(safety_pb2_grpc.SafetyServiceServicer):
    """Hands each call to the domain."""

    def __init__(self, provider: ShieldProvider[Any], judge: Judge, runner: Runner) -> None:
        """Serves one provider.

        Args:
            provider: Its shields.
            judge: Has them judge.
            runner: Runs them, and those of other providers.
        """
        self._provider = provider
        self._judge = judge
        self._runner = runner

    async def RunShield(self, request: safety_pb2.RunShieldRequest, context: Context) -> safety_pb2.RunShieldResponse:
        """Judges messages by one shield."""
        enter_hops(context.invocation_metadata())
        return await self._runner.run_shield(request)

    async def RunShields(
        self, request: safety_pb2.RunShieldsRequest, context: Context
    ) -> safety_pb2.RunShieldsResponse:
        """Judges messages by several shields."""
        enter_hops(context.invocation_metadata())
        return await self._runner.run_shields(request)

    async def StreamShield(
        self, request_iterator: AsyncIterator[safety_pb2.StreamShieldRequest], context: Context
    ) -> AsyncIterator[safety_pb2.StreamShieldResponse]:
        """Judges a text while it grows."""
        enter_hops(context.invocation_metadata())
        first = await anext(request_iterator, None)
        if first is None or not first.shield_id:
            raise InvalidArgumentError.of("shield_id", "must name the shield in the first request")
        params = first.params if first.HasField("params") else None
        ready = await self._provider.ready_shield(first.shield_id, params)
        role = Role.USER if first.user_text else Role.ASSISTANT
        shielded = ShieldedText(self._judge, ready, first.messages, role)
        feeding = asyncio.create_task(_feed(shielded, first, request_iterator))
        try:
            async for event in shielded.events():
                yield event
        finally:
            feeding.cancel()


async def _feed(
    shielded: ShieldedText,
    first: safety_pb2.StreamShieldRequest,
    others: AsyncIterator[safety_pb2.StreamShieldRequest],
) -> None:
    growing = shielded.growing
    try:
        await growing.append(first.text)
        is_whole = first.end_of_text
        while not is_whole:
            request = await anext(others, None)
            if request is None:
                must = "must be true in the last request: the text ended without it"
                raise InvalidArgumentError.of("end_of_text", must)
            await growing.append(request.text)
            is_whole = request.end_of_text
        await growing.finish()
    except CaravanError as error:
        await growing.fail(error)
    except grpc.aio.UsageError:
        # The call is over.
        return
