"""Which models there are, and whether the provider is ready."""

import asyncio
from typing import Any

import pytest

from caravan.inference.v1 import inference_pb2
from caravan.options.v1 import options_pb2
from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import models_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from services.inference.providers.remote_openai.provider import RemoteOpenAIProvider
from tests.services.inference.conversation import content, user
from tests.services.inference.providers.remote_openai.conftest import Start
from tests.services.inference.providers.remote_openai.test_answers import chat_answer
from tests.support.eventually import until
from tests.support.openai_server import OpenAIServer, answer, plain

LLM, EMBEDDING = models_pb2.MODEL_TYPE_LLM, models_pb2.MODEL_TYPE_EMBEDDING


def served(provider: RemoteOpenAIProvider) -> dict[str, int]:
    return {resource.model.model_id: resource.model.model_type for resource in provider.resources()}


def resource(**fields: Any) -> providers_pb2.Resource:
    return providers_pb2.Resource(model=models_pb2.Model(**{"model_id": "alias", "provider_id": "remote", **fields}))


async def chat(provider: RemoteOpenAIProvider, model_id: str) -> None:
    await provider.chat_completion(inference_pb2.ChatCompletionRequest(model_id=model_id, messages=[user("hi")]))


async def test_every_model_that_the_server_lists_is_served(server: OpenAIServer, start: Start):
    server.models = [{"id": "a", "max_model_len": 128}, {"id": "Text-Embedding-3"}, {"no": "id"}, {"id": 5}]
    provider = await start(server.url)
    assert served(provider) == {"a": LLM, "Text-Embedding-3": EMBEDDING}
    assert provider.resources()[0].model.metadata["context_length"] == 128
    with pytest.raises(FailedPreconditionError):
        await chat(provider, "Text-Embedding-3")
    with pytest.raises(FailedPreconditionError):
        await provider.embeddings(inference_pb2.EmbeddingsRequest(model_id="a", contents=[content("x")]))
    with pytest.raises(NotFoundError):
        await chat(provider, "b")


async def test_the_list_is_followed(server: OpenAIServer, start: Start):
    provider = await start(server.url, refresh_seconds=0.05)
    server.models = [{"id": "new"}]
    await until(lambda: served(provider) == {"new": LLM})


async def test_only_configured_models_that_the_server_lists_are_served(server: OpenAIServer, start: Start):
    models = [
        {"model_id": "chat", "provider_model_id": "m", "context_length": 77},
        {"model_id": "vectors", "provider_model_id": "m", "model_type": "embedding"},
        {"model_id": "gone"},
    ]
    provider = await start(server.url, models=models)
    assert served(provider) == {"chat": LLM, "vectors": EMBEDDING}
    assert provider.resources()[0].model.metadata["context_length"] == 77
    with pytest.raises(NotFoundError):
        await chat(provider, "m")


@pytest.mark.parametrize("reply", [plain("Not Found", 404), plain("", 405), plain("", 501)])
async def test_a_server_without_a_list_is_taken_at_the_operators_word(server: OpenAIServer, start: Start, reply: Any):
    server.models_reply = reply
    provider = await start(server.url, models=[{"model_id": "m"}])
    assert served(provider) == {"m": LLM}
    other = await start(server.url, ready=False)
    await until(lambda: "models" in other.readiness.reason)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (plain("", 500), "failed"),
        (plain("", 401), "operator"),
        (answer({"data": []}), "lists no models"),
        (answer({"data": None}), "malformed"),
        (plain("<html>"), "not JSON"),
    ],
)
async def test_a_provider_is_not_ready_until_the_server_answers_well(
    server: OpenAIServer, start: Start, reply: Any, why: str
):
    server.models_reply = reply
    provider = await start(server.url, ready=False, refresh_seconds=0.05)
    await until(lambda: why in provider.readiness.reason)
    server.models_reply = None
    await until(lambda: provider.readiness.ready)
    server.models_reply = reply
    await until(lambda: not provider.readiness.ready)


