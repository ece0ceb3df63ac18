from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest

from services.inference.providers.remote_openai.config import RemoteOpenAIConfig
from services.inference.providers.remote_openai.provider import RemoteOpenAIProvider
from tests.support.eventually import until
from tests.support.openai_server import OpenAIServer, openai_server
from tests.support.vllm_server import vllm_server

__all__ = ["vllm_server"]

Start: TypeAlias = Callable[..., Awaitable[RemoteOpenAIProvider]]


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    """The server that a provider talks to."""
    async with openai_server() as running:
        yield running


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a provider; by default it waits until the provider is ready."""
    async with AsyncExitStack() as stack:

        async def make(url: str, dialect: str = "openai", *, ready: bool = True, **more: Any) -> RemoteOpenAIProvider:
            config = RemoteOpenAIConfig.model_validate(
                {"base_url": url, "dialect": dialect, "max_retry_delay": 0.2, **more}
            )
            provider = RemoteOpenAIProvider("remote", config)
            stack.push_async_callback(provider.stop)
            await provider.start()
            if ready:
                await until(lambda: provider.readiness.ready)
            return provider

        yield make
