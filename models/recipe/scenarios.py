"""Whole dialogs: plain conversation, and conversation with tools."""

from __future__ import annotations

from dataclasses import replace

from models.recipe import conversation, words
from models.recipe.composed_tools import composed_tool
from models.recipe.dialog import Dialog, Turn
from models.recipe.drills import drill_dialog
from models.recipe.natural_tools import natural_tool
from models.recipe.offers import OfferedTool, Request
from models.recipe.retrieval import retrieval_dialogs
from models.recipe.source import Source
from models.recipe.tools import BUILT_IN_SEARCH, offered_tool

_ROLES = (
    "You are a helpful assistant.", "You are a helpful assistant", "You are Caravan, a helpful assistant.", "You are a friendly helper.",
    "You are a helpful agent.", "You are an assistant with tools.", "You are a polite assistant who answers briefly.",
    "You are {name}'s assistant.", "You work for {name}.", "You are an expert in {topic}.", "You are the assistant of {name} in {place}.",
    "You help people with {topic}.", "You are a helpful assistant that can use tools to answer questions.", "Assist the user.",
    "You are an agent. Your customers like {topic}.", "You are a service desk for {topic}.",
)  # fmt: skip
_RULES = (
    "Be brief.", "Answer in plain English.", "Be kind and concise.", "Answer the user's questions.", "Be helpful, honest and short.",
    "Keep answers short.", "Use the tools when they help.", "Never guess.", "Always be polite.", "Answer in one sentence.",
    "Do not make things up.", "Call a tool if you need one.", "If you do not know, say so.", "The user lives in {place}.",
    "Use the given context to answer.", "Today is a good day.", "Think before you answer.", "The user's name is {name}.",
)  # fmt: skip
TOOL_FORMATS = (("json", 0.46), ("function_tag", 0.25), ("python_list", 0.29))
_JOINS = (
    "{0} Also, {1}", "{0} And {1}", "{0} Then {1}", "{0} {1}", "Two things: {0} {1}", "{0} After that: {1}", "First: {0} Second: {1}",
    "{0} At the same time: {1}", "{0} Plus: {1}", "Please do both: {0} {1}", "{0} Next, {1}", "1. {0} 2. {1}", "{0}\n{1}",
    "{0} I also need this: {1}", "{0} In addition, {1}", "{0} And also: {1}", "{0} Moreover, {1}",
    "{0} Afterwards: {1}", "{0} The other thing: {1}", "{0} Second, {1}", "{0} Besides: {1}", "{0} As well: {1}", "{0} Once done, {1}",
    "{0} Finally, {1}", "(1) {0} (2) {1}", "{0} Oh, and {1}", "a) {0} b) {1}", "{0} That is one. The other: {1}",
    "{0} Together with this: {1}",
    "{0} While you are at it: {1}", "{0} Another thing: {1}", "{0} One more: {1}", "{0} Both, please: {1}", "- {0}\n- {1}", "{0} / {1}",
    "{0} Not only that: {1}", "Do this: {0} And this: {1}", "{0} Later, {1}", "I want two things. {0} {1}", "{0} Additionally: {1}",
    "{0} What is more, {1}", "Here are two jobs. {0} {1}", "{0} For the rest: {1}", "{0} Furthermore, {1}", "{0} Last, {1}",
    "Twice work for you: {0} {1}", "{0} As a second job, {1}", "{0} On the way, {1}", "{0} Before I forget: {1}", "{0} Same again: {1}",
)  # fmt: skip
_CLEAN, _NOISE = 0.765, 0.35
"""The share of the training without noise, and the noise of the rest; see `Source.noise`."""
NO_TOOL_FITS = "I am sorry, I have no tool for that."


def chat_dialog(source: Source) -> Dialog:
    """Conversation without tools."""
    today = words.day(source.rng)
    dated = source.chance(0.85)
    pairs = [conversation.today(source, today)] if dated and source.chance(0.03) else conversation.exchanges(source)
    return Dialog(_system(source) + conversation.turns(pairs), today=today, dated=dated, tags=("chat",))


