"""A Kubernetes cluster on loopback, as far as trainings use one: the REST API of TrainJobs, pods and their logs.

Objects are checked against the models that Kubeflow publishes of its API. A pod is a real process, which gets SIGTERM when it is deleted
and SIGKILL when its grace is over; its log is what it writes, each line with a time.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

TRAIN_JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/trainings/trainjobs"
PODS = "/api/v1/namespaces/trainings/pods"


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class PodProcess:
    """A pod: a process and what it wrote."""

    name: str
    train_job: str
    grace: float
    process: subprocess.Popen[bytes]
    created: str = field(default_factory=now)
    log: list[tuple[str, str]] = field(default_factory=list)
    whole: threading.Event = field(default_factory=threading.Event)
    """The log has ended."""

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            self.log.append((stamp, line.decode().rstrip("\n")))
        self.process.stdout.close()
        self.process.wait()
        self.whole.set()

    def end(self, grace: float) -> None:
        """Ends the process, and waits for it."""
        self.signal(signal.SIGTERM)
        if not self.whole.wait(grace):
            self.signal(signal.SIGKILL)
            self.whole.wait(10)

    def signal(self, number: int) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def as_object(self, waits_for: str) -> dict[str, Any]:
        """The pod as the API shows it."""
        code = self.process.poll() if self.whole.is_set() else None
        state: dict[str, Any] = {"running": {"startedAt": self.created}}
        phase = "Running"
        if code is not None:
            why = "OOMKilled" if code == -signal.SIGKILL else "Completed" if code == 0 else "Error"
            state = {"terminated": {"exitCode": code if code >= 0 else 128 - code, "reason": why}}
            phase = "Failed" if code else "Succeeded"
        if waits_for:
            state, phase = {"waiting": {"reason": waits_for, "message": "no such image"}}, "Pending"
        labels = {
            "jobset.sigs.k8s.io/jobset-name": self.train_job,
            "batch.kubernetes.io/job-completion-index": "0",
        }
        status = {"name": "node", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        return {
            "metadata": {"name": self.name, "creationTimestamp": self.created, "labels": labels},
            "spec": {"containers": [{"name": "node"}]},
            "status": {"phase": phase, "containerStatuses": [status]},
        }


class KubernetesCluster:
    """The cluster, as a test sees it."""

    def __init__(self) -> None:
        self.train_jobs: dict[str, dict[str, Any]] = {}
        self.created: list[dict[str, Any]] = []
        """Every TrainJob that was ever created."""
        self.pods: dict[str, PodProcess] = {}
        self.program: list[str] | None = None
        """What the image runs instead of the trainer; it gets the spec's path."""
        self.waits_for = ""
        """Why no pod starts."""
        self.fails_with: tuple[int, str] | None = None
        """Status and message that every request gets."""
        self.log_breaks: set[int] = set()
        """Numbers of lines in the middle of which a log's connection breaks, once each."""
        self.url = ""
        self._lock = threading.Lock()

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Starts the TrainJob's pod. A real one would make a JobSet of it first."""
        parsed = TrainerV1alpha1TrainJob.from_dict(body)
        assert parsed is not None
        assert parsed.to_dict() == body, "fields that the API does not have"
        trainer = body["spec"]["trainer"]
        patch = body["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
        name = body["metadata"]["name"]
        with self._lock:
            if name in self.train_jobs:
                raise RefusalError(409, f'trainjobs "{name}" already exists')
            self.train_jobs[name] = {**body, "status": {}}
            self.created.append(body)
        environment = {one["name"]: one["value"] for one in trainer["env"]}
        torchrun = {"PET_NNODES": "1", "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]), "PET_STANDALONE": "1"}
        process = subprocess.Popen(
            [*self.program, trainer["command"][-1]] if self.program else [sys.executable, *trainer["command"][1:]],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), **torchrun, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        grace = patch["template"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        pod = PodProcess(f"{name}-node-0-0-{process.pid}", name, grace, process)
        self.pods[pod.name] = pod
        return self.train_jobs[name]

    def read(self, name: str) -> dict[str, Any]:
        if name not in self.train_jobs:
            raise RefusalError(404, f'trainjobs "{name}" not found')
        found = self.train_jobs[name]
        pods = [pod for pod in self.pods.values() if pod.train_job == name]
        if pods and all(pod.whole.is_set() for pod in pods):
            code = pods[-1].process.returncode
            kind, message = ("Failed", f"exit code {code}") if code else ("Complete", "all done")
            found["status"] = {"conditions": [{"type": kind, "status": "True", "message": message}]}
        return found

    def delete(self, name: str) -> dict[str, Any]:
        found = self.read(name)
        if "deletionTimestamp" not in found["metadata"]:
            found["metadata"]["deletionTimestamp"] = now()
            threading.Thread(target=self._delete, args=(name,), daemon=True).start()
        return found

    def _delete(self, name: str) -> None:
        for pod in [pod for pod in self.pods.values() if pod.train_job == name]:
            pod.end(pod.grace)
            time.sleep(0.2)
            self.pods.pop(pod.name, None)
        self.train_jobs.pop(name, None)

    def close(self) -> None:
        for pod in list(self.pods.values()):
            pod.end(0)

    def kubeconfig(self, folder: Path) -> Path:
        """Writes the file that clients reach it by."""
        path = folder / "kubeconfig"
        text = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": "secret"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        }
        path.write_text(yaml.safe_dump(text))
        return path


class RefusalError(Exception):
    """What the API refuses with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: KubernetesCluster

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            if self.cluster.fails_with is not None:
                raise RefusalError(*self.cluster.fails_with)
            if parts.path.endswith("/log"):
                self._log(parts.path.split("/")[-2], query)
                return
            self._send(200, self._result(parts.path, query, json.loads(body) if body else {}))
        except RefusalError as refusal:
            self._send(refusal.status, {"kind": "Status", "code": refusal.status, "message": refusal.message})

    def _result(self, path: str, query: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        cluster = self.cluster
        if path == TRAIN_JOBS and self.command == "POST":
            return cluster.create(body)
        label, _, value = query.get("labelSelector", "").partition("=")
        if path == TRAIN_JOBS:
            found = [cluster.read(name) for name in list(cluster.train_jobs)]
            return {"items": [one for one in found if one["metadata"]["labels"].get(label) == value]}
        name = path.rpartition("/")[2]
        if path.startswith(TRAIN_JOBS):
            return cluster.delete(name) if self.command == "DELETE" else cluster.read(name)
        if path == PODS:
            pods = [pod.as_object(cluster.waits_for) for pod in list(cluster.pods.values())]
            return {"kind": "PodList", "items": [one for one in pods if one["metadata"]["labels"][label] == value]}
        if name not in cluster.pods or self.command != "DELETE":
            raise RefusalError(404, f'"{name}" not found')
        cluster.pods[name].end(float(query["gracePeriodSeconds"]))
        return {}

    def _log(self, pod_name: str, query: dict[str, str]) -> None:
        pod = self.cluster.pods.get(pod_name)
        if pod is None:
            raise RefusalError(404, f'pods "{pod_name}" not found')
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        since = time.time() - float(query["sinceSeconds"]) if "sinceSeconds" in query else 0.0
        written = 0
        while not (pod.whole.is_set() and written == len(pod.log)):
            for stamp, text in pod.log[written:]:
                written += 1
                if datetime.fromisoformat(stamp).timestamp() < since:
                    continue
                if written in self.cluster.log_breaks:
                    self.cluster.log_breaks.remove(written)
                    self._chunk(f"{stamp} {text}"[:-2].encode())
                    self.close_connection = True
                    return
                self._chunk(f"{stamp} {text}\n".encode())
            time.sleep(0.01)
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, piece: bytes) -> None:
        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.flush()

    def _send(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def kubernetes_cluster() -> Iterator[KubernetesCluster]:
    """Runs a cluster with the namespace `trainings`."""
    cluster = KubernetesCluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cluster": cluster}))
    server.daemon_threads = True
    cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        cluster.close()
        server.shutdown()
        server.server_close()
        thread.join()