async def test_a_server_that_has_too_much_to_do_is_not_away_but_a_slow_one_may_be(server: OpenAIServer, start: Start):
    provider = await start(server.url, refresh_seconds=0.05)
    changes: list[bool] = []
    provider.readiness.subscribe(lambda readiness: changes.append(readiness.ready))

    async def listed(times: int) -> None:
        asked = server.listings
        await until(lambda: server.listings > asked + times)

    server.models_reply = plain("", 429)
    await listed(5)
    server.models_reply = None
    await listed(1)
    server.models_reply = plain("", 504)
    await listed(1)
    assert changes == []
    await until(lambda: changes == [False])


async def test_a_model_that_has_gone_makes_the_list_be_asked_again(server: OpenAIServer, start: Start):
    provider = await start(server.url, refresh_seconds=3600)
    server.models = [{"id": "new"}]
    server.will(answer({"error": {"message": "no such model"}}, 404))
    with pytest.raises(NotFoundError):
        await chat(provider, "m")
    await until(lambda: served(provider) == {"new": LLM})


async def test_an_alias_is_another_name_of_a_served_model(server: OpenAIServer, start: Start):
    server.models = [{"id": "m", "max_model_len": 64}]
    server.will(answer(chat_answer({})))
    provider = await start(server.url)
    loaded = await provider.load(resource(provider_model_id="m"))
    assert loaded.model.model_type == LLM
    assert loaded.model.metadata["context_length"] == 64
    await chat(provider, "alias")
    assert server.last.body["model"] == "m"
    assert "alias" not in served(provider)
    await provider.unload(options_pb2.RESOURCE_KIND_MODEL, "alias")
    with pytest.raises(NotFoundError):
        await chat(provider, "alias")


async def test_a_model_that_came_up_since_can_be_registered_at_once(server: OpenAIServer, start: Start):
    provider = await start(server.url, refresh_seconds=3600)
    server.models = [*server.models, {"id": "fresh"}]
    assert (await provider.load(resource(provider_model_id="fresh"))).model.provider_model_id == "fresh"
    assert (await provider.load(resource(model_id="m"))).model.provider_model_id == "m"


async def test_a_registration_may_say_that_a_model_embeds(server: OpenAIServer, start: Start):
    provider = await start(server.url)
    loaded = await provider.load(resource(provider_model_id="m", model_type=EMBEDDING))
    assert loaded.model.model_type == EMBEDDING
    server.will(answer({"data": [{"index": 0, "embedding": [1.0]}]}))
    await provider.embeddings(inference_pb2.EmbeddingsRequest(model_id="alias", contents=[content("x")]))


async def test_what_cannot_be_registered_is_refused(server: OpenAIServer, start: Start):
    provider = await start(server.url, models=[{"model_id": "m"}])
    with pytest.raises(NotFoundError, match="it serves: m"):
        await provider.load(resource(provider_model_id="text-embed"))
    with pytest.raises(InvalidArgumentError):
        await provider.load(resource(provider_model_id="m", model_type=EMBEDDING))
    with pytest.raises(FailedPreconditionError):
        await provider.load(resource(provider_model_id="m", adapter={"base_model_id": "m", "source": "/x"}))


async def test_ollamas_tag_may_be_left_out(server: OpenAIServer, start: Start):
    server.models = [{"id": "llama3:latest"}]
    provider = await start(server.url, "ollama")
    assert (await provider.load(resource(provider_model_id="llama3"))).model.provider_model_id == "llama3"
    with pytest.raises(NotFoundError):
        await provider.load(resource(provider_model_id="llama"))


async def test_stopping_ends_the_questions(server: OpenAIServer, start: Start):
    provider = await start(server.url, refresh_seconds=0.05)
    await provider.stop()
    asked = server.listings
    await asyncio.sleep(0.15)
    assert server.listings == asked
