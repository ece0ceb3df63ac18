"""Settings of trainings on a Kubernetes cluster."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class MountedClaim(BaseModel):
    """A persistent volume claim that trainings see."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: str = Field(min_length=1, max_length=253, description="Name of the claim.")
    path: Path = Field(description="Where it is mounted: where the service itself has it.")
    read_only: bool = Field(default=True, description="Trainings may not write to it.")


class KubernetesSettings(BaseModel):
    """Where and how trainings run on a cluster that has Kubeflow Trainer 2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str = Field(min_length=1, max_length=63, description="Namespace of the trainings.")
    image: str = Field(min_length=1, description="Image with this service's `post-training` extra.")
    storage_claim: str = Field(
        min_length=1,
        description="Claim of the volume that this service has as its `storage_dir`, writable by many nodes (ReadWriteMany).",
    )
    claims: tuple[MountedClaim, ...] = Field(
        default=(), max_length=16, description="Other claims that trainings need, for instance of base models."
    )
    runtime: str = Field(default="torch-distributed", description="The ClusterTrainingRuntime to train with.")
    kubeconfig: Path | None = Field(
        default=None, description="File to reach the cluster by. Default: the pod's own account."
    )
    context: str | None = Field(default=None, description="Context of `kubeconfig`. Default: its current one.")
    service_account: str = Field(
        default="", description="Account of the trainings' pods. Empty: the namespace's default."
    )
    image_pull_secrets: tuple[str, ...] = Field(default=(), description="Names of the secrets to pull the image with.")
    cpu: str = Field(
        default="2",
        pattern=r"^[0-9]+([.][0-9]+)?m?$",
        description="Processors of a node where a request names none.",
    )
    memory: str = Field(default="8Gi", description="Memory of a node where a request names none.")
    gpu_resource: str = Field(default="nvidia.com/gpu", description="Name of the resource that GPUs are.")
    run_as_user: int = Field(default=65532, ge=1, description="User of the trainings' processes.")
    grace_seconds: int = Field(
        default=300, ge=1, le=3600, description="Seconds that a training has for its checkpoint when it is stopped."
    )
    poll_seconds: float = Field(default=2.0, gt=0, le=60, description="Seconds between two looks at a training.")
    request_seconds: float = Field(
        default=30.0, gt=0, le=300, description="Longest time of one request to the cluster."
    )
    lost_seconds: float = Field(
        default=120.0, gt=0, description="Seconds that the cluster may not answer before a training counts as lost."
    )
