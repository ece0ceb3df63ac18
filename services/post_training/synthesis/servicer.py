"""The gRPC edge of synthetic data."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from caravan.synthetic_data.v1 import synthetic_data_pb2, synthetic_data_pb2_grpc
from services.post_training.synthesis.ports import Jobs
from services.post_training.synthesis.synthesis import Synthesis

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class SyntheticDataServicer(synthetic_data_pb2_grpc.SyntheticDataGenerationServiceServicer):
    """Hands each call to the domain."""

    def __init__(self, synthesis: Synthesis, jobs: Jobs) -> None:
        """Serves these.

        Args:
            synthesis: Makes data.
            jobs: Jobs that make data.
        """
        self._synthesis = synthesis
        self._jobs = jobs

    async def Generate(
        self, request: synthetic_data_pb2.GenerateRequest, context: Context
    ) -> synthetic_data_pb2.GenerateResponse:
        """Makes data and returns it."""
        return await self._synthesis.generate(request)

    async def StreamGenerate(
        self, request: synthetic_data_pb2.StreamGenerateRequest, context: Context
    ) -> AsyncIterator[synthetic_data_pb2.StreamGenerateResponse]:
        """Makes data and streams it as it is made."""
        async with aclosing(self._synthesis.stream(request)) as events:
            async for event in events:
                yield event

    async def StartGeneration(
        self, request: synthetic_data_pb2.StartGenerationRequest, context: Context
    ) -> synthetic_data_pb2.StartGenerationResponse:
        """Makes data in a job."""
        job_uuid = await self._jobs.start_generation(request, lambda: self._synthesis.check_job(request))
        return synthetic_data_pb2.StartGenerationResponse(job_uuid=job_uuid)
