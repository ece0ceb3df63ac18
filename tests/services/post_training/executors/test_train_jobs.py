"""Trainings on a cluster: a REST API on loopback whose pods are processes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from caravan.post_training.v1 import jobs_pb2, training_pb2
from services.core.errors import CaravanError, FailedPreconditionError, InvalidArgumentError, UnavailableError
from services.post_training.executors.train_jobs.executor import KubernetesExecutor
from services.post_training.executors.train_jobs.manifest import train_job
from services.post_training.executors.train_jobs.settings import KubernetesSettings, MountedClaim
from services.post_training.jobs.ports import Launch, Line, Running
from services.post_training.spec import RowsSource, TrainingSpec
from tests.support.eventually import until
from tests.support.kubernetes_cluster import KubernetesCluster, kubernetes_cluster

COUNTS = """
import signal, sys, time
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
for number in range(200):
    print(f"line {number}", flush=True)
    if stopped:
        print("checkpoint", flush=True)
        sys.exit(0)
    time.sleep(0.02)
"""
STUBBORN = (
    'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print("up", flush=True); time.sleep(600)'
)


@pytest.fixture
def cluster() -> Iterator[KubernetesCluster]:
    with kubernetes_cluster() as running:
        yield running


@pytest.fixture
def settings(cluster: KubernetesCluster, tmp_path: Path) -> KubernetesSettings:
    return KubernetesSettings(
        namespace="trainings",
        image="caravan-post-training:1",
        storage_claim="storage",
        kubeconfig=cluster.kubeconfig(tmp_path),
        poll_seconds=0.05,
        request_seconds=2,
        lost_seconds=1,
        grace_seconds=1,
    )


@pytest.fixture
async def executor(settings: KubernetesSettings, tmp_path: Path) -> AsyncIterator[KubernetesExecutor]:
    made = KubernetesExecutor(settings, tmp_path)
    yield made
    await made.close()


def job(attempts: int = 1, **fields: Any) -> jobs_pb2.Job:
    made = jobs_pb2.Job(job_uuid="tune/7" * 10, attempts=attempts)
    made.supervised_fine_tune.executor.kubernetes.CopyFrom(training_pb2.KubernetesExecutor(**fields))
    return made


def launch(folder: Path, attempts: int = 1, base_model: Path | None = None, **fields: Any) -> Launch:
    rows = RowsSource("talk", 1, "", "DATASET_FORMAT_DIALOG", 1, ())
    spec = TrainingSpec("tune", "supervised_fine_tune", {}, str(base_model or folder / "base"), rows, str(folder))
    path = folder / "spec.json"
    path.write_text(spec.to_json())
    return Launch(job(attempts, **fields), path, folder, 1, 0)


async def everything(running: Running) -> list[str]:
    return [line.text async for line in running.lines()]


async def until_says(running: Running, text: str) -> list[Line]:
    lines = []
    async for line in running.lines():
        lines.append(line)
        if text in line.text:
            return lines
    raise AssertionError([line.text for line in lines])


def says(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_a_training_s_lines_and_exit_code_come_back_and_nothing_stays(
    cluster: KubernetesCluster, executor: KubernetesExecutor, tmp_path: Path
):
    cluster.program = says("import sys; print(sys.argv[1]); print(); print('late', file=sys.stderr); sys.exit(3)")
    running = await executor.start(launch(tmp_path))
    lines = await everything(running)
    assert lines[:3] == [str(tmp_path / "spec.json"), "", "late"]
    assert "exit code 3" in lines[3]
    assert (await running.wait()).code == 3
    await until(lambda: not cluster.train_jobs)


async def test_a_log_that_breaks_off_again_and_again_loses_no_line_and_repeats_none(
    cluster: KubernetesCluster, executor: KubernetesExecutor, tmp_path: Path
):
    cluster.log_breaks = {7, 8, 30}
    cluster.program = says("for number in range(40): print(f'line {number}', flush=True)")
    running = await executor.start(launch(tmp_path))
    assert await everything(running) == [f"line {number}" for number in range(40)]
    assert (await running.wait()).code == 0


async def test_a_training_that_is_stopped_writes_its_checkpoint(
    cluster: KubernetesCluster, executor: KubernetesExecutor, tmp_path: Path
):
    cluster.program = says(COUNTS)
    running = await executor.start(launch(tmp_path))
    await until_says(running, "line 3")
    await running.stop()
    assert (await everything(running))[-1] == "checkpoint"
    assert (await running.wait()).code == 0


async def test_a_training_that_does_not_end_is_killed(
    cluster: KubernetesCluster, executor: KubernetesExecutor, tmp_path: Path
):
    cluster.program = says(STUBBORN)
    running = await executor.start(launch(tmp_path))
    await until_says(running, "up")
    await running.kill()
    assert (await asyncio.wait_for(running.wait(), 10)).code != 0
    assert not cluster.pods


async def test_a_pod_that_used_too_much_memory_is_told_as_such(
    cluster: KubernetesCluster, executor: KubernetesExecutor, tmp_path: Path
):
    cluster.program = says("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    running = await executor.start(launch(tmp_path))
    exit_ = await running.wait()
    assert exit_.out_of_memory
    assert exit_.code == 137


async def test_what_an_earlier_attempt_left_is_ended_first(
    cluster: KubernetesCluster, executor: KubernetesExecutor, tmp_path: Path
):
    cluster.program = says(COUNTS)
    first = await executor.start(launch(tmp_path))
    await until_says(first, "line 1")
    cluster.program = says("print('second')")
    second = await executor.start(launch(tmp_path, attempts=2))
    assert await everything(second) == ["second"]
    assert (await everything(first))[-1] == "checkpoint"
    assert [one["metadata"]["name"][-2:] for one in cluster.created] == ["-1", "-2"]


async def test_what_a_pod_waits_for_is_told_once(
    cluster: KubernetesCluster, executor: KubernetesExecutor, tmp_path: Path
):
    cluster.waits_for = "ImagePullBackOff"
    cluster.program = says(COUNTS)
    running = await executor.start(launch(tmp_path))
    (line,) = await until_says(running, "ImagePullBackOff")
    assert "no such image" in line.text
    cluster.waits_for = ""
    assert not any("ImagePullBackOff" in line.text for line in await until_says(running, "line 5"))
    await running.kill()


async def test_a_cluster_that_is_away_for_a_moment_goes_unnoticed_and_for_long_is_an_error(
    cluster: KubernetesCluster, executor: KubernetesExecutor, tmp_path: Path
):
    cluster.program = says(COUNTS)
    running = await executor.start(launch(tmp_path))
    await until_says(running, "line 2")
    cluster.fails_with = (503, "etcd has no leader")
    await asyncio.sleep(0.4)
    cluster.fails_with = None
    await until_says(running, "line 40")
    cluster.fails_with = (503, "etcd has no leader")
    with pytest.raises(UnavailableError, match="etcd has no leader"):
        await asyncio.wait_for(running.wait(), 10)
    cluster.fails_with = None


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (401, FailedPreconditionError, "CLUSTER_FORBIDS"),
        (403, FailedPreconditionError, "CLUSTER_FORBIDS"),
        (404, FailedPreconditionError, "CLUSTER_LACKS_TRAINER"),
        (422, InvalidArgumentError, "CLUSTER_REFUSES"),
        (500, UnavailableError, "CLUSTER_UNAVAILABLE"),
    ],
)
async def test_every_refusal_of_the_cluster_is_told_with_what_to_do(
    cluster: KubernetesCluster,
    executor: KubernetesExecutor,
    tmp_path: Path,
    status: int,
    error: type[CaravanError],
    reason: str,
):
    cluster.fails_with = (status, "because")
    with pytest.raises(error, match="because") as caught:
        await executor.start(launch(tmp_path))
    assert caught.value.reason == reason


async def test_a_cluster_that_cannot_be_reached_is_unavailable(settings: KubernetesSettings, tmp_path: Path):
    with kubernetes_cluster() as gone:
        path = gone.kubeconfig(tmp_path)
    executor = KubernetesExecutor(settings.model_copy(update={"kubeconfig": path}), tmp_path)
    with pytest.raises(UnavailableError):
        await executor.start(launch(tmp_path))
    await executor.close()


def test_an_account_that_cannot_be_read_is_told(settings: KubernetesSettings, tmp_path: Path):
    for path in (tmp_path / "absent", None):
        with pytest.raises(FailedPreconditionError, match="kubeconfig"):
            KubernetesExecutor(settings.model_copy(update={"kubeconfig": path}), tmp_path)


async def test_a_base_model_that_no_node_sees_is_refused(executor: KubernetesExecutor, tmp_path: Path):
    with pytest.raises(FailedPreconditionError, match="no node of the cluster sees"):
        await executor.start(launch(tmp_path, base_model=Path("/elsewhere/model")))


def test_the_train_job_has_what_the_request_asks_for(settings: KubernetesSettings, tmp_path: Path):
    claims = (MountedClaim(claim="models", path=Path("/models")),)
    made = train_job(
        job(num_nodes=2, gpus_per_node=4, cpu="16", memory="64Gi", node_selector={"pool": "gpu"}, queue="team"),
        tmp_path / "spec.json",
        tmp_path,
        settings.model_copy(update={"claims": claims, "service_account": "trainer"}),
    )
    trainer = made["spec"]["trainer"]
    assert trainer["numNodes"] == 2
    assert trainer["numProcPerNode"] == 4
    assert trainer["resourcesPerNode"]["limits"] == {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": "4"}
    # A process would take all of the node's processors for its own.
    assert {"name": "OMP_NUM_THREADS", "value": "4"} in trainer["env"]
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert made["metadata"]["annotations"] == {"caravan/job-uuid": "tune/7" * 10}
    assert len(made["metadata"]["name"]) < 40
    patch = made["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    pod = patch["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["serviceAccountName"] == "trainer"
    mounts = {one["mountPath"]: one["readOnly"] for one in pod["containers"][0]["volumeMounts"] if "readOnly" in one}
    assert mounts == {str(tmp_path): False, "/models": True}
    assert "secret" not in json.dumps(made)


def test_a_node_has_as_many_processes_as_gpus_unless_told(executor: KubernetesExecutor):
    def processes(**fields: Any) -> int:
        return executor.check(training_pb2.ExecutorConfig(kubernetes=training_pb2.KubernetesExecutor(**fields)))

    assert processes() == 1
    assert processes(num_nodes=3) == 3
    assert processes(num_nodes=2, gpus_per_node=8) == 16
    assert processes(num_nodes=2, gpus_per_node=8, processes_per_node=4) == 8


async def test_one_process_s_memory_makes_the_node_s_where_none_is_named(settings: KubernetesSettings, tmp_path: Path):
    made = train_job(job(processes_per_node=2), tmp_path, tmp_path, settings, max_memory_bytes=1 << 30)
    assert made["spec"]["trainer"]["resourcesPerNode"]["limits"]["memory"] == str(2 << 30)
