"""RunShield and RunShields: shields run at the same time, wherever they are served; the first error in the order of the list decides."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from google.protobuf import struct_pb2

from caravan.safety.v1 import results_pb2, safety_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import (
    CaravanError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
)
from services.safety.concurrency import all_of
from services.safety.judging import Judge
from services.safety.masking import masked_messages
from services.safety.parameters import ShieldParams
from services.safety.provider import ShieldProvider
from services.safety.results import ERROR, WARN, failure_result, result_of

Params = struct_pb2.Struct | None
IGNORE, WARN_ONLY = safety_pb2.ON_VIOLATION_ACTION_IGNORE, safety_pb2.ON_VIOLATION_ACTION_WARN

# Messages of this size are copied and masked in less than a millisecond.
_QUICK_BYTES = 100_000


class OtherShields(ABC):
    """The port to the shields that other providers serve."""

    @abstractmethod
    async def run(
        self, shield_id: str, messages: Sequence[types_pb2.Message], params: Params
    ) -> results_pb2.ShieldResult:
        """Judges messages by a shield; one that cannot judge has a result that says so.

        Raises:
            NotFoundError: Nobody serves it, or what it needs is gone.
            InvalidArgumentError: The parameters do not fit its schema.
        """


class Runner:
    """Runs shields."""

    def __init__(self, provider: ShieldProvider[ShieldParams], judge: Judge, others: OtherShields) -> None:
        """Sets what it runs.

        Args:
            provider: The shields that are served here.
            judge: Has them judge.
            others: Those that are not.
        """
        self._provider = provider
        self._judge = judge
        self._others = others

    async def run_shield(self, request: safety_pb2.RunShieldRequest) -> safety_pb2.RunShieldResponse:
        """Judges messages by one shield that is served here.

        Raises:
            NotFoundError: It is not served here, or what it needs is gone.
            InvalidArgumentError: The parameters do not fit its schema.
        """
        params = request.params if request.HasField("params") else None
        result = await self._run_here(request.shield_id, request.messages, params)
        response = safety_pb2.RunShieldResponse(result=result)
        if result.HasField("violation"):
            response.violation.CopyFrom(result.violation)
        return response

    async def run_shields(self, request: safety_pb2.RunShieldsRequest) -> safety_pb2.RunShieldsResponse:
        """Judges messages by several shields.

        Raises:
            NotFoundError: One of them does not exist, or what it needs is gone.
            InvalidArgumentError: Parameters do not fit a shield's schema; the field paths begin with `options["<shield_id>"].params`.
        """
        results = await all_of(self._run_one(shield_id, request) for shield_id in request.shield_ids)
        counted = [result for result in results if not self._is_ignored(result, request)]
        findings = [finding for result in counted for finding in result.findings]
        size = request.ByteSize() if findings else 0
        masked = await self._judge.run(size, _QUICK_BYTES, masked_messages, request.messages, findings)
        response = safety_pb2.RunShieldsResponse(results=results, masked_messages=masked)
        violating = [result for result in counted if result.HasField("violation")]
        if violating:
            # The first of the most severe.
            deciding = max(violating, key=lambda result: result.violation.violation_level)
            response.violation.CopyFrom(deciding.violation)
            response.deciding_shield_id = deciding.shield_id
        return response

    async def _run_one(self, shield_id: str, request: safety_pb2.RunShieldsRequest) -> results_pb2.ShieldResult:
        options = request.options[shield_id] if shield_id in request.options else safety_pb2.ShieldRunOptions()
        params = options.params if options.HasField("params") else None
        try:
            if self._provider.serves(shield_id):
                result = await self._run_here(shield_id, request.messages, params)
            else:
                result = await self._others.run(shield_id, request.messages, params)
        except InvalidArgumentError as error:
            raise _relocated(error, f'options["{shield_id}"].') from error
        if _action(shield_id, request) == WARN_ONLY:
            _lower(result)
        return result

    async def _run_here(
        self, shield_id: str, messages: Sequence[types_pb2.Message], params: Params
    ) -> results_pb2.ShieldResult:
        started = time.monotonic()
        ready = await self._provider.ready_shield(shield_id, params)
        try:
            verdict = await self._judge.verdict(ready, messages)
            size = sum(message.ByteSize() for message in messages) if verdict.findings else 0
            result = await self._judge.run(size, _QUICK_BYTES, result_of, shield_id, verdict, ready.params, messages)
        except (NotFoundError, InvalidArgumentError):
            raise
        except CaravanError as error:
            result = failure_result(shield_id, error, fail_open=ready.params.fail_open)
        result.latency.FromNanoseconds(round((time.monotonic() - started) * 1e9))
        return result

    @staticmethod
    def _is_ignored(result: results_pb2.ShieldResult, request: safety_pb2.RunShieldsRequest) -> bool:
        return result.violation.violation_level == ERROR and _action(result.shield_id, request) == IGNORE


def _action(shield_id: str, request: safety_pb2.RunShieldsRequest) -> safety_pb2.OnViolationAction.ValueType:
    if shield_id in request.options and request.options[shield_id].on_violation_action:
        return request.options[shield_id].on_violation_action
    return request.on_violation_action


def _relocated(error: InvalidArgumentError, prefix: str) -> InvalidArgumentError:
    """The same error with the paths of the request for several shields."""
    moved = [
        FieldViolation(f"{prefix}{one.field}", one.description) if one.field.startswith("params") else one
        for one in error.violations
    ]
    message = f"{prefix}{error.message}" if error.message.startswith("params") else error.message
    return InvalidArgumentError(message, violations=moved, reason=error.reason, metadata=error.metadata)


def _lower(result: results_pb2.ShieldResult) -> None:
    if result.violation.violation_level == ERROR:
        result.violation.violation_level = WARN
    for finding in result.findings:
        if finding.violation_level == ERROR:
            finding.violation_level = WARN
