"""The tools that dialogs offer, of every sort."""

from __future__ import annotations

from models.recipe import words
from models.recipe.composed_tools import composed_tool
from models.recipe.dialog import Call, Tool
from models.recipe.lookup_tools import lookup_tool
from models.recipe.natural_tools import natural_tool
from models.recipe.offers import OfferedTool, Request
from models.recipe.source import Source

_SEARCH_REQUESTS = (
    "Search the web for {}.", "Look up {} on the internet.", "Find {} online.", "What is the latest on {}?", "Search for {}.",
    "Use brave search to find {}.", "Who or what is {}? Please search.", "Can you search for {}?",
)  # fmt: skip


def _web_search(source: Source) -> Request:
    rng = source.rng
    query, title = words.phrase(rng), words.invented_name(rng)
    fact = f"{words.invented_name(rng)} {source.pick(('has', 'found', 'made'))} {words.phrase(rng)}"
    result = f'{{"query": "{query}", "top_k": [{{"title": "{title}", "content": "{fact}"}}]}}'
    said = source.phrasing(_SEARCH_REQUESTS).format(query)
    return Request(said, Call("brave_search", {"query": query}), result, f"I found this: {fact}.")


BUILT_IN_SEARCH = OfferedTool(Tool("brave_search", "Search the web", ()), "search", _web_search, is_builtin=True)
"""The web search that Llama models know by name and call in a syntax of its own."""


def offered_tool(source: Source) -> OfferedTool:
    """Draws a tool of either sort."""
    draw = source.weighted(((natural_tool, 1.6), (lookup_tool, 1.6), (composed_tool, 6.8)))
    return draw(source)
