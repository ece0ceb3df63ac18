"""Composition root of the post-training service."""

import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from caravan.post_training.v1 import post_training_pb2_grpc
from caravan.reward_scoring.v1 import reward_scoring_pb2_grpc
from caravan.synthetic_data.v1 import synthetic_data_pb2_grpc
from services.core.gateway import Gateway
from services.core.redis.connection import Connection
from services.core.server import Binding, ServiceServer
from services.post_training.datasets.assembly import DatasetsPart
from services.post_training.executors.exporting import ProcessExporter
from services.post_training.executors.local import LocalExecutor
from services.post_training.jobs.artifacts import Artifacts
from services.post_training.jobs.creating import Creating, CreationLimits
from services.post_training.jobs.jobs import Jobs
from services.post_training.jobs.ports import Executor
from services.post_training.jobs.preparing import Preparing
from services.post_training.jobs.records import Lane
from services.post_training.jobs.retention import Retention
from services.post_training.jobs.scheduler import Place, Scheduler, SchedulerLimits
from services.post_training.jobs.search import SearchWork
from services.post_training.jobs.store.redis_store import RedisJobs
from services.post_training.jobs.training import TrainingWork
from services.post_training.planning.base_models import BaseModels as PlannedModels
from services.post_training.planning.planner import Planner
from services.post_training.provider import Closing, PostTrainingProvider
from services.post_training.scoring.rewards_over_grpc import GrpcRewardModels
from services.post_training.scoring.scoring import Scoring
from services.post_training.scoring.servicer import RewardScoringServicer
from services.post_training.servicer import PostTrainingServicer
from services.post_training.serving.adapter_files import AdapterFiles
from services.post_training.serving.base_models import BaseModels
from services.post_training.serving.conversion import ChildConverter
from services.post_training.serving.models_over_grpc import GrpcChat, GrpcModels
from services.post_training.serving.registrar import ModelRegistrar
from services.post_training.settings import PostTrainingSettings
from services.post_training.storage import Storage
from services.post_training.store import connect
from services.post_training.synthesis.calls_in_redis import CallsInRedis
from services.post_training.synthesis.servicer import SyntheticDataServicer
from services.post_training.synthesis.synthesis import Synthesis
from services.post_training.synthesis.work import SynthesisWork

POST_TRAINING = "caravan.post_training.v1.PostTrainingService"
REWARD_SCORING = "caravan.reward_scoring.v1.RewardScoringService"
SYNTHETIC_DATA = "caravan.synthetic_data.v1.SyntheticDataGenerationService"
# Seconds beyond what a training gets to write its checkpoint.
_STOP_SLACK = 30.0


