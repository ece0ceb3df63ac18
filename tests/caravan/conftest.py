import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import caravan
from tests.caravan.loopback import Gateway


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        yield server


class Driver:
    """Runs the same test on the sync and on the async client."""

    def __init__(self, kind: str) -> None:
        self.is_async = kind == "async"
        self._loop = asyncio.new_event_loop() if self.is_async else None
        self._clients: list[Any] = []

    def client(self, target: str, **arguments: Any) -> Any:
        made = (caravan.AsyncClient if self.is_async else caravan.Client)(target, **arguments)
        self._clients.append(made)
        return made

    def run(self, result: Any) -> Any:
        """The value of a call; a list of a stream's."""
        if self._loop:
            return self._loop.run_until_complete(self._awaited(result))
        return list(result) if inspect.isgenerator(result) or isinstance(result, caravan.Stream) else result

    def leave_after(self, count: int, stream: Callable[[], Any]) -> list[Any]:
        """Iterates and leaves the loop after some events."""
        if self._loop:
            return self._loop.run_until_complete(self._left(count, stream))
        events = []
        for event in stream():
            events.append(event)
            if len(events) == count:
                break
        return events

    def close(self) -> None:
        for client in self._clients:
            self.run(client.close())
        if self._loop:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _awaited(self, result: Any) -> Any:
        if inspect.isawaitable(result):
            return await result
        return [item async for item in result] if hasattr(result, "__aiter__") else result

    async def _left(self, count: int, stream: Callable[[], Any]) -> list[Any]:
        events = []
        async for event in stream():
            events.append(event)
            if len(events) == count:
                break
        await asyncio.sleep(0.05)  # the program goes on
        return events


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    made = Driver(request.param)
    yield made
    made.close()


@pytest.fixture
def connect(driver: Driver, gateway: Gateway) -> Callable[..., Any]:
    return lambda **arguments: driver.client(gateway.target, **arguments)
