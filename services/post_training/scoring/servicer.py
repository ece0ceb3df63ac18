"""The gRPC edge of reward scoring."""

from typing import Any, TypeAlias

import grpc

from caravan.reward_scoring.v1 import reward_scoring_pb2, reward_scoring_pb2_grpc
from services.post_training.scoring.scoring import Scoring

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class RewardScoringServicer(reward_scoring_pb2_grpc.RewardScoringServiceServicer):
    """Hands each call to the domain."""

    def __init__(self, scoring: Scoring) -> None:
        """Serves it.

        Args:
            scoring: What scores.
        """
        self._scoring = scoring

    async def Score(
        self, request: reward_scoring_pb2.ScoreRequest, context: Context
    ) -> reward_scoring_pb2.ScoreResponse:
        """Scores several answers to each of several dialogs."""
        return await self._scoring.score(request)
