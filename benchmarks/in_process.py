"""The peer without a server: AsyncLLM, and whoever reads its streams, in one process.

`python -m benchmarks.in_process ENGINE_ARGUMENTS` prints `{"event": "serving"}`, then answers a job a line, like `benchmarks.load`. Its
front end's CPU time is this process's, reading the streams included.
"""

import asyncio
import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from benchmarks.clients.engine import EngineClient
from benchmarks.model import read_prompts
from benchmarks.workload import Job, measure

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


async def serve(arguments: dict[str, object]) -> None:
    """Starts an engine and runs jobs until standard input ends.

    Args:
        arguments: Of `AsyncEngineArgs`.
    """
    llm = _engine(arguments)
    # As both servers do: the garbage collector leaves alone what is there by now.
    gc.collect()
    gc.freeze()
    print(json.dumps({"event": "serving", "address": ""}), flush=True)
    client = EngineClient(llm)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            job = Job.from_json(line)
            print((await measure(client, job, read_prompts(Path(job.prompts)))).to_json(), flush=True)
    finally:
        llm.shutdown()


def _engine(arguments: dict[str, object]) -> "AsyncLLM":
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))


if __name__ == "__main__":
    uvloop.run(serve(json.loads(sys.argv[1])))