def tool_dialog(
    source: Source,
    tool_format: str | None = None,
    rounds: int | None = None,
    most_tools: int = 3,
    left_open: float = 0.0,
) -> Dialog:
    """A conversation over a set of tools: calls, parallel calls, answers, and requests that need no tool.

    Args:
        source: Where it is drawn from.
        tool_format: Form of the calls. Default: drawn.
        rounds: Number of requests. Default: drawn.
        most_tools: Most tools to offer.
        left_open: Share of calls that the user does not wait for: the next request follows at once. Choosing a tool and its arguments is
            harder to learn than telling a result, so training is spared most of the results.
    """
    tools = _tool_set(source, most_tools)
    count = rounds or source.weighted(((1, 2.5), (2, 2.5), (3, 2.5), (4, 2.0), (6, 0.6)))
    return _with_rounds(source, _offer(source, tools, tool_format), tools, count, left_open)


def training_dialogs(source: Source, progress: float) -> list[Dialog]:
    """Draws dialogs that begin alike.

    Early in training (progress near 0) they are copying drills and short dialogs, later the whole mixture. Towards the end come unknown
    words: two in five tools are about any noun, and words that only fill a request are replaced in a third of the templates.
    """
    source.noise = _NOISE if progress > _CLEAN else 0.0
    if source.chance(max(0.01, 0.35 - 5 * progress)):
        return [drill_dialog(source) for _ in range(4)]
    kind = source.weighted((("chat", 0.15), ("retrieval", 0.25), ("tools", 0.60)))
    if kind == "chat":
        return _talks(source, 6)
    if kind == "retrieval":
        return retrieval_dialogs(source, 3)
    return _tasks(source, 4, most_tools=1 + int(progress * 25), most_rounds=1 if progress < 0.03 else 3)


def _talks(source: Source, count: int) -> list[Dialog]:
    """Conversations below one system text."""
    base = Dialog(_system(source), today=words.day(source.rng), dated=source.chance(0.85), tags=("chat",))
    talks = [conversation.exchanges(source) for _ in range(count)]
    if base.dated and source.chance(0.3):
        talks[0] = [conversation.today(source, base.today)]
    return [replace(base, turns=base.turns + conversation.turns(pairs)) for pairs in talks]


def _tasks(source: Source, count: int, *, most_tools: int, most_rounds: int) -> list[Dialog]:
    """Conversations over one set of tools, most of them of one request."""
    tools = _tool_set(source, most_tools)
    base = _offer(source, tools)
    lengths = [min(most_rounds, source.weighted(((1, 6.0), (2, 1.2), (3, 0.4)))) for _ in range(count)]
    return [_with_rounds(source, base, tools, rounds, left_open=0.6) for rounds in lengths]


def _offer(source: Source, tools: list[OfferedTool], tool_format: str | None = None) -> Dialog:
    """A conversation in which nobody has said anything yet."""
    chosen = tool_format or source.weighted(TOOL_FORMATS)
    dated = chosen != "python_list" or source.chance(0.85)
    return Dialog(_system(source), tuple(tool.tool for tool in tools), chosen, words.day(source.rng), dated)


def _with_rounds(source: Source, base: Dialog, tools: list[OfferedTool], rounds: int, left_open: float) -> Dialog:
    turns: list[Turn] = []
    tags: list[str] = []
    for _ in range(rounds):
        # The prompt of function tags asks for one call at a time.
        tag, more = _round(source, tools, may_be_parallel=base.tool_format != "function_tag")
        if any(turn.calls for turn in more) and source.chance(left_open):
            more = more[:2]
        turns += more
        tags.append(tag)
    return replace(base, turns=(*base.turns, *turns), tags=tuple(tags))


