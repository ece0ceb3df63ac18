"""Runs trainings as TrainJobs: one for each attempt, its log followed, deleted when it has ended."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from caravan.post_training.v1 import jobs_pb2, training_pb2
from services.core.errors import CaravanError, FailedPreconditionError, UnavailableError
from services.post_training.executors.train_jobs.cluster import Cluster, Pod, TrainJob
from services.post_training.executors.train_jobs.manifest import (
    JOB_LABEL,
    config_of,
    job_label,
    processes_per_node,
    train_job,
)
from services.post_training.executors.train_jobs.settings import KubernetesSettings
from services.post_training.jobs.ports import Executor, Exit, Launch, Line, Running
from services.post_training.spec import TrainingSpec

P = ParamSpec("P")
T = TypeVar("T")

_MAX_LINES = 1000
_KILL_SECONDS = 30.0
_UNKNOWN_EXIT = 1


class KubernetesExecutor(Executor):
    """Runs trainings on a cluster. What a service that died has left there is ended before its job begins again."""

    lane: Literal["local", "kubernetes"] = "kubernetes"

    def __init__(self, settings: KubernetesSettings, storage_dir: Path) -> None:
        """Reads how the cluster is reached.

        Args:
            settings: Where and how trainings run.
            storage_dir: Folder of the service's files, which the cluster's nodes have at the same place.

        Raises:
            FailedPreconditionError: There is no account to reach the cluster with.
        """
        self._settings = settings
        self._storage_dir = storage_dir
        self._cluster = Cluster(settings)

    async def close(self) -> None:
        """Closes the connections to the cluster."""
        await asyncio.to_thread(self._cluster.close)

    def check(self, executor: training_pb2.ExecutorConfig) -> int:
        """Returns the number of processes that train together."""
        return (executor.kubernetes.num_nodes or 1) * processes_per_node(executor.kubernetes)

    async def start(self, launch: Launch) -> Running:
        """Creates the training's TrainJob, after the end of those that were made for the same job before.

        Raises:
            FailedPreconditionError: The base model is where no node sees it, or the cluster lacks something.
            InvalidArgumentError: The cluster refuses the training.
            UnavailableError: The cluster does not answer.
        """
        await asyncio.to_thread(self._check_base_model, launch.spec)
        await self._clear_away(launch.job.job_uuid)
        manifest = train_job(
            launch.job, launch.spec, self._storage_dir, self._settings, max_memory_bytes=launch.max_memory_bytes
        )
        name = await asyncio.to_thread(self._cluster.create, manifest)
        return RunningTrainJob(name, self._cluster, self._settings)

    def resources(self, job: jobs_pb2.Job) -> dict[str, Any]:
        """Returns what a training gets."""
        config = config_of(job)
        nodes = config.num_nodes or 1
        return {"processes": nodes * processes_per_node(config), "gpus": nodes * config.gpus_per_node}

    def _check_base_model(self, spec: Path) -> None:
        base = Path(TrainingSpec.from_json(spec.read_text()).base_model).resolve()
        seen = [self._storage_dir, *(one.path for one in self._settings.claims)]
        if not any(base.is_relative_to(folder.resolve()) for folder in seen):
            raise FailedPreconditionError(
                f"no node of the cluster sees the base model in {base}: put it below one of {', '.join(map(str, seen))}, "
                "or mount its volume by `kubernetes.claims`",
                reason="MODEL_NOT_ON_CLUSTER",
            )

    async def _clear_away(self, job_uuid: str) -> None:
        """Ends what still runs for a job: its service died, or lost it."""
        find = self._cluster.find
        ends = time.monotonic() + self._settings.grace_seconds + _KILL_SECONDS
        while left := await asyncio.to_thread(find, JOB_LABEL, job_label(job_uuid)):
            if time.monotonic() > ends:
                names = ", ".join(one.name for one in left)
                raise UnavailableError(
                    f"{names} of an earlier attempt does not end; delete it, or wait", reason="EARLIER_ATTEMPT_RUNS"
                )
            for one in left:
                if not one.deleted:
                    await asyncio.to_thread(self._cluster.delete, one.name)
            await asyncio.sleep(self._settings.poll_seconds)


class RunningTrainJob(Running):
    """A TrainJob that runs."""

    def __init__(self, name: str, cluster: Cluster, settings: KubernetesSettings) -> None:
        """Begins to watch it.

        Args:
            name: The TrainJob.
            cluster: Where it is.
            settings: How often it is looked at.
        """
        self._name = name
        self._cluster = cluster
        self._settings = settings
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue(_MAX_LINES)
        self._answered = time.monotonic()
        self._followed: dict[str, LogFollower] = {}
        self._told: dict[str, str] = {}
        self._watching = asyncio.create_task(self._watch(), name=f"watch {name}")

    async def lines(self) -> AsyncIterator[Line]:
        """Yields the log of the first node, and what the pods of all wait for."""
        while (line := await self._lines.get()) is not None:
            yield line

    async def stop(self) -> None:
        """Deletes the TrainJob: its pods get SIGTERM and have `grace_seconds` for their checkpoint."""
        await self._asked(self._cluster.delete, self._name)

    async def kill(self) -> None:
        """Deletes the TrainJob, and its pods without grace."""
        await self.stop()
        for pod in await self._asked(self._cluster.pods, self._name):
            await self._asked(self._cluster.kill_pod, pod.name)

    async def wait(self) -> Exit:
        """Waits for its end.

        Raises:
            UnavailableError: The cluster has not answered for `lost_seconds`.
        """
        return await asyncio.shield(self._watching)

    async def _watch(self) -> Exit:
        try:
            pods: list[Pod] = []
            while True:
                found = await self._asked(self._cluster.read, self._name)
                pods = await self._asked(self._cluster.pods, self._name) or pods
                await self._look_at(pods)
                if found is None or (found.ended and not found.deleted):
                    break
                await asyncio.sleep(self._settings.poll_seconds)
            for follower in self._followed.values():
                await follower.rest()
            await self._asked(self._cluster.delete, self._name)
            return await self._end(found, pods)
        finally:
            for follower in self._followed.values():
                follower.leave()
            await self._lines.put(None)

    async def _look_at(self, pods: list[Pod]) -> None:
        for pod in pods:
            if pod.waits_for and self._told.get(pod.name) != pod.waits_for:
                self._told[pod.name] = pod.waits_for
                await self._lines.put(Line(f"{pod.name} waits: {pod.waits_for}"))
            if pod.index == 0 and pod.has_log and pod.name not in self._followed:
                for earlier in self._followed.values():
                    await earlier.rest()
                self._followed[pod.name] = LogFollower(self._cluster, pod.name, self._lines)

    async def _end(self, found: TrainJob | None, pods: list[Pod]) -> Exit:
        if found is not None and found.failed and found.message:
            await self._lines.put(Line(f"{self._name}: {found.message}", error=True))
        newest = {pod.index: pod for pod in pods}.values()
        failed = [pod for pod in newest if pod.exit_code]
        succeeded = found is not None and not found.failed
        code = failed[0].exit_code if failed else 0 if succeeded or found is None else _UNKNOWN_EXIT
        return Exit(code or 0, out_of_memory=any(pod.out_of_memory for pod in newest))

    async def _asked(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Asks the cluster, again and again while it does not answer."""
        while True:
            try:
                answer = await asyncio.to_thread(call, *args, **kwargs)
            except UnavailableError:
                if time.monotonic() - self._answered > self._settings.lost_seconds:
                    raise
                await asyncio.sleep(self._settings.poll_seconds)
            else:
                self._answered = time.monotonic()
                return answer


