"""The cluster's API, as far as trainings need it. Everything here blocks: it is for threads."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import kubernetes.client
import kubernetes.config
import urllib3
from kubernetes.client.exceptions import ApiException

from services.core.errors import (
    CaravanError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from services.post_training.executors.train_jobs.manifest import GROUP, NODE, PLURAL, VERSION
from services.post_training.executors.train_jobs.settings import KubernetesSettings

_JOBSET_LABEL = "jobset.sigs.k8s.io/jobset-name"
_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
_LONGEST_LINE, _LONGEST_MESSAGE = 1 << 20, 1000


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a training."""

    name: str
    """Its name."""
    index: int
    """Number of its node, from 0."""
    created: datetime
    """When it was made; a later one of the same number took its place."""
    phase: str
    """`Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`."""
    waits_for: str
    """Why it does not run yet, for people. Empty: it runs, or has ended."""
    exit_code: int | None
    """Exit code of the training in it. None: it has not ended."""
    out_of_memory: bool
    """It was ended because it used more memory than it may."""

    @property
    def has_log(self) -> bool:
        """The training in it has begun."""
        return self.phase == "Running" or self.exit_code is not None


@dataclass(frozen=True, slots=True)
class TrainJob:
    """A TrainJob, as it stands."""

    name: str
    """Its name."""
    ended: bool
    """It is complete, or failed."""
    failed: bool
    """It failed."""
    message: str
    """What the cluster says of its end."""
    deleted: bool
    """It is being deleted."""


class Cluster:
    """The trainings of one namespace."""

    def __init__(self, settings: KubernetesSettings) -> None:
        """Reads how the cluster is reached; the first request connects.

        Args:
            settings: Where the cluster is.

        Raises:
            FailedPreconditionError: There is no account to reach it with.
        """
        self._namespace = settings.namespace
        self._train_jobs = (GROUP, VERSION, settings.namespace, PLURAL)
        self._seconds = settings.request_seconds
        try:
            if settings.kubeconfig is not None:
                client = kubernetes.config.new_client_from_config(str(settings.kubeconfig), settings.context)
            else:
                configuration = kubernetes.client.Configuration()
                kubernetes.config.load_incluster_config(client_configuration=configuration)
                client = kubernetes.client.ApiClient(configuration)
        except (kubernetes.config.ConfigException, OSError) as error:
            raise FailedPreconditionError(
                f"the cluster's account cannot be read: {error}; run in a pod, or set `kubernetes.kubeconfig`",
                reason="NO_CLUSTER_ACCOUNT",
            ) from error
        # Repeating is the caller's business: it knows what may be repeated.
        client.rest_client.pool_manager.connection_pool_kw["retries"] = False
        self._client = client
        self._objects = kubernetes.client.CustomObjectsApi(client)
        self._core = kubernetes.client.CoreV1Api(client)

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def create(self, manifest: dict[str, Any]) -> str:
        """Creates a TrainJob and returns its name; one that is there already is as good.

        Args:
            manifest: The TrainJob.

        Raises:
            CaravanError: The cluster refuses it or does not answer.
        """
        with _asking(unless=HTTPStatus.CONFLICT):
            self._objects.create_namespaced_custom_object(*self._train_jobs, manifest, _request_timeout=self._seconds)
        name: str = manifest["metadata"]["name"]
        return name

    def read(self, name: str) -> TrainJob | None:
        """Returns a TrainJob; None when it is gone.

        Raises:
            CaravanError: The cluster does not answer.
        """
        found = None
        with _asking(unless=HTTPStatus.NOT_FOUND):
            found = self._objects.get_namespaced_custom_object(*self._train_jobs, name, _request_timeout=self._seconds)
        return _train_job(found) if found is not None else None

    def find(self, label: str, value: str) -> list[TrainJob]:
        """Returns the TrainJobs with a label.

        Raises:
            CaravanError: The cluster does not answer.
        """
        with _asking():
            found = self._objects.list_namespaced_custom_object(
                *self._train_jobs, label_selector=f"{label}={value}", _request_timeout=self._seconds
            )
        return [_train_job(one) for one in found["items"]]

    def delete(self, name: str) -> None:
        """Deletes a TrainJob; its pods are told to end, and it goes after them. One that is gone is as good.

        Raises:
            CaravanError: The cluster does not answer.
        """
        with _asking(unless=HTTPStatus.NOT_FOUND):
            self._objects.delete_namespaced_custom_object(
                *self._train_jobs, name, propagation_policy="Foreground", _request_timeout=self._seconds
            )

    def pods(self, name: str) -> list[Pod]:
        """Returns the pods of a TrainJob, oldest first.

        Raises:
            CaravanError: The cluster does not answer.
        """
        with _asking():
            found = self._core.list_namespaced_pod(
                self._namespace, label_selector=f"{_JOBSET_LABEL}={name}", _request_timeout=self._seconds
            )
        return sorted((_pod(one) for one in found.items), key=lambda pod: pod.created)

    def kill_pod(self, name: str) -> None:
        """Ends a pod at once. One that is gone is as good.

        Raises:
            CaravanError: The cluster does not answer.
        """
        with _asking(unless=HTTPStatus.NOT_FOUND):
            self._core.delete_namespaced_pod(
                name, self._namespace, grace_period_seconds=0, _request_timeout=self._seconds
            )

    def log(self, pod: str, since_seconds: int | None) -> Iterator[tuple[str, str]]:
        """Yields a pod's log, each line with the time that the cluster gave it (RFC 3339).

        Ends when the training in the pod has ended, or the pod is gone.

        Args:
            pod: The pod's name.
            since_seconds: How far back to begin. None: at the beginning.

        Raises:
            CaravanError: The cluster does not answer, the connection broke, or nothing was said for a while: ask again.
        """
        response = None
        with _asking(unless=HTTPStatus.NOT_FOUND):
            response = self._core.read_namespaced_pod_log(
                pod,
                self._namespace,
                container=NODE,
                follow=True,
                timestamps=True,
                since_seconds=since_seconds,
                _preload_content=False,
                _request_timeout=(self._seconds, self._seconds),
            )
        if response is None:
            return
        try:
            with _asking():
                for line in _lines(response):
                    time, _, text = line.partition(" ")
                    yield time, text
        finally:
            response.release_conn()


