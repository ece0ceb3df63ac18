"""The gRPC edge of PostTrainingService."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from caravan.post_training.v1 import post_training_pb2, post_training_pb2_grpc, training_pb2
from services.post_training.jobs.artifacts import Artifacts
from services.post_training.jobs.creating import Creating
from services.post_training.jobs.jobs import Jobs

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class PostTrainingServicer(post_training_pb2_grpc.PostTrainingServiceServicer):
    """Hands each call to the domain."""

    def __init__(self, creating: Creating, jobs: Jobs, artifacts: Artifacts) -> None:
        """Serves these.

        Args:
            creating: Creates jobs.
            jobs: The jobs.
            artifacts: What they have made.
        """
        self._creating, self._jobs, self._artifacts = creating, jobs, artifacts

    async def SupervisedFineTune(
        self, request: training_pb2.SupervisedFineTuneRequest, context: Context
    ) -> post_training_pb2.SupervisedFineTuneResponse:
        """Creates a job of supervised fine-tuning."""
        made = await self._creating.create(request)
        job = made.job if made.job.job_uuid else None
        return post_training_pb2.SupervisedFineTuneResponse(job_uuid=made.job.job_uuid, job=job, estimate=made.estimate)

    async def PreferenceOptimize(
        self, request: training_pb2.PreferenceOptimizeRequest, context: Context
    ) -> post_training_pb2.PreferenceOptimizeResponse:
        """Creates a job of preference optimisation."""
        made = await self._creating.create(request)
        job = made.job if made.job.job_uuid else None
        return post_training_pb2.PreferenceOptimizeResponse(job_uuid=made.job.job_uuid, job=job, estimate=made.estimate)

    async def TrainRewardModel(
        self, request: training_pb2.TrainRewardModelRequest, context: Context
    ) -> post_training_pb2.TrainRewardModelResponse:
        """Creates a job that trains a reward model."""
        made = await self._creating.create(request)
        job = made.job if made.job.job_uuid else None
        return post_training_pb2.TrainRewardModelResponse(job_uuid=made.job.job_uuid, job=job, estimate=made.estimate)

    async def ListJobs(
        self, request: post_training_pb2.ListJobsRequest, context: Context
    ) -> post_training_pb2.ListJobsResponse:
        """Lists jobs, newest first."""
        page = await self._jobs.list(request)
        page.items.next_page_token = page.next_token
        return page.items

    async def GetJobStatus(
        self, request: post_training_pb2.GetJobStatusRequest, context: Context
    ) -> post_training_pb2.GetJobStatusResponse:
        """Gets one job."""
        return post_training_pb2.GetJobStatusResponse(job=await self._jobs.get(request.job_uuid))

    async def WatchJob(
        self, request: post_training_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[post_training_pb2.WatchJobResponse]:
        """Streams a job's events."""
        async for event in self._jobs.watch(request):
            yield post_training_pb2.WatchJobResponse(event=event)

    async def CancelJob(
        self, request: post_training_pb2.CancelJobRequest, context: Context
    ) -> post_training_pb2.CancelJobResponse:
        """Cancels a job."""
        return post_training_pb2.CancelJobResponse(job=await self._jobs.cancel(request))

    async def PauseJob(
        self, request: post_training_pb2.PauseJobRequest, context: Context
    ) -> post_training_pb2.PauseJobResponse:
        """Makes a job rest."""
        return post_training_pb2.PauseJobResponse(job=await self._jobs.pause(request))

    async def ResumeJob(
        self, request: post_training_pb2.ResumeJobRequest, context: Context
    ) -> post_training_pb2.ResumeJobResponse:
        """Puts a job back into the queue."""
        return post_training_pb2.ResumeJobResponse(job=await self._jobs.resume(request))

    async def DeleteJob(
        self, request: post_training_pb2.DeleteJobRequest, context: Context
    ) -> post_training_pb2.DeleteJobResponse:
        """Deletes a job."""
        await self._jobs.delete(request)
        return post_training_pb2.DeleteJobResponse()

    async def GetJobArtifacts(
        self, request: post_training_pb2.GetJobArtifactsRequest, context: Context
    ) -> post_training_pb2.GetJobArtifactsResponse:
        """Gets what a job has made."""
        return await self._artifacts.of_job(request.job_uuid)

    async def ListCheckpoints(
        self, request: post_training_pb2.ListCheckpointsRequest, context: Context
    ) -> post_training_pb2.ListCheckpointsResponse:
        """Lists checkpoints, newest first."""
        page = await self._artifacts.list(request)
        return post_training_pb2.ListCheckpointsResponse(data=page.items, next_page_token=page.next_token)

    async def GetCheckpoint(
        self, request: post_training_pb2.GetCheckpointRequest, context: Context
    ) -> post_training_pb2.GetCheckpointResponse:
        """Gets one checkpoint."""
        found = await self._artifacts.get(request.job_uuid, request.identifier)
        return post_training_pb2.GetCheckpointResponse(checkpoint=found)

    async def DeleteCheckpoint(
        self, request: post_training_pb2.DeleteCheckpointRequest, context: Context
    ) -> post_training_pb2.DeleteCheckpointResponse:
        """Deletes one checkpoint."""
        await self._artifacts.delete(request)
        return post_training_pb2.DeleteCheckpointResponse()

    async def ExportCheckpoint(
        self, request: post_training_pb2.ExportCheckpointRequest, context: Context
    ) -> post_training_pb2.ExportCheckpointResponse:
        """Writes a checkpoint in another form."""
        return post_training_pb2.ExportCheckpointResponse(checkpoint=await self._artifacts.export(request))

    async def DownloadCheckpoint(
        self, request: post_training_pb2.DownloadCheckpointRequest, context: Context
    ) -> AsyncIterator[post_training_pb2.DownloadCheckpointResponse]:
        """Sends a checkpoint's files."""
        async for response in self._artifacts.download(request):
            yield response
