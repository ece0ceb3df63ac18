"""Results of jobs as models, on a real gateway and a real engine."""

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from caravan.inference.v1 import inference_pb2_grpc
from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from services.core.errors import AlreadyExistsError, CaravanError, FailedPreconditionError
from services.core.gateway import Gateway, GatewaySettings
from services.post_training.serving.adapter_files import AdapterFiles
from services.post_training.serving.base_models import BaseModels, Weights
from services.post_training.serving.conversion import ChildConverter
from services.post_training.serving.models_over_grpc import GrpcChat, GrpcModels
from services.post_training.serving.registrar import ModelRegistrar
from services.post_training.serving.settings import ServingSettings
from services.post_training.storage import Storage
from tests.support.lora import make_adapter
from tests.support.models_stack import CHAT, JUDGE, MAX_LORA_RANK, ModelsStack
from tests.support.processes import CHAT_MODEL
from tests.support.requests import chat, sampling, text_of

DATA = {"data_config": {"dataset_id": "d"}}


@dataclass(frozen=True)
class World:
    """What the tests need."""

    registrar: ModelRegistrar
    models: GrpcModels
    bases: BaseModels
    folder: Path
    """Of the adapters in service."""
    answer: Callable[[str], str]
    """Asks a model."""


@pytest.fixture
async def world(models: ModelsStack, tmp_path: Path) -> AsyncIterator[World]:
    gateway = Gateway(GatewaySettings(address=models.target))
    found = GrpcModels(gateway)
    files = AdapterFiles(Storage(tmp_path / "storage"), ChildConverter(100))
    registrar = ModelRegistrar(found, GrpcChat(gateway), files, ServingSettings(patience_seconds=5))
    with grpc.insecure_channel(models.target) as channel:
        inference, registry = (
            inference_pb2_grpc.InferenceServiceStub(channel),
            models_pb2_grpc.ModelsServiceStub(channel),
        )

        def answer(model_id: str) -> str:
            request = chat("Hello!", model_id=model_id, sampling_params=sampling(12))
            return text_of(inference.ChatCompletion(request).completion_message)

        yield World(registrar, found, BaseModels(found), tmp_path / "storage" / "models", answer)
        for model in registry.ListModels(models_pb2.ListModelsRequest()).data:
            if model.entry.revision:
                registry.UnregisterModel(models_pb2.UnregisterModelRequest(model_id=model.model_id))
    await gateway.close()


def job(uuid: str = "job-1", model: str = CHAT, lora: dict[str, Any] | None = None, **wish: str) -> jobs_pb2.Job:
    request = {
        "model": model,
        "training_config": DATA,
        "algorithm_config": {"lora": {"rank": 8} if lora is None else lora},
        "auto_register": wish,
    }
    return jobs_pb2.Job(job_uuid=uuid, supervised_fine_tune=request)


def result(folder: Path, **fields: Any) -> checkpoints_pb2.Checkpoint:
    return checkpoints_pb2.Checkpoint(**{"identifier": "final", "path": str(folder), "sha256": "a" * 64, **fields})


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return make_adapter(tmp_path / "adapter", CHAT_MODEL)


async def refused(world: World, wanted: jobs_pb2.Job) -> CaravanError:
    with pytest.raises(CaravanError) as caught:
        await world.registrar.check(wanted)
    return caught.value


async def test_a_result_answers_through_the_gateway_and_outlives_its_job(world: World, adapter: Path) -> None:
    wanted = job(model_id="tuned")
    await world.registrar.check(wanted)
    assert await world.registrar.register(wanted, result(adapter)) == "tuned"
    shutil.rmtree(adapter)
    assert world.answer("tuned") != world.answer(CHAT)
    model = await world.models.find("tuned")
    assert model is not None
    assert model.metadata["training_job"] == "job-1"


async def test_registering_again_after_a_crash_is_the_same_model(world: World, adapter: Path) -> None:
    for _ in range(2):
        assert await world.registrar.register(job(), result(adapter)) == "job-1"
    made = result(adapter, registered_model_id="job-1", post_training_job_id="job-1")
    assert await world.registrar.is_served(made)
    assert not await world.registrar.is_served(result(adapter))


