"""Shields of other providers, run through the gateway."""

from collections.abc import Sequence

from caravan.registry.v1 import shields_pb2, shields_pb2_grpc
from caravan.safety.v1 import results_pb2, safety_pb2, safety_pb2_grpc
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from services.core.gateway import Gateway
from services.safety.hops import hops_metadata
from services.safety.results import failure_result
from services.safety.running import OtherShields, Params

# Seconds that another provider gets; its shield's own time limit is part of them.
_RUN_SECONDS = 610.0
_LOOKUP_SECONDS = 2.0


class GatewayShields(OtherShields):
    """What the gateway knows."""

    def __init__(self, gateway: Gateway) -> None:
        """Sets the way to them.

        Args:
            gateway: The gateway.
        """
        self._gateway = gateway

    async def run(
        self, shield_id: str, messages: Sequence[types_pb2.Message], params: Params
    ) -> results_pb2.ShieldResult:
        """Judges messages by a shield that another provider serves."""
        request = safety_pb2.RunShieldRequest(shield_id=shield_id, messages=messages, params=params)
        stub = safety_pb2_grpc.SafetyServiceStub(self._gateway.channel)
        try:
            answer = self._gateway.call(stub.RunShield, request, timeout=_RUN_SECONDS, metadata=hops_metadata())
            result = (await answer).result
        except (NotFoundError, InvalidArgumentError):
            raise
        except CaravanError as error:
            return failure_result(shield_id, error, fail_open=await self._fails_open(shield_id, params))
        if result.shield_id != shield_id:
            message = f"the provider of shield {shield_id} answered without its result; does it run this version?"
            unreadable = FailedPreconditionError(message, reason="UNREADABLE_VERDICT")
            return failure_result(shield_id, unreadable, fail_open=await self._fails_open(shield_id, params))
        return result

    async def _fails_open(self, shield_id: str, params: Params) -> bool:
        """Whether content may pass that the shield cannot judge, by the call or by the registration; its provider cannot be asked now."""
        if params is not None and "fail_open" in params.fields:
            return params.fields["fail_open"].bool_value
        stub = shields_pb2_grpc.ShieldsServiceStub(self._gateway.channel)
        request = shields_pb2.GetShieldRequest(shield_id=shield_id)
        try:
            shield = (await self._gateway.call(stub.GetShield, request, timeout=_LOOKUP_SECONDS)).shield
        except CaravanError:
            return False
        return "fail_open" in shield.params.fields and shield.params.fields["fail_open"].bool_value
