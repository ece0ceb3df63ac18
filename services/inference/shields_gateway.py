"""Has the safety service judge, through the gateway."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import grpc
import structlog
from opentelemetry import metrics

from caravan.safety.v1 import results_pb2, safety_pb2, safety_pb2_grpc
from caravan.types.v1 import types_pb2
from services.core.channels import call_timeout
from services.core.errors import (
    CallCancelledError,
    CaravanError,
    FailedPreconditionError,
    UnavailableError,
)
from services.core.gateway import Gateway
from services.core.provider_data import PROVIDER_DATA_KEY, provider_data_text
from services.core.status import error_from_rpc
from services.inference.shields_following import AlwaysOnShield

HOPS_KEY = "caravan-shield-hops"
TOKEN_KEY = "caravan-shield-token"  # noqa: S105 - the name of a header
VIOLATION = "SHIELD_VIOLATION"
RECURSION = "SHIELD_RECURSION"

_HOPS = ((HOPS_KEY, "1"),)
_RUN_SECONDS = 120.0
_STREAM_SECONDS = 3600.0
_MOST_AT_ONCE = 32
_MOST_MESSAGES = 4096
_WARN, _ERROR = types_pb2.VIOLATION_LEVEL_WARN, types_pb2.VIOLATION_LEVEL_ERROR

_log = structlog.get_logger(__name__)


class Safety:
    """The safety service, as what guards a model needs it. What cannot be judged is refused, unless all its shields fail open."""

    def __init__(self, gateway: Gateway) -> None:
        """Sets the way to it.

        Args:
            gateway: The gateway.
        """
        self._gateway = gateway
        meter = metrics.get_meter("caravan.inference")
        self._violations = meter.create_counter("caravan.shield.violations", "{violation}", "What shields found")

    async def judge(
        self,
        shields: Sequence[AlwaysOnShield],
        messages: Sequence[types_pb2.Message],
        *,
        direction: str,
        only_last: bool,
    ) -> tuple[list[types_pb2.Message], int]:
        """Judges messages.

        Args:
            shields: The shields.
            messages: The conversation.
            direction: `input` or `output`, for whoever is told.
            only_last: The messages before the last one are context.

        Returns:
            The messages, with what was found masked, and the number of warnings.

        Raises:
            FailedPreconditionError: A violation of level error, or a guard that is guarded itself.
            UnavailableError: Somebody cannot judge.
        """
        warnings = 0
        # One message more than a conversation may have: the answer to it.
        judged = list(messages)[-_MOST_MESSAGES:] if only_last else list(messages)
        for begin in range(0, len(shields), _MOST_AT_ONCE):
            response = await self._run(shields[begin : begin + _MOST_AT_ONCE], judged, only_last=only_last)
            if response is None:
                continue
            warnings += sum(self.warned(result, direction) for result in response.results)
            for result in response.results:
                if result.shield_id == response.deciding_shield_id:
                    self.refuse(result, direction)
            if response.masked_messages:
                judged = list(response.masked_messages)
        return judged, warnings

    async def stream(
        self, requests: AsyncIterator[safety_pb2.StreamShieldRequest]
    ) -> AsyncGenerator[safety_pb2.StreamShieldResponse, None]:
        """Judges a text that grows.

        Args:
            requests: The text; the first one names the shield.

        Raises:
            CaravanError: What the safety service answered.
        """
        stub = safety_pb2_grpc.SafetyServiceStub(self._gateway.channel)
        data = provider_data_text()
        metadata = _HOPS if data is None else (*_HOPS, (PROVIDER_DATA_KEY, data))
        call = stub.StreamShield(requests, timeout=call_timeout(_STREAM_SECONDS), metadata=metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        finally:
            call.cancel()

    def warned(self, result: results_pb2.ShieldResult, direction: str) -> bool:
        """Counts what a shield says, and tells whether it is a warning."""
        if result.HasField("error"):
            _log.warning("shield_failed", shield_id=result.shield_id, direction=direction, message=result.error.message)
        level = result.violation.violation_level
        if level:
            name = types_pb2.ViolationLevel.Name(level).removeprefix("VIOLATION_LEVEL_").lower()
            category = _detail(result.violation, "category")
            attributes = {"shield_id": result.shield_id, "level": name, "direction": direction}
            self._violations.add(1, attributes)
            _log.info("shield_violation", **attributes, category=category)
        return level == _WARN

    def refuse(self, result: results_pb2.ShieldResult, direction: str) -> None:
        """Refuses content that a shield finds a violation of level error in, or that it could not judge and fails closed.

        Raises:
            FailedPreconditionError: For a violation, or because a guard is guarded itself.
            UnavailableError: The shield could not judge.
        """
        violation = result.violation
        if violation.violation_level != _ERROR:
            return
        if result.HasField("error"):
            message = f"shield {result.shield_id} always guards this model and cannot judge: {result.error.message}"
            if _detail(violation, "reason") == RECURSION:
                raise FailedPreconditionError(message, reason=RECURSION)
            raise UnavailableError(message, reason="SHIELD_UNAVAILABLE")
        category = _detail(violation, "category")
        metadata = {"shield_id": result.shield_id, "category": category, "direction": direction}
        raise FailedPreconditionError(violation.user_message, reason=VIOLATION, metadata=metadata)

    def give_up(self, shields: Sequence[AlwaysOnShield], error: CaravanError) -> None:
        """Lets pass what shields that fail open could not judge.

        Raises:
            FailedPreconditionError: A guard is guarded itself.
            UnavailableError: Not all of them fail open.
        """
        if isinstance(error, CallCancelledError) or error.reason == RECURSION:
            raise error
        names = ", ".join(shield.shield_id for shield in shields)
        if all(shield.fails_open for shield in shields):
            _log.warning("shields_failed_open", shields=names, reason=error.reason, message=error.message)
            return
        message = f"the shields that always guard this model ({names}) cannot judge: {error.message}"
        raise UnavailableError(message, reason="SHIELD_UNAVAILABLE") from error

    async def _run(
        self, shields: Sequence[AlwaysOnShield], messages: Sequence[types_pb2.Message], *, only_last: bool
    ) -> safety_pb2.RunShieldsResponse | None:
        """Runs shields, asking the provider of the first one to; when it is away, the next one's. None: they fail open."""
        failure: CaravanError | None = None
        firsts: dict[str, AlwaysOnShield] = {}
        for shield in shields:
            firsts.setdefault(shield.provider_id, shield)
        for first in firsts.values():
            ordered = [first, *(shield for shield in shields if shield is not first)]
            try:
                return await self._run_from(ordered, messages, only_last=only_last)
            except UnavailableError as error:
                failure = error
            except CaravanError as error:
                failure = error
                break
        if failure is not None:
            self.give_up(shields, failure)
        return None

    async def _run_from(
        self, shields: Sequence[AlwaysOnShield], messages: Sequence[types_pb2.Message], *, only_last: bool
    ) -> safety_pb2.RunShieldsResponse:
        request = safety_pb2.RunShieldsRequest(shield_ids=[shield.shield_id for shield in shields], messages=messages)
        if only_last:
            for shield in shields:
                request.options[shield.shield_id].params.update({"judged": "last"})
        stub = safety_pb2_grpc.SafetyServiceStub(self._gateway.channel)
        return await self._gateway.call(stub.RunShields, request, timeout=_RUN_SECONDS, metadata=_HOPS)


def _detail(violation: types_pb2.SafetyViolation, name: str) -> str:
    fields = violation.metadata.fields
    return fields[name].string_value if name in fields else ""
