"""The tools behind web APIs, against loopback servers that answer as those document it."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from services.agents.tools.keys import api_key
from services.agents.tools.photogen import Photogen
from services.agents.tools.search import BingSearch, BraveSearch
from services.agents.tools.tool import Outcome, ToolError
from services.agents.tools.web_api import WebApi
from services.agents.tools.wolfram_alpha import WolframAlpha
from services.core.errors import InvalidArgumentError
from services.core.fetch import FetchLimits
from services.core.provider_data import PROVIDER_DATA_KEY, enter_provider_data
from tests.support.http_endpoint import Endpoint

KEY = "a-very-secret-key"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20
BRAVE = {
    "query": {"original": "otters"},
    "mixed": {
        "type": "mixed",
        "main": [
            {"type": "web", "index": 1, "all": False},
            {"type": "videos", "all": True},
            {"type": "web", "index": 0, "all": False},
            {"type": "web", "index": 2, "all": False},
        ],
    },
    "web": {
        "results": [
            {
                "type": "search_result",
                "title": "Otter",
                "url": "https://a",
                "description": "An otter",
                "profile": {"x": 1},
            },
            {
                "type": "search_result",
                "title": "Sea otter",
                "url": "https://b",
                "description": "At sea",
                "language": "en",
            },
            {"type": "search_result", "title": "Third", "url": "https://c", "description": "No more"},
        ]
    },
    "videos": {
        "results": [{"type": "video_result", "title": "Otters play", "url": "https://v", "thumbnail": {"src": "x"}}]
    },
}
BING = {
    "queryContext": {"originalQuery": "otters"},
    "webPages": {
        "value": [
            {"id": "1", "name": "Otter", "url": "https://a", "snippet": "An otter", "dateLastCrawled": "2026-01-01", "x": 1},
            {"id": "2", "name": "Sea otter", "url": "https://b", "snippet": "At sea"},
        ]
    },
}  # fmt: skip
WOLFRAM = {
    "queryresult": {
        "success": True,
        "error": False,
        "pods": [
            {"title": "Input", "id": "Input", "subpods": [{"title": "", "plaintext": "2 + 2"}]},
            {"title": "Plot", "id": "Plot", "subpods": [{"title": "", "plaintext": ""}]},
            {"title": "Result", "id": "Result", "primary": True, "subpods": [{"title": "", "plaintext": "4"}]},
            {"title": "Number name", "id": "NumberName", "subpods": [{"title": "", "plaintext": "four"}]},
        ],
    }
}


@pytest.fixture
async def api() -> AsyncIterator[WebApi]:
    api = WebApi("The service", timeout=1.0, max_bytes=10_000)
    yield api
    await api.close()


def read(outcome: Outcome) -> Any:
    return json.loads(outcome.content.items[0].text)


async def failure_of(tool: Any, query: Any = "otters") -> ToolError:
    with pytest.raises(ToolError) as caught:
        await tool.run({"query": query})
    assert KEY not in caught.value.message
    assert caught.value.__cause__ is None  # nothing that quotes the address with its key
    return caught.value


async def test_brave_gives_the_first_three_results_in_the_order_it_mixes_them(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says(BRAVE)
    outcome = await BraveSearch(api, endpoint.url, KEY).run({"query": "otters"})
    assert read(outcome) == {
        "query": "otters",
        "top_k": [
            {"type": "web", "title": "Sea otter", "url": "https://b", "description": "At sea"},
            {"type": "videos", "title": "Otters play", "url": "https://v"},
            {"type": "web", "title": "Otter", "url": "https://a", "description": "An otter"},
        ],
    }
    (seen,) = endpoint.seen
    assert seen.query == {"q": "otters", "count": "3"}
    assert seen.headers["x-subscription-token"] == KEY


async def test_bing_has_its_own_shape_and_the_same_result(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says(BING)
    outcome = await BingSearch(api, endpoint.url, KEY, top_k=1).run({"query": "otters"})
    assert read(outcome) == {
        "query": "otters",
        "top_k": [
            {"type": "web", "title": "Otter", "url": "https://a", "description": "An otter", "date": "2026-01-01"}
        ],
    }
    assert endpoint.seen[0].headers["ocp-apim-subscription-key"] == KEY


async def test_wolfram_alpha_drops_what_comes_after_the_result(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says(WOLFRAM)
    outcome = await WolframAlpha(api, endpoint.url, KEY).run({"query": "2+2"})
    assert read(outcome) == {
        "query": "2+2",
        "pods": [{"title": "Input", "text": "2 + 2"}, {"title": "Result", "text": "4"}],
    }
    assert endpoint.seen[0].query == {"input": "2+2", "appid": KEY, "format": "plaintext", "output": "json"}


async def test_wolfram_alpha_passes_on_what_it_suggests(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says({"queryresult": {"success": False, "error": False, "didyoumeans": {"score": "0.5", "val": "otter"}}})
    assert "did you mean 'otter'?" in (await failure_of(WolframAlpha(api, endpoint.url, KEY))).message


async def test_photogen_gives_the_image_to_the_user_and_words_to_the_model(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says({"created": 1, "data": [{"b64_json": base64.b64encode(PNG).decode()}]})
    outcome = await Photogen(api, endpoint.url + "/v1", KEY, "draws", FetchLimits()).run({"query": "an otter"})
    (attachment,) = outcome.attachments
    assert (attachment.data, attachment.mime_type, attachment.file_name) == (PNG, "image/png", "image.png")
    assert "shown to the user" in outcome.content.items[0].text
    (seen,) = endpoint.seen
    assert (seen.path, seen.json) == ("/v1/images/generations", {"prompt": "an otter", "n": 1, "model": "draws"})
    assert seen.headers["authorization"] == f"Bearer {KEY}"


async def test_photogen_fetches_an_image_that_comes_as_an_address(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says({"data": [{"url": endpoint.url + "/image"}]})
    endpoint.says(PNG)
    outcome = await Photogen(api, endpoint.url, KEY, "", FetchLimits(allow_private=True)).run({"query": "an otter"})
    assert outcome.attachments[0].data == PNG


async def test_an_image_address_on_this_machine_is_not_fetched(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says({"data": [{"url": endpoint.url + "/image"}]})
    with pytest.raises(InvalidArgumentError, match="private address"):
        await Photogen(api, endpoint.url, KEY, "", FetchLimits()).run({"query": "an otter"})


async def test_what_is_no_image_is_not_passed_on(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says({"data": [{"b64_json": base64.b64encode(b"<html>").decode()}]})
    assert "no PNG" in (await failure_of(Photogen(api, endpoint.url, KEY, "", FetchLimits()))).message


async def test_a_rate_limit_is_waited_for_when_the_wait_is_short(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says({}, status=429, headers={"Retry-After": "0"})
    endpoint.says(BRAVE)
    await BraveSearch(api, endpoint.url, KEY).run({"query": "otters"})
    assert len(endpoint.seen) == 2


async def test_a_long_rate_limit_is_told_to_the_model(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says({"error": KEY}, status=429, headers={"Retry-After": "3600"})
    failure = await failure_of(BraveSearch(api, endpoint.url, KEY))
    assert (failure.code, len(endpoint.seen)) == (429, 1)
    assert "try again later" in failure.message


@pytest.mark.parametrize(("status", "says"), [(401, "check the tool's API key"), (500, "it failed"), (418, "refused")])
async def test_an_http_error_says_what_to_do(api: WebApi, endpoint: Endpoint, status: int, says: str) -> None:
    endpoint.says({}, status=status)
    failure = await failure_of(WolframAlpha(api, endpoint.url, KEY))
    assert failure.code == status
    assert says in failure.message


async def test_a_server_that_hangs_or_is_not_there_is_told_without_its_address(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.takes(1.5)
    assert "did not answer in time" in (await failure_of(WolframAlpha(api, endpoint.url, KEY))).message
    assert "cannot be reached" in (await failure_of(WolframAlpha(api, "http://127.0.0.1:1", KEY))).message


@pytest.mark.parametrize("answer", ["<html>", "[" * 100_000, b"\xff\xfe", "x" * 20_000])
async def test_garbage_is_an_error_of_the_tool(api: WebApi, endpoint: Endpoint, answer: Any) -> None:
    endpoint.says(answer)
    await failure_of(BraveSearch(api, endpoint.url, KEY))


@pytest.mark.parametrize(
    "answer", [[], None, 3, {"web": 3}, {"mixed": {"main": [3, {"type": []}]}}, {"queryresult": []}]
)
async def test_json_of_another_form_is_an_error_or_no_result(api: WebApi, endpoint: Endpoint, answer: Any) -> None:
    endpoint.says(answer)
    for tool in (BraveSearch, BingSearch, WolframAlpha):
        try:
            outcome = await tool(api, endpoint.url, KEY).run({"query": "otters"})
        except ToolError:
            continue
        assert read(outcome)["top_k"] == []


@pytest.mark.parametrize("query", [None, "", "  ", 3, ["otters"]])
async def test_a_query_must_be_a_text(api: WebApi, endpoint: Endpoint, query: Any) -> None:
    assert "query must be a text" in (await failure_of(BraveSearch(api, endpoint.url, KEY), query)).message
    assert not endpoint.seen


def test_the_tools_own_key_comes_first_then_the_requests_then_the_services() -> None:
    enter_provider_data([(PROVIDER_DATA_KEY, '{"brave_search_api_key": "request"}')])
    assert api_key("brave_search", "own", SecretStr("service")) == "own"
    assert api_key("brave_search", "", SecretStr("service")) == "request"
    enter_provider_data([])
    assert api_key("brave_search", "", SecretStr("service")) == "service"
    with pytest.raises(ToolError, match="brave_search_api_key"):
        api_key("brave_search", "", None)


async def test_half_a_character_in_an_answer_is_replaced(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says(b'{"web": {"results": [{"title": "an otter \\ud83e"}]}}')
    outcome = await BraveSearch(api, endpoint.url, KEY).run({"query": "otters"})
    assert read(outcome)["top_k"] == [{"type": "web", "title": "an otter ?"}]


async def test_an_image_is_not_asked_for_again_when_it_may_have_been_made(api: WebApi, endpoint: Endpoint) -> None:
    endpoint.says("gone", status=504)
    failure = await failure_of(Photogen(api, endpoint.url, KEY, "", FetchLimits(allow_private=True)))
    assert (failure.code, len(endpoint.seen)) == (504, 1)
