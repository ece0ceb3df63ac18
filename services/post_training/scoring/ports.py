"""What scoring needs of the world: reward models."""

from typing import Protocol

from caravan.inference.v1 import inference_pb2


class RewardModels(Protocol):
    """Models that score answers."""

    async def score(self, request: inference_pb2.ScoreAnswersRequest) -> inference_pb2.ScoreAnswersResponse:
        """Scores answers to one dialog.

        Raises:
            NotFoundError: There is no such model.
            FailedPreconditionError: It is no reward model.
            CaravanError: It refuses the dialog or an answer, or does not answer.
        """
