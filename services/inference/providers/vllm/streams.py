"""Generation as a stream of outputs, in few messages when many streams run.

What a streamed token costs is its message, not its bytes: building the output, waking a task, a gRPC write. So while more than
`quiet_streams` streams run, vLLM hands over a stream's tokens in groups (its `stream_interval`, here set anew for each group). How many
make a group follows from the engine's pace: the first token of a group waits (group - 1) steps, which must stay within the delay that the
call allows. The first token of an answer, its last one, and at low load every one go out at once.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from vllm import PoolingParams, PoolingRequestOutput, RequestOutput, SamplingParams
from vllm.lora.request import LoRARequest
from vllm.v1.engine.async_llm import AsyncLLM

MOST_TOKENS_A_GROUP = 16
SWEEP_PERIOD = 0.02
PACE_SMOOTHING = 0.1

OutputT = TypeVar("OutputT", RequestOutput, PoolingRequestOutput)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the engine."""

    request_id: str
    """Identifier in the engine's logs and spans."""
    prompt: Any
    """The engine's input: token ids, and images where the model takes them."""
    params: SamplingParams | PoolingParams
    """What to do with it."""
    adapter: LoRARequest | None = None
    """LoRA adapter to use."""
    trace_headers: Mapping[str, str] | None = None
    """W3C trace context that the engine's spans continue."""
    delay: float | None = None
    """Longest time in seconds that a token waits for others. None: the service's default."""


@dataclass(slots=True, eq=False)
class _Stream:
    """One running stream."""

    state: Any
    """vLLM's state of the request; its `stream_interval` is the size of a group in tokens."""
    delay: float
    """Longest time in seconds that a token may wait for others."""
    last_output: float
    """When the stream last got an output; 0 before the first."""

    def cut(self, size: int) -> None:
        """Sets the size of the next group in tokens.

        vLLM keeps count of what it has handed over only while the interval is above 1, and at 1 it hands over the newest token alone. So
        the count is brought up to date on the way up; on the way down, tokens that wait are let out by 2: the next one makes them a group.
        """
        state = self.state
        generated = state.detokenizer.num_output_tokens()
        if state.stream_interval == 1:
            state.sent_tokens_offset = generated
        state.stream_interval = 2 if size == 1 and generated > state.sent_tokens_offset else size


class Coalescer:
    """Decides how many tokens make the next message of each stream."""

    def __init__(self, quiet_streams: int, default_delay: float) -> None:
        """Starts without streams.

        Args:
            quiet_streams: With at most this many streams nothing waits.
            default_delay: Longest time in seconds that a token waits, where the call does not say.
        """
        self._quiet_streams = quiet_streams
        self._default_delay = default_delay
        self._streams: set[_Stream] = set()
        self._pace = 0.0
        self._phases = itertools.count()
        self._sweeping: asyncio.Task[None] | None = None

    def join(self, state: Any, delay: float | None) -> _Stream:
        """Adds a stream."""
        stream = _Stream(state, self._default_delay if delay is None else delay, 0.0)
        self._streams.add(stream)
        if self._busy and self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep())
        return stream

    def leave(self, stream: _Stream) -> None:
        """Takes a stream out."""
        self._streams.discard(stream)

    def advance(self, stream: _Stream, tokens: int) -> None:
        """Takes note of an output of `tokens` tokens and sets the size of the next group."""
        now = time.monotonic()
        if stream.last_output:
            self._pace += PACE_SMOOTHING * ((now - stream.last_output) / max(tokens, 1) - self._pace)
            stream.cut(self._group(stream.delay))
        elif self._busy:
            # Spreads the streams of one batch over the steps: their messages would all fall into the same one.
            stream.cut(1 + next(self._phases) % self._group(stream.delay))
        stream.last_output = now

    @property
    def _busy(self) -> bool:
        return len(self._streams) > self._quiet_streams

    def _group(self, delay: float) -> int:
        if not self._busy or self._pace <= 0:
            return 1
        return min(MOST_TOKENS_A_GROUP, 1 + int(delay / self._pace))

    async def _sweep(self) -> None:
        """Ends the groups that wait too long because the engine became slower than when their size was set."""
        while self._busy:
            await asyncio.sleep(SWEEP_PERIOD)
            now = time.monotonic()
            for stream in self._streams:
                if stream.last_output and now - stream.last_output > stream.delay + self._pace:
                    stream.cut(1)
        for stream in self._streams:
            stream.cut(1)
        self._sweeping = None


async def stream(llm: AsyncLLM, call: Call, coalescer: Coalescer) -> AsyncGenerator[RequestOutput, None]:
    """Runs a call and yields its outputs, deltas if its parameters say so. Leaving early frees the engine's slot.

    Raises:
        ENGINE_FAILURES: What vLLM raises; see `failures`.
    """
    collector = await _submit(llm, call)
    state = llm.output_processor.request_states.get(collector.request_id)
    cut = coalescer.join(state, call.delay)
    finished = False
    try:
        while not finished:
            output = collector.get_nowait() or await collector.get()
            finished = output.finished
            coalescer.advance(cut, len(output.outputs[0].token_ids))
            yield output
    finally:
        coalescer.leave(cut)
        if not finished:
            await llm.abort(collector.request_id, internal=True)
        collector.close()


async def run(llm: AsyncLLM, call: Call) -> Any:
    """Runs a call to its end and returns the final output. Being cancelled frees the engine's slot.

    Raises:
        ENGINE_FAILURES: What vLLM raises; see `failures`.
    """
    collector = await _submit(llm, call)
    finished = False
    try:
        output = await collector.get()
        while not output.finished:
            output = await collector.get()
        finished = True
        return output
    finally:
        if not finished:
            await llm.abort(collector.request_id, internal=True)
        collector.close()


async def _submit(llm: AsyncLLM, call: Call) -> Any:
    return await llm.add_request(
        call.request_id,
        call.prompt,
        call.params,
        lora_request=call.adapter,
        trace_headers=call.trace_headers,
    )
