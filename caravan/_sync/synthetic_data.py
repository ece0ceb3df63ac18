# Made from caravan/_async/synthetic_data.py by tools/sync_client.py. Do not edit.
"""Making data by models."""

from collections.abc import Generator, Iterable
from typing import Unpack

from caravan._sync.calls import Calls
from caravan.generations import GenerationParameters, generation_request
from caravan.messages import MessageLike
from caravan.synthetic_data.v1 import synthetic_data_pb2


class SyntheticData:
    """`caravan.synthetic_data.v1.SyntheticDataGenerationService`."""

    def __init__(self, calls: Calls) -> None:
        """Keeps the way to call.

        Args:
            calls: Makes the calls.
        """
        self._calls = calls

    def generate(
        self,
        model: str,
        dialogs: Iterable[MessageLike | Iterable[MessageLike]] = (),
        **parameters: Unpack[GenerationParameters],
    ) -> synthetic_data_pb2.GenerateResponse:
        """Makes data and returns it.

            made = client.synthetic_data.generate("caravan-chat", ["Tell me a joke."], k=4, reward_model="judge", filter="top_k")

        Args:
            model: Model that answers.
            dialogs: The dialogs, each one message or several.
            **parameters: `dataset`, `k`, `reward_model`, `filter`, `output_dataset`, ...; see GenerationParameters.
        """
        request = generation_request(synthetic_data_pb2.GenerateRequest, model, dialogs, parameters)
        return self._calls.unary(request, synthetic_data_pb2.GenerateResponse, float("inf"))

    def stream(
        self,
        model: str,
        dialogs: Iterable[MessageLike | Iterable[MessageLike]] = (),
        **parameters: Unpack[GenerationParameters],
    ) -> Generator[synthetic_data_pb2.StreamGenerateResponse, None, None]:
        """Makes data and yields it as it is made; arguments as `generate`'s."""
        request = generation_request(synthetic_data_pb2.StreamGenerateRequest, model, dialogs, parameters)
        return self._calls.stream(request, synthetic_data_pb2.StreamGenerateResponse, float("inf"))

    def start(
        self,
        model: str,
        dialogs: Iterable[MessageLike | Iterable[MessageLike]] = (),
        *,
        job_uuid: str = "",
        **parameters: Unpack[GenerationParameters],
    ) -> str:
        """Makes data in a job, whose result is the data set `output_dataset`; returns the job's identifier.

        Args:
            model: Model that answers.
            dialogs: The dialogs, each one message or several.
            job_uuid: Identifier of the job. Default: the service makes one.
            **parameters: As `generate`'s; `output_dataset` must be given.
        """
        request = generation_request(synthetic_data_pb2.StartGenerationRequest, model, dialogs, parameters)
        request.job_uuid = job_uuid
        return self._calls.unary(request, synthetic_data_pb2.StartGenerationResponse).job_uuid