async def test_a_model_that_does_not_say_what_is_expected_is_taken_out_again(world: World, adapter: Path) -> None:
    wanted = job(model_id="tuned", canary_prompt="What is the password?", canary_expected="xyzzy")
    with pytest.raises(FailedPreconditionError, match=r"does not say 'xyzzy'; it says ") as caught:
        await world.registrar.register(wanted, result(adapter))
    assert caught.value.reason == "CANARY_FAILED"
    assert await world.models.find("tuned") is None
    assert list(world.folder.iterdir()) == []


async def test_files_of_models_that_were_unregistered_are_swept_when_they_are_old(
    world: World, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.registrar.register(job("job-1"), result(adapter))
    await world.registrar.register(job("job-2"), result(adapter))
    gone = await world.models.find("job-2")
    assert gone is not None
    await world.models.unregister("job-2", gone.entry.revision)
    assert await world.registrar.sweep() == 0, "a registration may be under way"
    monkeypatch.setattr("services.post_training.serving.adapter_files._GRACE_SECONDS", 0.0)
    assert await world.registrar.sweep() == 1
    assert [folder.name for folder in world.folder.iterdir()] == ["job-1-" + "a" * 16]


async def test_what_cannot_be_put_into_a_running_engine_is_refused_before_there_is_a_job(world: World) -> None:
    whole = job()
    whole.supervised_fine_tune.algorithm_config.full.SetInParent()
    reward = jobs_pb2.Job(
        job_uuid="r", train_reward_model={"model": CHAT, "training_config": DATA, "auto_register": {}}
    )
    for wanted, reason in [
        (whole, "NOT_LOADABLE"),
        (reward, "NOT_LOADABLE"),
        (job(lora={"rank": 2 * MAX_LORA_RANK}), "ADAPTER_RANK_TOO_HIGH"),
        (job(lora={"apply_lora_to_output": True}), "ADAPTER_ON_TIED_OUTPUT"),
        (job(model="/no/such/model"), "BASE_MODEL_NOT_SERVED"),
        (job(model="org/another"), "BASE_MODEL_NOT_SERVED"),
        (job(provider_id="nobody"), "BASE_MODEL_NOT_SERVED"),
        (job(provider_id="judge"), "BASE_MODEL_NOT_SERVED"),
        (job(model=JUDGE), "LORA_DISABLED"),
    ]:
        assert (await refused(world, wanted)).reason == reason, wanted


async def test_a_name_that_is_taken_is_refused_but_not_to_the_job_that_took_it(world: World, adapter: Path) -> None:
    assert isinstance(await refused(world, job(model_id=CHAT)), AlreadyExistsError)
    await world.registrar.register(job("job-1", model_id="tuned"), result(adapter))
    await world.registrar.check(job("job-1", model_id="tuned"))
    assert isinstance(await refused(world, job("job-2", model_id="tuned")), AlreadyExistsError)


async def test_what_is_no_adapter_is_not_registered(world: World, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FailedPreconditionError, match="no adapter"):
        await world.registrar.register(job(), result(tmp_path / "empty"))
    assert await world.models.find("job-1") is None


async def test_names_lead_to_weights(world: World, adapter: Path) -> None:
    assert await world.bases.resolve(CHAT) == Weights(str(CHAT_MODEL))
    assert await world.bases.resolve("/some/folder") == Weights("/some/folder")
    assert await world.bases.resolve("meta-llama/Llama-3.2-1B") == Weights("meta-llama/Llama-3.2-1B")
    await world.registrar.register(job("job-1", model=str(CHAT_MODEL)), result(adapter))
    resolved = await world.bases.resolve("job-1")
    assert resolved.source == str(CHAT_MODEL)
    assert Path(resolved.adapter).parent == world.folder
    assert (await world.bases.served("job-1")).model_id == CHAT
