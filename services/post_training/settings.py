"""Settings of the post-training service."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field

from services.core.gateway import CallingSettings
from services.core.redis.connection import ConnectionSettings
from services.post_training.datasets.settings import DatasetsSettings
from services.post_training.executors.settings import LocalSettings
from services.post_training.executors.train_jobs.settings import KubernetesSettings
from services.post_training.jobs.store.settings import StoreSettings
from services.post_training.planning.settings import PlanningSettings
from services.post_training.scoring.settings import ScoringSettings
from services.post_training.serving.settings import ServingSettings
from services.post_training.synthesis.settings import SynthesisSettings


class PostTrainingSettings(CallingSettings):
    """Settings of one replica of the post-training service."""

    connection: ConnectionSettings = Field(description="Where data sets and jobs are recorded.")
    storage_dir: Path = Field(
        description="Folder for rows and checkpoints; replicas of one service share it, and so do the nodes of a cluster."
    )
    datasets: DatasetsSettings = Field(default_factory=DatasetsSettings, description="What data sets may be.")
    store: StoreSettings = Field(default_factory=StoreSettings, description="What is kept of jobs.")
    planning: PlanningSettings = Field(
        default_factory=PlanningSettings, description="Where base models are, and how trainings are checked."
    )
    executor: Literal["local", "kubernetes"] = Field(
        default="local", description="Where trainings run whose request does not say."
    )
    local: LocalSettings = Field(default_factory=LocalSettings, description="Trainings on this machine.")
    kubernetes: KubernetesSettings | None = Field(
        default=None, description="Trainings on a Kubernetes cluster. Unset: none."
    )
    cluster_slots: int = Field(
        default=64, ge=1, le=10_000, description="Most trainings on the cluster at once that this process follows."
    )
    searches: int = Field(default=16, ge=1, le=1024, description="Most searches at once in this process.")
    generations: int = Field(default=4, ge=1, le=1024, description="Most jobs that make data at once in this process.")
    serving: ServingSettings = Field(
        default_factory=ServingSettings, description="How results of trainings are put into service."
    )
    scoring: ScoringSettings = Field(default_factory=ScoringSettings, description="How answers are scored.")
    synthesis: SynthesisSettings = Field(default_factory=SynthesisSettings, description="How data are made.")
    retention: timedelta | None = Field(
        default=None,
        description="How long jobs and their artifacts are kept once they have ended, unless they say. Unset: for ever.",
    )
    lease_seconds: float = Field(
        default=15.0,
        ge=0.5,
        le=600,
        description="Seconds after which another process takes up the jobs of one that died.",
    )
    scan_seconds: float = Field(
        default=2.0, gt=0, le=60, description="Seconds between two looks for jobs of processes that died."
    )
    sweep_seconds: float = Field(
        default=30.0, gt=0, le=86_400, description="Seconds between two looks for jobs whose time is over."
    )
    peer_seconds: float = Field(
        default=60.0, gt=0, description="Longest time that one call of another service may take."
    )
    export_seconds: float = Field(
        default=3600.0, gt=0, description="Longest time that the export of a checkpoint may take."
    )
