"""Wolfram Alpha's full results.

Source: https://products.wolframalpha.com/api/documentation
"""

import json
from collections.abc import Mapping
from typing import Any

from services.agents.tools.tool import Outcome, Tool, ToolError, built_in, string_argument, text_outcome
from services.agents.tools.web_api import WebApi


class WolframAlpha(Tool):
    """The built-in tool `wolfram_alpha`."""

    definition = built_in(
        "wolfram_alpha",
        "Answers questions of mathematics, science and facts by computing.",
        "query",
        "What to compute or look up",
    )
    idempotent = True

    def __init__(self, api: WebApi, url: str, key: str) -> None:
        """Makes the tool.

        Args:
            api: The web API.
            url: Address of the query.
            key: App id.
        """
        self._api, self._url, self._key = api, url, key

    async def run(self, arguments: Mapping[str, Any]) -> Outcome:
        """Asks."""
        query = string_argument(arguments, "query")
        parameters = {"input": query, "appid": self._key, "format": "plaintext", "output": "json"}
        answer = await self._api.get(self._url, parameters, {})
        return text_outcome(json.dumps(pods(answer, query), ensure_ascii=False, separators=(",", ":")))


def pods(answer: Any, query: str) -> dict[str, Any]:
    """Reads the pods of an answer up to the one that holds the result.

    Args:
        answer: The JSON answer.
        query: What was asked.

    Raises:
        ToolError: It has none, or another form.
    """
    result = answer.get("queryresult") if isinstance(answer, Mapping) else None
    if not isinstance(result, Mapping):
        raise ToolError("Wolfram Alpha answered in a form that is not its own")
    if result.get("error"):
        raise ToolError(f"Wolfram Alpha reports an error: {_error(result['error'])}")
    if not result.get("success"):
        raise ToolError(f"Wolfram Alpha does not understand the query{_suggestion(result)}; put it another way")
    found: list[dict[str, str]] = []
    for pod in result.get("pods") or ():
        texts = [part.get("plaintext") for part in pod.get("subpods") or () if part.get("plaintext")]
        if texts:
            found.append({"title": str(pod.get("title", "")), "text": "\n".join(texts)})
        # What comes after the result (plots, continued fractions, other forms) only fills the context.
        if texts and (pod.get("primary") or pod.get("id") == "Result"):
            break
    return {"query": query, "pods": found}


def _error(error: Any) -> str:
    return str(error.get("msg", "no reason given")) if isinstance(error, Mapping) else "no reason given"


def _suggestion(result: Mapping[str, Any]) -> str:
    suggested = result.get("didyoumeans")
    first = suggested[0] if isinstance(suggested, list) and suggested else suggested
    return f" (did you mean {first['val']!r}?)" if isinstance(first, Mapping) and first.get("val") else ""