def _lines(response: Any) -> Iterator[str]:
    """Yields whole lines, cut where they are too long; one that breaks off is left for the next time."""
    rest = b""
    for piece in response.stream(amt=None, decode_content=True):
        *whole, rest = (rest + piece).split(b"\n")
        rest = rest[:_LONGEST_LINE]
        yield from (line[:_LONGEST_LINE].decode(errors="replace") for line in whole)


def _train_job(found: dict[str, Any]) -> TrainJob:
    conditions = {one["type"]: one for one in found.get("status", {}).get("conditions", ()) if one["status"] == "True"}
    end = conditions.get("Failed") or conditions.get("Complete")
    return TrainJob(
        name=found["metadata"]["name"],
        ended=end is not None,
        failed="Failed" in conditions,
        message=(end or {}).get("message", ""),
        deleted="deletionTimestamp" in found["metadata"],
    )


def _pod(found: Any) -> Pod:
    status = next((one for one in found.status.container_statuses or () if one.name == NODE), None)
    state = status.state if status is not None else None
    ended = state.terminated if state is not None else None
    waiting = state.waiting if state is not None else None
    why = ""
    if waiting is not None:
        why = ": ".join(part for part in (waiting.reason, waiting.message) if part)
    elif status is None and found.status.phase == "Pending":
        unmet = next((one for one in found.status.conditions or () if one.status == "False"), None)
        why = ": ".join(part for part in (unmet.reason, unmet.message) if part) if unmet is not None else "Pending"
    return Pod(
        name=found.metadata.name,
        index=int((found.metadata.labels or {}).get(_INDEX_LABEL, "0")),
        created=found.metadata.creation_timestamp,
        phase=found.status.phase or "Unknown",
        waits_for=why,
        exit_code=ended.exit_code if ended is not None else None,
        out_of_memory=ended is not None and ended.reason == "OOMKilled",
    )


@contextmanager
def _asking(unless: HTTPStatus | None = None) -> Iterator[None]:
    """Tells what a refusal or a silence of the cluster's means; passes over one that is as good as an answer."""
    try:
        yield
    except ApiException as error:
        if error.status != unless:
            raise _told(error) from error
    except urllib3.exceptions.HTTPError as error:
        why = f"the cluster does not answer ({type(error).__name__}); the training is tried again"
        raise UnavailableError(why, reason="CLUSTER_UNAVAILABLE") from error


def _told(error: ApiException) -> CaravanError:
    """What a refusal of the cluster's means."""
    why = _message(error)
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        must = "allow its account to create, read and delete trainjobs, to read and delete pods, and to read their logs"
        return FailedPreconditionError(f"the cluster does not allow it: {why}; {must}", reason="CLUSTER_FORBIDS")
    if error.status == HTTPStatus.NOT_FOUND:
        must = "install Kubeflow Trainer 2 and make the namespace"
        return FailedPreconditionError(f"the cluster does not know it: {why}; {must}", reason="CLUSTER_LACKS_TRAINER")
    if error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        return InvalidArgumentError(f"the cluster refuses the training: {why}", reason="CLUSTER_REFUSES")
    return UnavailableError(
        f"the cluster answers {error.status}: {why}; the training is tried again", reason="CLUSTER_UNAVAILABLE"
    )


def _message(error: ApiException) -> str:
    """What the cluster says, less what only machines read."""
    try:
        told = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        told = error.reason
    return str(told)[:_LONGEST_MESSAGE]
