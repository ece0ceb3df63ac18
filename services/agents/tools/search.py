"""Web search, by Brave or Bing.

Sources: https://api-dashboard.search.brave.com/app/documentation/web-search/responses and
https://learn.microsoft.com/bing/search-apis/bing-web-search/reference/response-objects
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from services.agents.tools.tool import Outcome, Tool, ToolError, built_in, string_argument, text_outcome
from services.agents.tools.web_api import WebApi

DEFAULT_TOP_K = 3
_DEFINITION = built_in("brave_search", "Searches the web.", "query", "What to search for")
_BRAVE_KEYS = ("type", "title", "url", "description", "date", "extra_snippets", "question", "answer", "long_desc")
_PLACE_KEYS = ("coordinates", "postal_address", "contact", "rating", "distance")
_BING_KEYS = {"name": "title", "url": "url", "snippet": "description", "dateLastCrawled": "date"}


class BraveSearch(Tool):
    """The built-in tool `brave_search`, answered by Brave."""

    definition = _DEFINITION
    idempotent = True

    def __init__(self, api: WebApi, url: str, key: str, top_k: int = DEFAULT_TOP_K) -> None:
        """Makes the tool.

        Args:
            api: The web API.
            url: Address of the search.
            key: API key.
            top_k: Results that the model gets to read.
        """
        self._api, self._url, self._key, self._top_k = api, url, key, top_k

    async def run(self, arguments: Mapping[str, Any]) -> Outcome:
        """Searches."""
        query = string_argument(arguments, "query")
        headers = {"Accept": "application/json", "X-Subscription-Token": self._key}
        answer = await self._api.get(self._url, {"q": query, "count": max(self._top_k, DEFAULT_TOP_K)}, headers)
        return _outcome(query, brave_results(answer, self._top_k))


class BingSearch(Tool):
    """The built-in tool `brave_search`, answered by Bing."""

    definition = _DEFINITION
    idempotent = True

    def __init__(self, api: WebApi, url: str, key: str, top_k: int = DEFAULT_TOP_K) -> None:
        """Makes the tool; arguments as BraveSearch's."""
        self._api, self._url, self._key, self._top_k = api, url, key, top_k

    async def run(self, arguments: Mapping[str, Any]) -> Outcome:
        """Searches."""
        query = string_argument(arguments, "query")
        headers = {"Ocp-Apim-Subscription-Key": self._key}
        answer = await self._api.get(self._url, {"q": query, "count": max(self._top_k, DEFAULT_TOP_K)}, headers)
        return _outcome(query, bing_results(answer, self._top_k))


def brave_results(answer: Any, top_k: int) -> list[dict[str, Any]]:
    """Picks the best results of a Brave answer, in the order in which Brave mixes its kinds.

    Args:
        answer: The JSON answer.
        top_k: Most results.

    Raises:
        ToolError: It has another form.
    """
    if not isinstance(answer, Mapping):
        raise ToolError("Brave Search answered in a form that is not its own")
    mixed = _list(_map(answer.get("mixed")).get("main"))
    places: Iterable[Any] = mixed or [{"type": "web", "index": n} for n in range(top_k)]
    found: list[dict[str, Any]] = []
    for place in places:
        kind, index = _map(place).get("type"), _map(place).get("index")
        results = _list(_map(answer.get(str(kind))).get("results"))
        chosen = results[index : index + 1] if isinstance(index, int) and index >= 0 else results
        found += [_picked(result, str(kind)) for result in chosen if isinstance(result, Mapping)]
        if len(found) >= top_k:
            break
    return found[:top_k]


def bing_results(answer: Any, top_k: int) -> list[dict[str, Any]]:
    """Picks the best results of a Bing answer.

    Args:
        answer: The JSON answer.
        top_k: Most results.

    Raises:
        ToolError: It has another form.
    """
    if not isinstance(answer, Mapping):
        raise ToolError("Bing answered in a form that is not its own")
    pages = [page for page in _list(_map(answer.get("webPages")).get("value")) if isinstance(page, Mapping)]
    return [
        {"type": "web", **{ours: page[theirs] for theirs, ours in _BING_KEYS.items() if theirs in page}}
        for page in pages[:top_k]
    ]


def _picked(result: Mapping[str, Any], kind: str) -> dict[str, Any]:
    keys = _BRAVE_KEYS + (_PLACE_KEYS if kind == "locations" else ())
    return {"type": kind, **{key: result[key] for key in keys if key in result and key != "type"}}


def _outcome(query: str, results: list[dict[str, Any]]) -> Outcome:
    text = json.dumps({"query": query, "top_k": results}, ensure_ascii=False, separators=(",", ":"))
    return text_outcome(text, result_count=len(results))


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
