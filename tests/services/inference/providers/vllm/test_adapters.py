"""LoRA adapters, loaded and dropped while the engine runs."""

import json
from pathlib import Path

import grpc
import pytest

from caravan.inference.v1 import inference_pb2_grpc
from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2, providers_pb2_grpc
from tests.support.lora import make_adapter
from tests.support.processes import CHAT_MODEL
from tests.support.requests import chat, reason, sampling, text_of

Inference = inference_pb2_grpc.InferenceServiceStub
Provider = providers_pb2_grpc.ProviderServiceStub
MODEL = options_pb2.RESOURCE_KIND_MODEL


def adapted(model_id: str, source: str | Path, base: str = "caravan-chat") -> providers_pb2.LoadResourceRequest:
    model = {
        "model_id": model_id,
        "provider_model_id": model_id,
        "adapter": {"base_model_id": base, "source": str(source)},
        "entry": {"revision": 1},
    }
    return providers_pb2.LoadResourceRequest(resource={"model": model})


def drop(provider: Provider, model_id: str) -> None:
    provider.UnloadResource(providers_pb2.UnloadResourceRequest(kind=MODEL, resource_id=model_id))


def answer(inference: Inference, model_id: str) -> str:
    request = chat("Hello!", model_id=model_id, sampling_params=sampling(12))
    return text_of(inference.ChatCompletion(request).completion_message)


def test_an_adapter_answers_under_its_own_name_until_it_is_dropped(
    inference: Inference, provider: Provider, tmp_path: Path
) -> None:
    provider.LoadResource(adapted("tuned", make_adapter(tmp_path / "adapter", CHAT_MODEL)))
    assert answer(inference, "tuned") != answer(inference, "caravan-chat")
    drop(provider, "tuned")
    with pytest.raises(grpc.RpcError) as caught:
        answer(inference, "tuned")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_two_adapters_and_their_base_answer_side_by_side(
    inference: Inference, provider: Provider, tmp_path: Path
) -> None:
    for seed in (1, 2):
        provider.LoadResource(adapted(f"tuned-{seed}", make_adapter(tmp_path / str(seed), CHAT_MODEL, seed=seed)))
    requests = [
        chat("Hello!", model_id=model_id, sampling_params=sampling(12))
        for model_id in ("caravan-chat", "tuned-1", "tuned-2")
    ]
    running = [inference.ChatCompletion.future(request) for request in requests]
    assert len({text_of(call.result().completion_message) for call in running}) == 3
    for seed in (1, 2):
        drop(provider, f"tuned-{seed}")


def test_another_name_of_the_model_answers_like_it(inference: Inference, provider: Provider) -> None:
    alias = {"model_id": "alias", "provider_model_id": "caravan-chat", "entry": {"revision": 1}}
    loaded = provider.LoadResource(providers_pb2.LoadResourceRequest(resource={"model": alias}))
    assert loaded.resource.model.metadata["context_length"] > 0
    assert answer(inference, "alias") == answer(inference, "caravan-chat")
    drop(provider, "alias")


def test_what_is_no_adapter_is_refused_in_words(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, code in [
        ("/no/such/folder", grpc.StatusCode.NOT_FOUND),
        (tmp_path / "empty", grpc.StatusCode.NOT_FOUND),
        (make_adapter(tmp_path / "large", CHAT_MODEL, rank=128), grpc.StatusCode.FAILED_PRECONDITION),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            provider.LoadResource(adapted("refused", source))
        assert caught.value.code() == code, caught.value.details()


def test_an_adapter_that_the_engine_would_serve_in_part_is_refused(provider: Provider, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "output", CHAT_MODEL)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q_proj", "lm_head"]}))
    with pytest.raises(grpc.RpcError) as caught:
        provider.LoadResource(adapted("refused", folder))
    assert reason(caught.value) == "ADAPTER_ON_TIED_OUTPUT"


def test_an_adapter_of_another_base_is_refused(provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        provider.LoadResource(adapted("refused", make_adapter(tmp_path / "a", CHAT_MODEL), base="other"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_damaged_adapter_is_refused_and_the_engine_lives(
    inference: Inference, provider: Provider, tmp_path: Path
) -> None:
    folder = make_adapter(tmp_path / "damaged", CHAT_MODEL)
    (folder / "adapter_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(grpc.RpcError) as caught:
        provider.LoadResource(adapted("refused", folder))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert answer(inference, "caravan-chat")