def new_id() -> str:
    """Makes an identifier: 32 hexadecimal digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class _Ground:
    """What all parts stand on."""

    settings: PostTrainingSettings
    connection: Connection
    storage: Storage
    gateway: Gateway
    datasets: DatasetsPart
    store: RedisJobs
    models: GrpcModels
    registrar: ModelRegistrar


def build(settings: PostTrainingSettings) -> ServiceServer:
    """Builds the server of one replica.

    Args:
        settings: How it is served.
    """
    ground = _ground(settings)
    store, storage = ground.store, ground.storage
    planner = Planner(settings.planning)
    bases = PlannedModels(settings.planning, BaseModels(ground.models).resolve)
    preparing = Preparing(store, ground.datasets.datasets, bases, planner)
    executors, closing = _executors(settings)
    limits = CreationLimits(settings.executor, settings.retention)
    creating = Creating(store, preparing, preparing, ground.registrar, executors, new_id, limits)
    jobs = Jobs(store, storage)
    synthesis, calls = _synthesis(ground)
    places = _places(ground, executors, preparing)
    places["search"] = Place(SearchWork(store, jobs, creating, ground.registrar), settings.searches)
    places["data"] = Place(SynthesisWork(synthesis), settings.generations)
    lease = SchedulerLimits(settings.lease_seconds, settings.scan_seconds, settings.local.stop_seconds + _STOP_SLACK)
    scheduler = Scheduler(store, storage, places, f"{settings.provider_id} on {socket.gethostname()}", lease)
    retention = Retention(store, jobs, [ground.registrar.sweep, calls.sweep], settings.sweep_seconds)
    artifacts = Artifacts(store, storage, ground.registrar, ProcessExporter(settings.export_seconds))
    bindings = [
        Binding(
            POST_TRAINING,
            post_training_pb2_grpc.add_PostTrainingServiceServicer_to_server,
            PostTrainingServicer(creating, jobs, artifacts),
        ),
        *ground.datasets.bindings,
        *_making_bindings(ground, synthesis, creating),
    ]
    provider = PostTrainingProvider(
        settings.provider_id,
        [binding.name for binding in bindings],
        settings,
        ground.connection,
        storage,
        ground.datasets,
        store,
        scheduler,
        retention,
        ground.gateway,
        [planner, *closing],
    )
    return ServiceServer(settings, bindings, provider)


def _ground(settings: PostTrainingSettings) -> _Ground:
    connection, storage = connect(settings.connection), Storage(settings.storage_dir)
    gateway = Gateway(settings.gateway)
    datasets = DatasetsPart(
        settings.datasets,
        storage,
        connection,
        provider_id=settings.provider_id,
        max_send_bytes=settings.max_send_bytes,
    )
    models = GrpcModels(gateway)
    files = AdapterFiles(storage, ChildConverter(settings.serving.conversion_seconds))
    registrar = ModelRegistrar(models, GrpcChat(gateway), files, settings.serving)
    store = RedisJobs(connection, settings.store)
    return _Ground(settings, connection, storage, gateway, datasets, store, models, registrar)


def _executors(settings: PostTrainingSettings) -> tuple[dict[Lane, Executor], Sequence[Closing]]:
    executors: dict[Lane, Executor] = {"local": LocalExecutor(settings.local)}
    if settings.kubernetes is None:
        return executors, []
    # The cluster's client takes a second to import.
    from services.post_training.executors.train_jobs.executor import KubernetesExecutor

    cluster = KubernetesExecutor(settings.kubernetes, settings.storage_dir)
    executors["kubernetes"] = cluster
    return executors, [cluster]


def _places(ground: _Ground, executors: dict[Lane, Executor], preparing: Preparing) -> dict[Lane, Place]:
    settings = ground.settings
    slots: dict[Lane, int] = {"local": settings.local.slots, "kubernetes": settings.cluster_slots}
    places: dict[Lane, Place] = {}
    for lane, executor in executors.items():
        reserve = settings.local.reserve_bytes
        work = TrainingWork(executor, preparing, ground.registrar, ground.store, ground.storage, reserve)
        places[lane] = Place(work, slots[lane])
    return places


def _synthesis(ground: _Ground) -> tuple[Synthesis, CallsInRedis]:
    gateway, settings = ground.gateway, ground.settings
    calls = CallsInRedis(ground.connection, ground.storage)
    rewards = GrpcRewardModels(gateway, settings.scoring.call_seconds)
    synthesis = Synthesis(
        ground.models, GrpcChat(gateway), rewards, ground.datasets.datasets, calls, settings.synthesis
    )
    return synthesis, calls


def _making_bindings(ground: _Ground, synthesis: Synthesis, creating: Creating) -> list[Binding]:
    rewards = GrpcRewardModels(ground.gateway, ground.settings.scoring.call_seconds)
    scoring = RewardScoringServicer(Scoring(rewards, ground.settings.scoring))
    return [
        Binding(REWARD_SCORING, reward_scoring_pb2_grpc.add_RewardScoringServiceServicer_to_server, scoring),
        Binding(
            SYNTHETIC_DATA,
            synthetic_data_pb2_grpc.add_SyntheticDataGenerationServiceServicer_to_server,
            SyntheticDataServicer(synthesis, creating),
        ),
    ]