class LogFollower:
    """Follows the log of one pod, in a thread of its own, over broken connections; no line is lost, and none comes twice."""

    def __init__(self, cluster: Cluster, pod: str, lines: asyncio.Queue[Line | None]) -> None:
        """Begins to follow.

        Args:
            cluster: Where the pod is.
            pod: Its name.
            lines: Where its lines go; while it is full, nothing is read.
        """
        self._cluster = cluster
        self._pod = pod
        self._lines = lines
        self._loop = asyncio.get_running_loop()
        self._left = threading.Event()
        self._ended = threading.Event()
        self._done = asyncio.Event()
        threading.Thread(target=self._run, name=f"log of {pod}", daemon=True).start()

    async def rest(self) -> None:
        """Reads what is left of an ended pod's log."""
        self._ended.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._done.wait(), _KILL_SECONDS)

    def leave(self) -> None:
        """Stops to follow."""
        self._left.set()

    def _run(self) -> None:
        try:
            self._follow()
        finally:
            with contextlib.suppress(RuntimeError):
                # The loop may be closed by now.
                self._loop.call_soon_threadsafe(self._done.set)

    def _follow(self) -> None:
        last, same = ("", ""), 0
        read_at: float | None = None
        while not self._left.is_set():
            was_ended = self._ended.is_set()
            since = None if read_at is None else int(time.monotonic() - read_at) + 10
            again = same
            is_whole = False
            with contextlib.suppress(CaravanError):
                for stamp, text in self._cluster.log(self._pod, since):
                    at = _moment(stamp)
                    if at < last:
                        continue
                    if at == last and again:
                        again -= 1
                        continue
                    last, same = at, same + 1 if at == last else 1
                    read_at = time.monotonic()
                    if not self._put(Line(text)):
                        return
                is_whole = True
            if was_ended and is_whole:
                return
            self._ended.wait(0.5)

    def _put(self, line: Line) -> bool:
        putting = asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop)
        while not self._left.is_set():
            with contextlib.suppress(TimeoutError):
                putting.result(1.0)
                return True
        putting.cancel()
        return False


def _moment(stamp: str) -> tuple[str, str]:
    """What times of a log compare by: its second, and the digits after the point, which end where zeros begin."""
    second, _, fraction = stamp.rstrip("Z").partition(".")
    return second, fraction.ljust(9, "0")