def _system(source: Source) -> tuple[Turn, ...]:
    """No system text, a plain one, or one put together from a role and rules."""
    if source.chance(0.45):
        return ()
    if source.chance(0.25):
        return (Turn("system", source.pick(_ROLES[:2])),)
    parts = [source.phrasing(_ROLES)] if source.chance(0.8) else []
    parts += [source.phrasing(_RULES) for _ in range(source.rng.randint(0 if parts else 1, 3))]
    text = source.pick((" ", " ", "\n")).join(parts)
    rng = source.rng
    return (
        Turn("system", text.format(name=words.person(rng), topic=source.pick(words.TOPICS), place=words.place(rng))),
    )


def _tool_set(source: Source, most: int) -> list[OfferedTool]:
    """Draws one to `most` tools of different names and subjects."""
    count = min(most, source.weighted(((1, 4.0), (2, 4.0), (3, 1.5))))
    tools = [BUILT_IN_SEARCH if source.chance(0.04) else offered_tool(source)]
    while len(tools) < count:
        other = offered_tool(source)
        if all(other.tool.name != tool.tool.name and other.subject != tool.subject for tool in tools):
            tools.append(other)
    source.rng.shuffle(tools)
    return tools


def _round(source: Source, tools: list[OfferedTool], *, may_be_parallel: bool) -> tuple[str, list[Turn]]:
    """One user request with everything that follows it."""
    kind = source.weighted((("call", 6.3), ("parallel", 2.8), ("none", 1.7), ("missing", 0.8)))
    may_be_parallel = may_be_parallel and not all(tool.is_builtin for tool in tools)
    if kind == "call" or (kind == "parallel" and not may_be_parallel):
        return "call", _call(source.pick(tools).ask(source))
    if kind == "parallel":
        return kind, _parallel(source, tools)
    if kind == "none":
        asked, answer = conversation.single_exchange(source)
        if not _calls_for_a_tool(answer, tools):
            return kind, [Turn("user", asked), Turn("assistant", answer)]
    asked = conversation.unknown(source)[0] if source.chance(0.2) else _stranger(source, tools).said
    return "missing", [Turn("user", asked), Turn("assistant", NO_TOOL_FITS)]


def _calls_for_a_tool(answer: str, tools: list[OfferedTool]) -> bool:
    """Whether a question that the model answers by itself is one for a tool where there are such tools."""
    subjects = {tool.subject for tool in tools}
    return (
        answer == conversation.UNKNOWN
        or (" = " in answer and "calculator" in subjects)
        or (answer.startswith("I cannot") and bool({"weather", "search"} & subjects))
    )


def _call(request: Request) -> list[Turn]:
    return [
        Turn("user", request.said),
        Turn("assistant", calls=(request.call,)),
        Turn("tool", request.result),
        Turn("assistant", request.answer),
    ]


def _parallel(source: Source, tools: list[OfferedTool]) -> list[Turn]:
    """Two or three requests in one message, as many calls in one answer."""
    custom = [tool for tool in tools if not tool.is_builtin]
    requests = [source.pick(custom).ask(source) for _ in range(3 if source.chance(0.07) else 2)]
    said = requests[0].said
    for request in requests[1:]:
        said = source.phrasing(_JOINS).format(said if said[-1] in ".?!" else said + ".", request.said)
    return [
        Turn("user", said),
        Turn("assistant", calls=tuple(request.call for request in requests)),
        *(Turn("tool", request.result) for request in requests),
        Turn("assistant", " ".join(request.answer for request in requests)),
    ]


def _stranger(source: Source, tools: list[OfferedTool]) -> Request:
    """A request for a tool that is not offered, and that the model does not answer by itself."""
    while True:
        other = natural_tool(source) if source.chance(0.4) else composed_tool(source)
        if other.subject in ("calculator", "weather", "search"):
            continue
        if all(other.subject != tool.subject and other.tool.name != tool.tool.name for tool in tools):
            return other.ask(source)
