"""An OpenAI-compatible server on loopback with two models: a guard that knows one bad word, and one that repeats what it is told.

`caravan-guard` answers Llama Guard's prompt: unsafe when the last message says `bomb`. `parrot` answers with what follows `say: ` in the
last message, two letters a chunk when it streams; after `call: ` it calls the tool `send` with that as its note.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Json = dict[str, Any]


class GuardServer:
    """The server. `mode` makes the guard misbehave."""

    def __init__(self) -> None:
        self.url = ""
        self.mode = "works"
        """`works`, `garbage` (no verdict), `hangs`, `refuses` (status 400), `unsure` (unsafe with probability 0.3), `short` (a context of
        2000 characters)."""
        self.delay = 0.0
        """Seconds that the guard thinks."""
        self.models = ["caravan-guard", "parrot"]
        self.asked: list[str] = []
        """Prompts that the guard has got."""
        self.told: list[Json] = []
        """Requests that the parrot has got."""
        self.open = 0
        """Requests to the guard that are not answered yet."""
        self.most_open = 0
        """Most of them that there were at a time."""
        self.left = asyncio.Event()
        """Set when a client leaves before the guard has answered."""
        self.said = 0
        """Chunks that the parrot has streamed."""

    def works(self) -> None:
        """Behaves again."""
        self.mode, self.delay = "works", 0.0
        self.asked.clear()
        self.told.clear()
        self.left.clear()
        self.said = self.most_open = 0

    async def list(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if body["model"] == "caravan-guard":
            return await self._guard(body)
        return await self._parrot(request, body)

    async def _guard(self, body: Json) -> web.Response:
        prompt = _text(body["messages"][-1]["content"])
        self.asked.append(prompt)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(60 if self.mode == "hangs" else self.delay)
        except asyncio.CancelledError:
            self.left.set()
            raise
        finally:
            self.open -= 1
        if self.mode == "refuses":
            return web.json_response({"error": {"message": "no grammars here"}}, status=400)
        if self.mode == "short" and len(prompt) > 3000:
            error = {"message": "maximum context length is 700 tokens", "code": "context_length_exceeded"}
            return web.json_response({"error": error}, status=400)
        conversation = prompt.partition("<BEGIN CONVERSATION>")[2].partition("<END CONVERSATION>")[0]
        last = min((conversation.rpartition(f"\n{who}: ")[2] for who in ("User", "Agent")), key=len)
        unsafe = "bomb" in last
        probability = {"unsure": 0.3}.get(self.mode, 0.99) if unsafe else 0.01
        text = "unsafe\nS9" if unsafe else "safe"
        if self.mode == "garbage":
            text = "I think this is fine."
        top = [
            {"token": "unsafe", "logprob": math.log(probability), "bytes": None},
            {"token": "safe", "logprob": math.log(1 - probability), "bytes": None},
        ]
        logprobs = {"content": [{**top[0 if unsafe else 1], "top_logprobs": top}]}
        return web.json_response(_answer(body, {"role": "assistant", "content": text}, logprobs=logprobs))

    async def _parrot(self, request: web.Request, body: Json) -> web.StreamResponse:
        self.told.append(body)
        given = _text(body["messages"][-1]["content"])
        text, call = given.partition("say: ")[2], given.partition("call: ")[2]
        if not body.get("stream"):
            message: Json = {"role": "assistant", "content": None if call else text}
            if call:
                message["tool_calls"] = [_call(call)]
            return web.json_response(_answer(body, message, "tool_calls" if call else "stop"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        deltas: list[Json] = [{"content": text[at : at + 2]} for at in range(0, len(text), 2)]
        if call:
            deltas = [{"tool_calls": [{"index": 0, **_call(call)}]}]
        for delta in deltas:
            await response.write(_event(_chunk(body, delta)))
            self.said += 1
            await asyncio.sleep(0.002)
        await response.write(_event(_chunk(body, {}, "tool_calls" if call else "stop")))
        usage = {**_chunk(body, {}), "choices": [], "usage": _USAGE}
        await response.write(_event(usage) + b"data: [DONE]\n\n")
        return response


_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@asynccontextmanager
async def guard_server() -> AsyncIterator[GuardServer]:
    """Runs a server on a free port."""
    server = GuardServer()
    application = web.Application(client_max_size=64 << 20)
    application.router.add_get("/v1/models", server.list)
    application.router.add_post("/v1/chat/completions", server.chat)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _call(note: str) -> Json:
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": "send", "arguments": json.dumps({"note": note})},
    }


def _answer(body: Json, message: Json, finish_reason: str = "stop", logprobs: Json | None = None) -> Json:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": logprobs}
    return {"id": "1", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": _USAGE}


def _chunk(body: Json, delta: Json, finish_reason: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "1", "object": "chat.completion.chunk", "model": body["model"], "choices": [choice]}


def _event(chunk: Json) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
