"""Reward models of the inference service, through the gateway."""

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from services.core.gateway import Gateway


class GrpcRewardModels:
    """Models that score answers."""

    def __init__(self, gateway: Gateway, seconds: float) -> None:
        """Reaches them through a gateway.

        Args:
            gateway: The gateway.
            seconds: Longest time for the answers to one dialog.
        """
        self._gateway = gateway
        self._stub: inference_pb2_grpc.InferenceServiceAsyncStub = inference_pb2_grpc.InferenceServiceStub(
            gateway.channel
        )
        self._seconds = seconds

    async def score(self, request: inference_pb2.ScoreAnswersRequest) -> inference_pb2.ScoreAnswersResponse:
        """Scores answers to one dialog."""
        return await self._gateway.call(self._stub.ScoreAnswers, request, timeout=self._seconds)
