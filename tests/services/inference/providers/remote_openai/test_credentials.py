"""Whose key goes to the server, and where no key goes."""

import asyncio
import json
import logging

import pytest

from caravan.inference.v1 import inference_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.core.masking import MASK, masked
from services.core.provider_data import PROVIDER_DATA_KEY, current_provider_data, enter_provider_data
from services.inference.providers.remote_openai.config import RemoteOpenAIConfig
from services.inference.providers.remote_openai.provider import RemoteOpenAIProvider
from tests.services.inference.conversation import user
from tests.services.inference.providers.remote_openai.conftest import Start
from tests.services.inference.providers.remote_openai.test_answers import chat_answer
from tests.support.eventually import until
from tests.support.openai_server import OpenAIServer, answer

OWN = "sk-operators-own-key"


async def call(provider: RemoteOpenAIProvider, data: object = None) -> None:
    """Calls as a gRPC handler does: in a task of its own, with the call's metadata."""

    async def handler() -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        enter_provider_data([(PROVIDER_DATA_KEY, text)] if data is not None else [])
        await provider.chat_completion(inference_pb2.ChatCompletionRequest(model_id="m", messages=[user("hi")]))

    await asyncio.create_task(handler())


def keys(server: OpenAIServer) -> list[str | None]:
    return [received.headers.get("Authorization") for received in server.received]


async def test_no_key_no_header(server: OpenAIServer, start: Start):
    server.will(answer(chat_answer({})))
    await call(await start(server.url))
    assert keys(server) == [None]


async def test_a_calls_own_key_counts_only_where_the_operator_allows_it(server: OpenAIServer, start: Start):
    server.will(answer(chat_answer({})))
    await call(await start(server.url, api_key=OWN), {"api_key": "mine"})
    assert keys(server) == [f"Bearer {OWN}"]
    await call(await start(server.url, api_key=OWN, allow_request_credentials=True), {"api_key": "mine"})
    assert keys(server)[1:] == ["Bearer mine"]


async def test_a_key_never_reaches_another_call(server: OpenAIServer, start: Start):
    server.will(answer(chat_answer({})))
    provider = await start(server.url, api_key=OWN, allow_request_credentials=True)
    data = [{"api_key": f"key-{number}"} if number % 3 else None for number in range(60)]
    await asyncio.gather(*(call(provider, one) for one in data))
    expected = [f"Bearer {one['api_key']}" if one else f"Bearer {OWN}" for one in data]
    assert sorted(map(str, keys(server))) == sorted(expected)
    assert current_provider_data() == {}


@pytest.mark.parametrize(
    "data",
    ["no json: sk-very-secret", '["sk-very-secret"]', {"api_key": 5}, {"api_key": "a\r\nX: y"}, {"api_key": ""}],
)
async def test_provider_data_that_is_wrong_is_refused_without_being_shown(
    server: OpenAIServer, start: Start, data: object
):
    server.will(answer(chat_answer({})))
    provider = await start(server.url, allow_request_credentials=True)
    with pytest.raises(InvalidArgumentError) as caught:
        await call(provider, data)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert server.received == []


async def test_a_callers_key_that_is_refused_is_the_callers_affair(server: OpenAIServer, start: Start):
    server.will(answer({"error": {"message": "Incorrect API key: mine-1234"}}, 401))
    provider = await start(server.url, allow_request_credentials=True)
    with pytest.raises(FailedPreconditionError, match="caravan-provider-data") as caught:
        await call(provider, {"api_key": "mine-1234"})
    assert "mine-1234" not in caught.value.message


async def test_keys_are_not_logged(server: OpenAIServer, start: Start, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    server.will(answer({}, 503), answer({"error": "Bearer mine-1234 is bad"}, 400))
    provider = await start(server.url, api_key=OWN, allow_request_credentials=True)
    with pytest.raises(InvalidArgumentError):
        await call(provider, {"api_key": "mine-1234"})
    assert "mine-1234" not in caplog.text
    assert OWN not in caplog.text


def test_the_configuration_that_is_shown_holds_no_key():
    config = RemoteOpenAIConfig(base_url="http://x/v1", api_key=OWN, headers={"x-key": "hush"})
    assert masked(config)["api_key"] == MASK
    assert masked(config)["headers"] == {"x-key": MASK}
    assert OWN not in repr(config)
    assert "hush" not in repr(config)


@pytest.mark.parametrize("url", ["http://user:pw@x/v1", "http://x/v1?key=1", "http://x/v1#a", "ftp://x/v1", "x"])
def test_an_address_with_more_than_an_address_is_refused(url: str):
    with pytest.raises(ValueError, match="base_url"):
        RemoteOpenAIConfig(base_url=url)


async def test_a_keyless_provider_trusts_its_configured_models(server: OpenAIServer, start: Start):
    server.models_reply = answer({"error": "no key"}, 401)
    server.will(answer(chat_answer({})))
    provider = await start(server.url, allow_request_credentials=True, models=[{"model_id": "m"}])
    await call(provider, {"api_key": "mine"})
    assert keys(server) == ["Bearer mine"]
    other = await start(server.url, ready=False, api_key=OWN, models=[{"model_id": "m"}])
    await until(lambda: "operator" in other.readiness.reason)
