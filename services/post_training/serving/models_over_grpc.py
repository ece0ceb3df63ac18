"""The registry's models and their answers, through the gateway."""

from collections.abc import Sequence

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from services.core.errors import AbortedError, NotFoundError
from services.core.gateway import Gateway

_PAGE = 1000
# A provider may have to fetch what it loads.
_REGISTERING_SECONDS = 300.0


class GrpcModels:
    """The models that can be requested."""

    def __init__(self, gateway: Gateway) -> None:
        """Reaches them through a gateway.

        Args:
            gateway: The gateway.
        """
        self._gateway = gateway
        self._stub: models_pb2_grpc.ModelsServiceAsyncStub = models_pb2_grpc.ModelsServiceStub(gateway.channel)

    async def find(self, model_id: str) -> models_pb2.Model | None:
        """Returns a model; None: there is none of this name."""
        request = models_pb2.GetModelRequest(model_id=model_id)
        try:
            return (await self._gateway.call(self._stub.GetModel, request)).model
        except NotFoundError:
            return None

    async def every(self) -> Sequence[models_pb2.Model]:
        """Returns all models."""
        found: list[models_pb2.Model] = []
        token = ""
        while True:
            request = models_pb2.ListModelsRequest(page_size=_PAGE, page_token=token)
            page = await self._gateway.call(self._stub.ListModels, request)
            found += page.data
            token = page.next_page_token
            if not token:
                return found

    async def register(self, request: models_pb2.RegisterModelRequest) -> models_pb2.Model:
        """Registers a model; it can be requested then."""
        answered = await self._gateway.call(self._stub.RegisterModel, request, timeout=_REGISTERING_SECONDS)
        return answered.model

    async def unregister(self, model_id: str, revision: int) -> None:
        """Takes a registration out; one that is gone, or has become another, is left as it is."""
        request = models_pb2.UnregisterModelRequest(model_id=model_id, revision=revision)
        try:
            await self._gateway.call(self._stub.UnregisterModel, request)
        except (NotFoundError, AbortedError):
            return


class GrpcChat:
    """Models that answer."""

    def __init__(self, gateway: Gateway) -> None:
        """Reaches them through a gateway.

        Args:
            gateway: The gateway.
        """
        self._gateway = gateway
        self._stub: inference_pb2_grpc.InferenceServiceAsyncStub = inference_pb2_grpc.InferenceServiceStub(
            gateway.channel
        )

    async def answer(
        self, request: inference_pb2.ChatCompletionRequest, seconds: float
    ) -> inference_pb2.ChatCompletionResponse:
        """Answers a conversation."""
        return await self._gateway.call(self._stub.ChatCompletion, request, timeout=seconds)
