"""The load generator, a process of its own. `python -m benchmarks.load` reads jobs from standard input, a line each, and answers each."""

import asyncio
import json
import os
import sys
from pathlib import Path

import uvloop

from benchmarks.clients.caravan import CaravanClient
from benchmarks.clients.http import HttpClient
from benchmarks.model import read_prompts
from benchmarks.workload import Client, Job, compare_first, measure


def connect(job: Job, target: str) -> Client:
    """Makes a client.

    Args:
        job: Says how to ask.
        target: Whom.
    """
    match job.client:
        case "http":
            return HttpClient(target, job.model)
        case "caravan":
            return CaravanClient(target, job.model)
        case "vllm_grpc":
            from benchmarks.clients.vllm_grpc import VllmGrpcClient

            return VllmGrpcClient(target)
        case other:
            raise ValueError(f"no client of the name {other!r}")


async def run(job: Job) -> str:
    """Runs a job and returns its outcome as one line of JSON: a `Run`, or lists of seconds when there are two targets."""
    prompts = read_prompts(Path(job.prompts))
    clients = [connect(job, target) for target in job.targets]
    try:
        if len(clients) > 1:
            return json.dumps(await compare_first(clients, job, prompts))
        return (await measure(clients[0], job, prompts)).to_json()
    finally:
        for client in clients:
            await client.close()


def main() -> None:
    """Runs one job a line; the CPU time of this process counts as the client's."""
    for line in sys.stdin:
        job = Job.from_json(line)
        job = Job(**{**vars(job), "processes": {**job.processes, "client": [os.getpid()]}})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(runner.run(run(job)), flush=True)


if __name__ == "__main__":
    main()
