# Made from caravan/_async/post_training.py by tools/sync_client.py. Do not edit.
"""Trainings: jobs, their events and what they make."""

import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Unpack

from caravan import trainings as built
from caravan._sync.calls import Calls
from caravan.downloads import DownloadedFiles
from caravan.errors import UnavailableError
from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, post_training_pb2, training_pb2
from caravan.trainings import TrainingParameters

_ATTEMPTS = 5


class PostTraining:
    """`caravan.post_training.v1.PostTrainingService`."""

    def __init__(self, calls: Calls) -> None:
        """Keeps the way to call.

        Args:
            calls: Makes the calls.
        """
        self._calls = calls

    def supervised_fine_tune(
        self, model: str, dataset: str = "", **parameters: Unpack[TrainingParameters]
    ) -> post_training_pb2.SupervisedFineTuneResponse:
        """Makes a job of supervised fine-tuning.

            job = client.post_training.supervised_fine_tune("caravan-chat", "facts", algorithm="lora", epochs=3, auto_register="facts-1")

        Args:
            model: Base model: a registered one, a Hugging Face id, or a folder that the service can read.
            dataset: Data set to train on.
            **parameters: `epochs`, `lr`, `algorithm`, `auto_register`, ...; see TrainingParameters.

        Raises:
            InvalidArgumentError: Something does not fit; `violations` says what.
            AlreadyExistsError: There is a different job of this identifier.
        """
        request_type = training_pb2.SupervisedFineTuneRequest
        request = built.training_request(request_type, {"model": model}, dataset, parameters)
        return self._calls.unary(request, post_training_pb2.SupervisedFineTuneResponse)

    def preference_optimize(
        self,
        model: str,
        dataset: str = "",
        *,
        beta: float | None = None,
        loss: str | None = None,
        **parameters: Unpack[TrainingParameters],
    ) -> post_training_pb2.PreferenceOptimizeResponse:
        """Makes a job of direct preference optimisation.

        Args:
            model: Model to optimise; see `supervised_fine_tune`.
            dataset: Data set of preferences.
            beta: How closely the model keeps to where it started.
            loss: `sigmoid`, `hinge`, `ipo` or `kto_pair`.
            **parameters: `epochs`, `lr`, `rank`, ...; see TrainingParameters.
        """
        names = {"finetuned_model": model, "algorithm_config": {"beta": beta, "loss_type": loss}}
        request = built.training_request(
            training_pb2.PreferenceOptimizeRequest, names, dataset, parameters, algorithm_field="finetuning_config"
        )
        return self._calls.unary(request, post_training_pb2.PreferenceOptimizeResponse)

    def train_reward_model(
        self, model: str, dataset: str = "", **parameters: Unpack[TrainingParameters]
    ) -> post_training_pb2.TrainRewardModelResponse:
        """Makes a job that trains a reward model.

        Args:
            model: Model to make one of; see `supervised_fine_tune`.
            dataset: Data set of preferences.
            **parameters: `epochs`, `lr`, ...; see TrainingParameters.
        """
        request_type = training_pb2.TrainRewardModelRequest
        request = built.training_request(request_type, {"model": model}, dataset, parameters)
        return self._calls.unary(request, post_training_pb2.TrainRewardModelResponse)

    def list(
        self,
        *,
        statuses: Iterable[str] = (),
        kinds: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        parent: str = "",
    ) -> Generator[jobs_pb2.Job, None, None]:
        """Yields jobs without checkpoints and requests, newest first.

        Args:
            statuses: Only those that stand there: `scheduled`, `in_progress`, `completed`, ...
            kinds: Only those of these kinds: `supervised_fine_tune`, `preference_optimize`, ...
            labels: Only those with these labels.
            parent: Only trials of this search.
        """
        wanted, of_kinds = list(statuses), list(kinds)
        return self._calls.entries(
            lambda token: built.jobs_request(wanted, of_kinds, labels or {}, parent, token),
            post_training_pb2.ListJobsResponse,
        )

    def get(self, job_uuid: str) -> jobs_pb2.Job:
        """Gets a job.

        Args:
            job_uuid: Its identifier.

        Raises:
            NotFoundError: There is none.
        """
        request = post_training_pb2.GetJobStatusRequest(job_uuid=job_uuid)
        return self._calls.unary(request, post_training_pb2.GetJobStatusResponse).job

    def watch(
        self, job_uuid: str, *, from_sequence: int = 0, include_trials: bool = False
    ) -> Generator[jobs_pb2.JobEvent, None, None]:
        """Yields a job's events: those that happened at once, the others as they happen, until the job has ended.

        A connection that breaks is made again, and no event is missed or seen twice.

        Args:
            job_uuid: The job.
            from_sequence: Number of the first event. 0: the first of all.
            include_trials: Events of a search's trials too.
        """
        following, failed = from_sequence, 0
        while True:
            request = post_training_pb2.WatchJobRequest(
                job_uuid=job_uuid, from_sequence=following, include_trials=include_trials
            )
            events = self._calls.stream(request, post_training_pb2.WatchJobResponse, float("inf"))
            try:
                with closing(events):
                    for response in events:
                        event, failed = response.event, 0
                        if event.job_uuid == job_uuid:
                            following = event.sequence + 1
                        yield event
            except UnavailableError:
                failed += 1
                if failed >= _ATTEMPTS or include_trials:
                    raise
            else:
                return

    def wait(self, job_uuid: str) -> jobs_pb2.Job:
        """Waits until a job has ended, and returns it.

        Args:
            job_uuid: The job.
        """
        job = self.get(job_uuid)
        if job.status in built.ENDED:
            return job
        events = self.watch(job_uuid, from_sequence=job.last_sequence + 1)
        with closing(events):
            for _ in events:
                pass
        return self.get(job_uuid)

    def cancel(self, job_uuid: str, *, reason: str = "", revision: int | None = None) -> jobs_pb2.Job:
        """Cancels a job; what it has trained is kept as a checkpoint.

        Args:
            job_uuid: The job.
            reason: Why, for people to read.
            revision: Refuse (AbortedError) unless it still has this revision.
        """
        request = post_training_pb2.CancelJobRequest(
            job_uuid=job_uuid, reason=reason, revision=revision, request_id=uuid.uuid4().hex
        )
        return self._calls.unary(request, post_training_pb2.CancelJobResponse).job

    def pause(self, job_uuid: str, *, reason: str = "", revision: int | None = None) -> jobs_pb2.Job:
        """Makes a job rest, with a checkpoint; arguments as `cancel`'s."""
        request = post_training_pb2.PauseJobRequest(
            job_uuid=job_uuid, reason=reason, revision=revision, request_id=uuid.uuid4().hex
        )
        return self._calls.unary(request, post_training_pb2.PauseJobResponse).job

    def resume(self, job_uuid: str, *, reason: str = "", revision: int | None = None) -> jobs_pb2.Job:
        """Puts a job that rests, failed or was cancelled back into the queue; arguments as `cancel`'s."""
        request = post_training_pb2.ResumeJobRequest(
            job_uuid=job_uuid, reason=reason, revision=revision, request_id=uuid.uuid4().hex
        )
        return self._calls.unary(request, post_training_pb2.ResumeJobResponse).job

    def delete(self, job_uuid: str, *, revision: int | None = None) -> None:
        """Deletes a job that has ended, with what it made; arguments as `cancel`'s."""
        request = post_training_pb2.DeleteJobRequest(job_uuid=job_uuid, revision=revision, request_id=uuid.uuid4().hex)
        self._calls.unary(request, post_training_pb2.DeleteJobResponse)

    def artifacts(self, job_uuid: str) -> post_training_pb2.GetJobArtifactsResponse:
        """Gets what a job has made.

        Args:
            job_uuid: The job.
        """
        request = post_training_pb2.GetJobArtifactsRequest(job_uuid=job_uuid)
        return self._calls.unary(request, post_training_pb2.GetJobArtifactsResponse)

    def checkpoints(
        self, job_uuid: str = "", *, final_only: bool = False
    ) -> Generator[checkpoints_pb2.Checkpoint, None, None]:
        """Yields checkpoints, newest first.

        Args:
            job_uuid: Only those of this job. Empty: all.
            final_only: Only those that are a job's result.
        """
        return self._calls.entries(
            lambda token: post_training_pb2.ListCheckpointsRequest(
                job_uuid=job_uuid, final_only=final_only, page_token=token
            ),
            post_training_pb2.ListCheckpointsResponse,
        )

    def export(self, job_uuid: str, identifier: str, form: str = "merged") -> checkpoints_pb2.Checkpoint:
        """Writes a checkpoint in another form and returns it as a checkpoint of its own.

        Args:
            job_uuid: Its job.
            identifier: The checkpoint.
            form: `peft_adapter` or `merged`.
        """
        request = built.export_request(job_uuid, identifier, form)
        response = self._calls.unary(request, post_training_pb2.ExportCheckpointResponse, float("inf"))
        return response.checkpoint

    def delete_checkpoint(self, job_uuid: str, identifier: str) -> None:
        """Deletes a checkpoint.

        Args:
            job_uuid: Its job.
            identifier: The checkpoint.
        """
        request = post_training_pb2.DeleteCheckpointRequest(
            job_uuid=job_uuid, identifier=identifier, request_id=uuid.uuid4().hex
        )
        self._calls.unary(request, post_training_pb2.DeleteCheckpointResponse)

    def download(
        self,
        job_uuid: str,
        folder: str | Path,
        *,
        identifier: str = "",
        received: Callable[[int], object] | None = None,
    ) -> checkpoints_pb2.Checkpoint:
        """Downloads a checkpoint's files; each is compared with its digest. A download that breaks off is gone on with.

        Args:
            job_uuid: The job.
            folder: Where the files go.
            identifier: The checkpoint. Default: the job's result, or its last one.
            received: Called with the number of bytes that have come so far.

        Returns:
            The checkpoint.

        Raises:
            InvalidInputError: There is no such checkpoint, or the folder cannot be written to.
        """
        checkpoint = built.result_of(self.artifacts(job_uuid), identifier)
        with DownloadedFiles(Path(folder), job_uuid, checkpoint.identifier) as files:
            failed = 0
            while not files.complete:
                events = self._calls.stream(files.request(), post_training_pb2.DownloadCheckpointResponse, float("inf"))
                try:
                    with closing(events):
                        for event in events:
                            files.add(event)
                            if received is not None:
                                received(files.received)
                except UnavailableError:
                    failed += 1
                    if failed >= _ATTEMPTS:
                        raise
        return checkpoint
