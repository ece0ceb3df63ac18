"""What is asked of a peer, and what is noted of its answers."""

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol, Self

from benchmarks.processor_time import Meter, used

_WARM_UP_TOKENS = 4


@dataclass(frozen=True)
class Job:
    """A number of waves of streams, or of single calls one after the other."""

    client: str
    """How to ask: `engine`, `http`, `vllm_grpc` or `caravan`."""
    targets: Sequence[str]
    """Where to ask. With two, every call is made on both, one after the other."""
    model: str
    """Name of the model."""
    prompts: str
    """JSON file of prompts."""
    streams: int
    """Streams that are open at once."""
    waves: int
    """How often that many streams are started together and read to their end."""
    max_tokens: int
    """Tokens of an answer."""
    processes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Processes whose CPU time is taken, by what they do."""

    def to_json(self) -> str:
        """The job as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Reads `to_json`."""
        return cls(**json.loads(line))


@dataclass(slots=True)
class Answer:
    """One streamed answer."""

    began: float
    """When it was asked for, on the monotonic clock."""
    arrivals: list[float] = field(default_factory=list)
    """When each message with generated text came."""
    tokens: int = 0
    """Tokens of the answer, as the peer counts them."""

    @property
    def first(self) -> float:
        """Seconds to the first message."""
        return self.arrivals[0] - self.began

    @property
    def gaps(self) -> list[float]:
        """Seconds between one message and the next."""
        return [later - earlier for earlier, later in itertools.pairwise(self.arrivals)]

    @property
    def per_token(self) -> float:
        """Seconds a token after the first message's."""
        return (self.arrivals[-1] - self.arrivals[0]) / max(1, self.tokens - 1)


class Client(Protocol):
    """Asks one peer."""

    async def ask(self, prompt: str, max_tokens: int) -> Answer:
        """Streams one answer."""

    async def close(self) -> None:
        """Lets connections go."""


@dataclass(frozen=True)
class Run:
    """One level of one peer, measured once."""

    tokens: int
    """Tokens of all answers."""
    messages: int
    """Messages that they came in."""
    seconds: float
    """Wall time of the waves."""
    first: Mapping[str, float]
    """Seconds to the first message: percentiles by name."""
    gap: Mapping[str, float]
    """Seconds between messages."""
    per_token: Mapping[str, float]
    """Seconds a token, one value a stream."""
    processor: Mapping[str, float]
    """CPU seconds by group of processes."""

    def to_json(self) -> str:
        """The run as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Reads `to_json`."""
        return cls(**json.loads(line))


async def measure(client: Client, job: Job, prompts: Sequence[str]) -> Run:
    """Runs a job: a short wave that warms up, then the measured ones.

    Args:
        client: Asks the job's first target.
        job: What to do.
        prompts: Texts; each stream of a wave gets another one.

    Raises:
        RuntimeError: An answer came without text.
    """
    await _wave(client, prompts[: job.streams], _WARM_UP_TOKENS)
    answers: list[Answer] = []
    seconds = 0.0
    meter = Meter(job.processes)
    before = meter.read()
    for wave in range(job.waves):
        texts = [prompts[(wave * job.streams + place) % len(prompts)] for place in range(job.streams)]
        began = time.monotonic()
        answers += await _wave(client, texts, job.max_tokens)
        seconds += time.monotonic() - began
    return Run(
        tokens=sum(answer.tokens for answer in answers),
        messages=sum(len(answer.arrivals) for answer in answers),
        seconds=seconds,
        first=percentiles([answer.first for answer in answers]),
        gap=percentiles([gap for answer in answers for gap in answer.gaps]),
        per_token=percentiles([answer.per_token for answer in answers]),
        processor=used(before, meter.read()),
    )


async def compare_first(clients: Sequence[Client], job: Job, prompts: Sequence[str]) -> list[list[float]]:
    """Makes short calls one after the other, each of them on every target; who comes first changes from call to call.

    Args:
        clients: One for each target.
        job: What to do; `waves` is the number of calls.
        prompts: Texts.

    Returns:
        Seconds to the first message, a list for each target, in the order of the calls.
    """
    seconds: list[list[float]] = [[] for _ in clients]
    warm_up = 20
    for call in range(warm_up + job.waves):
        order = range(len(clients)) if call % 2 else reversed(range(len(clients)))
        for place in order:
            answer = await clients[place].ask(prompts[call % len(prompts)], job.max_tokens)
            if call >= warm_up:
                seconds[place].append(answer.first)
    return seconds


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Returns `p50` and `p99`; zeros when there are no values."""
    if len(values) < 2:
        return {"p50": values[0] if values else 0.0, "p99": values[0] if values else 0.0}
    return {"p50": statistics.median(values), "p99": statistics.quantiles(values, n=100, method="inclusive")[98]}


async def _wave(client: Client, texts: Sequence[str], max_tokens: int) -> list[Answer]:
    answers = await asyncio.gather(*(client.ask(text, max_tokens) for text in texts))
    if any(not answer.arrivals or not answer.tokens for answer in answers):
        raise RuntimeError("an answer came without text")
    return answers
