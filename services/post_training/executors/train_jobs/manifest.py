"""The TrainJob of a training (`trainer.kubeflow.org/v1alpha1`, Kubeflow Trainer 2.2 and later)."""

import hashlib
from pathlib import Path
from typing import Any

from caravan.post_training.v1 import jobs_pb2, training_pb2
from services.post_training.executors.train_jobs.settings import KubernetesSettings, MountedClaim
from services.post_training.spec import trainer_environment

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
JOB_LABEL = "caravan/job"
_JOB_ANNOTATION = "caravan/job-uuid"
_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_MANAGER = "caravan/post-training"
NODE = "node"
"""Name that a runtime gives the job and the container that train."""


def config_of(job: jobs_pb2.Job) -> training_pb2.KubernetesExecutor:
    """Returns what a job asks of the cluster."""
    chosen: training_pb2.KubernetesExecutor = getattr(job, job.WhichOneof("request") or "").executor.kubernetes
    return chosen


def processes_per_node(config: training_pb2.KubernetesExecutor) -> int:
    """Returns the number of processes on each node: one for each GPU, else one, where a request names none."""
    return config.processes_per_node or config.gpus_per_node or 1


def job_label(job_uuid: str) -> str:
    """Returns what the TrainJobs of a job are labelled with; an identifier can be longer than a label."""
    return hashlib.sha256(job_uuid.encode()).hexdigest()[:20]


def train_job(
    job: jobs_pb2.Job, spec: Path, storage_dir: Path, settings: KubernetesSettings, *, max_memory_bytes: int = 0
) -> dict[str, Any]:
    """Returns the TrainJob of a training, as the cluster's API takes it.

    Args:
        job: The job, with its request.
        spec: File that says all to the training.
        storage_dir: Folder of the service's files, in which the spec is.
        settings: How trainings run.
        max_memory_bytes: Memory that one process may use, where the request names no memory of a node. 0: the settings'.
    """
    config = config_of(job)
    per_node = processes_per_node(config)
    memory = config.memory or (str(max_memory_bytes * per_node) if max_memory_bytes else settings.memory)
    resources = {"cpu": config.cpu or settings.cpu, "memory": memory}
    if config.gpus_per_node:
        resources[settings.gpu_resource] = str(config.gpus_per_node)
    labels = {"app.kubernetes.io/managed-by": "caravan", JOB_LABEL: job_label(job.job_uuid)}
    if config.queue:
        labels[_QUEUE_LABEL] = config.queue
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": {
            "name": f"caravan-{job_label(job.job_uuid)}-{max(job.attempts, 1)}",
            "namespace": settings.namespace,
            "labels": labels,
            "annotations": {_JOB_ANNOTATION: job.job_uuid},
        },
        "spec": {
            "runtimeRef": {"name": settings.runtime},
            "trainer": {
                "image": settings.image,
                "command": ["python", "-P", "-m", "services.post_training.trainer.launch", "cluster", str(spec)],
                "env": _environment(resources["cpu"], per_node),
                "numNodes": config.num_nodes or 1,
                "numProcPerNode": per_node,
                "resourcesPerNode": {"requests": resources, "limits": resources},
            },
            "runtimePatches": [_patch(config, storage_dir, settings)],
        },
    }


def _environment(cpu: str, processes: int) -> list[dict[str, str]]:
    # A process counts the node's processors, of which the pod has a share.
    cores = float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1)
    variables = trainer_environment({}) | {"OMP_NUM_THREADS": str(max(1, int(cores) // processes))}
    return [{"name": name, "value": value} for name, value in variables.items()]


def _patch(config: training_pb2.KubernetesExecutor, storage_dir: Path, settings: KubernetesSettings) -> dict[str, Any]:
    """What the runtime's pods get beside: volumes, account, rights."""
    claims = (MountedClaim(claim=settings.storage_claim, path=storage_dir, read_only=False), *settings.claims)
    volumes = [
        {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": one.claim, "readOnly": one.read_only}}
        for number, one in enumerate(claims)
    ]
    mounts = [
        {"name": f"claim-{number}", "mountPath": str(one.path), "readOnly": one.read_only}
        for number, one in enumerate(claims)
    ]
    user = settings.run_as_user
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": settings.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [*volumes, {"name": "temporary", "emptyDir": {}}],
        "containers": [
            {
                "name": NODE,
                "volumeMounts": [*mounts, {"name": "temporary", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
    if config.node_selector:
        pod["nodeSelector"] = dict(config.node_selector)
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    nodes = {"name": NODE, "template": {"spec": {"template": {"spec": pod}}}}
    return {"manager": _MANAGER, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [nodes]}}}}
