"""AsyncLLM in this very process."""

import itertools
import time
from typing import TYPE_CHECKING

from benchmarks.workload import Answer

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


class EngineClient:
    """Reads AsyncLLM's own stream."""

    def __init__(self, llm: "AsyncLLM") -> None:
        """Takes a running engine."""
        self._llm = llm
        self._numbers = itertools.count()

    async def ask(self, prompt: str, max_tokens: int) -> Answer:
        """Streams one answer."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(temperature=0.0, max_tokens=max_tokens, output_kind=RequestOutputKind.DELTA)
        answer = Answer(time.monotonic())
        async for output in self._llm.generate(prompt, params, str(next(self._numbers))):
            answer.arrivals.append(time.monotonic())
            answer.tokens += len(output.outputs[0].token_ids)
        return answer

    async def close(self) -> None:
        """Leaves the engine to its owner."""
