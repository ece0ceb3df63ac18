"""A service in a process of its own: `python tests/services/core/child_service.py --listen ... --behavior ...`."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import Field

from caravan.inference.v1 import inference_pb2, inference_pb2_grpc
from services.core.errors import FailedPreconditionError
from services.core.server import Binding, ServiceServer, parse_settings, run
from services.core.settings import ServiceSettings
from tests.services.core.loopback import SERVICE, FakeProvider, Scripted


class ChildSettings(ServiceSettings):
    """Settings of the child."""

    behavior: Literal["normal", "refuses", "crashes", "slow", "blocks", "forks"] = Field(
        default="normal", description="What start does, or a call."
    )


async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
    for _ in range(20):
        yield inference_pb2.StreamChatCompletionResponse()
        await asyncio.sleep(0.05)


def build(settings: ChildSettings) -> ServiceServer:
    async def start() -> None:
        if settings.behavior == "refuses":
            message = "no model at /nowhere: give a path or a Hugging Face id"
            raise FailedPreconditionError(message, reason="NO_MODEL", metadata={"event": "x", "path": "/nowhere"})
        if settings.behavior == "crashes":
            raise ValueError("a defect")
        if settings.behavior == "slow":
            await asyncio.sleep(600)
        if settings.behavior == "blocks":
            await asyncio.to_thread(time.sleep, 600)

    async def chat(request: Any, context: Any) -> Any:
        if settings.behavior == "forks":
            program = await asyncio.create_subprocess_exec("true")
            if code := await program.wait():
                message = f"the program ended with {code}"
                raise RuntimeError(message)
        return inference_pb2.ChatCompletionResponse()

    add = inference_pb2_grpc.add_InferenceServiceServicer_to_server
    return ServiceServer(settings, [Binding(SERVICE, add, Scripted(chat, stream))], FakeProvider(start=start))


if __name__ == "__main__":
    sys.exit(run(build, parse_settings(ChildSettings)))
