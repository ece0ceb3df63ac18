"""What an engine hands to the domain while it generates: plain pieces, free of any engine's types."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from caravan.types.v1 import types_pb2


@dataclass(frozen=True, slots=True)
class Piece:
    """What was generated since the piece before."""

    text: str
    """Text to append; empty while a character is incomplete."""
    token_ids: Sequence[int] = ()
    """The tokens that it was made of."""
    stop_reason: types_pb2.StopReason.ValueType = types_pb2.STOP_REASON_UNSPECIFIED
    """Why generation ended; set in the last piece."""
    logprobs: list[types_pb2.TokenLogProbs] = field(default_factory=list)
    """One entry for each of the piece's tokens, when asked for."""
    metrics: list[types_pb2.MetricInResponse] = field(default_factory=list)
    """Usage of the whole call; set in the last piece."""

    @property
    def finished(self) -> bool:
        """Whether this is the last piece."""
        return self.stop_reason != types_pb2.STOP_REASON_UNSPECIFIED
