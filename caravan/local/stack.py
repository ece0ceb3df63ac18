"""Brings a stack up, shows that it works, and keeps it until it is told to stop."""

import asyncio
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from caravan import AsyncClient
from caravan.local import checks, first_calls, plan, store
from caravan.local.child import Program
from caravan.local.display import Display, display_on
from caravan.local.layout import Layout, claim
from caravan.local.parts import VLLM, Part, Surroundings, parts
from caravan.local.problems import StackError
from caravan.local.programs import Programs
from caravan.local.supervisor import Member, Phase, Supervisor, guarded
from caravan.registry.v1 import models_pb2

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stack:
    """The members of a stack and the order in which they start."""

    def __init__(self, wish: plan.Wish, layout: Layout) -> None:
        """Settles what to start.

        Args:
            wish: What the user asked for.
            layout: The data directory.

        Raises:
            StackError: Something that is needed is not there.
        """
        self.wish = wish
        self.layout = layout
        model = plan.find_model(wish.model)
        self._programs = Programs(wish, layout, offline=model.local)
        self.redis_url = wish.redis_url or ""
        self.store = None if wish.redis_url else self._store()
        self.parts = parts(model, Surroundings(wish.target, self.redis_url, layout.root, secrets.token_urlsafe(24)))
        self.providers = [self._provider(part) for part in self.parts]
        self.gateway = _member("gateway", f"registry and routing, {wish.listen}", self._gateway, wave=2)

    @property
    def members(self) -> list[Member]:
        """The members, in the order in which they start."""
        return [*([self.store] if self.store else []), *self.providers, self.gateway]

    async def bring_up(self, supervisor: Supervisor) -> None:
        """Starts the members, the providers at the same time.

        Args:
            supervisor: Keeps them.

        Raises:
            StackError: One of them cannot start.
        """
        if self.store:
            await supervisor.bring_up(self.store)
        else:
            await store.require(self.redis_url)
        try:
            async with asyncio.TaskGroup() as group:
                for provider in self.providers:
                    group.create_task(supervisor.bring_up(provider))
                group.create_task(self._bring_up_gateway(supervisor))
        except* StackError as several:
            raise several.exceptions[0] from None

    def demo_model(self, models: Iterable[models_pb2.Model]) -> str:
        """The model to show: the one that vLLM serves.

        Args:
            models: What is served.
        """
        return next(model.model_id for model in models if model.provider_id == VLLM)

    async def models(self, client: AsyncClient) -> list[models_pb2.Model]:
        """Waits until the gateway serves what the providers have.

        Args:
            client: A client of the gateway.
        """
        while True:
            for member in self.members:
                if member.phase is Phase.FAILED:
                    message = f"{member.name} does not stay up; its log is in {self.layout.logs}"
                    raise StackError(message)
            found = await checks.served_models(client, [part.name for part in self.parts if part.serves_models])
            if found:
                return found
            await asyncio.sleep(0.2)

    async def _bring_up_gateway(self, supervisor: Supervisor) -> None:
        for provider in self.providers:
            await provider.listening.wait()
        await supervisor.bring_up(self.gateway)

    def _provider(self, part: Part) -> Member:
        return _member(part.name, part.what, lambda listen: self._programs.provider(part, listen), wave=1)

    def _gateway(self, listen: str) -> Program:
        addresses = {provider.name: provider.address for provider in self.providers}
        return self._programs.gateway(self.redis_url, addresses)

    def _store(self) -> Member:
        program, self.redis_url = self._programs.store()
        url = self.redis_url

        async def ready(_: str) -> bool:
            return await store.answers(url)

        return Member("store", "registry's data, Valkey", lambda _: program, ready, wave=0, announces=False)


async def run(wish: plan.Wish, console: Console, *, demo: bool) -> int:
    """Brings a stack up and serves until a signal ends it.

    Args:
        wish: What the user asked for.
        console: Where to show it.
        demo: Show a first chat.

    Returns:
        Exit code: 0 when it had come up, 128 plus the signal's number when the signal came before.

    Raises:
        CaravanError: It cannot start.
    """
    plan.require_packages()
    with claim(wish.data) as layout:
        plan.require_free(wish.listen, allow_insecure=wish.allow_insecure)
        stack = Stack(wish, layout)
        display = display_on(console, stack.members)
        async with guarded(display) as supervisor:
            up = asyncio.Event()
            serving = asyncio.create_task(_serve(stack, supervisor, display, up, demo=demo))
            with _signals(serving, supervisor) as signals:
                try:
                    await serving
                except asyncio.CancelledError:
                    if not signals:
                        raise
                console.print("stopping", style="dim")
                await supervisor.stop()
        return 0 if up.is_set() else 128 + signals[0]


async def _serve(stack: Stack, supervisor: Supervisor, display: Display, up: asyncio.Event, *, demo: bool) -> None:
    """Comes up, shows it, and waits for ever."""
    async with AsyncClient(stack.wish.target) as client:
        with display.coming_up():
            await stack.bring_up(supervisor)
            models = await stack.models(client)
        if demo:
            running = [part.name for part in stack.parts]
            await first_calls.show(client, stack.demo_model(models), running, display.console)
        _show_what_is_there(stack, models, display.console)
        up.set()
    await asyncio.Event().wait()


@contextmanager
def _signals(serving: "asyncio.Task[None]", supervisor: Supervisor) -> Iterator[list[int]]:
    """The first signal ends the serving, a second one the processes at once. Yields the signals that have come."""
    loop, seen = asyncio.get_running_loop(), list[int]()
    killing: list[asyncio.Task[None]] = []

    def arrived(number: int) -> None:
        seen.append(number)
        if len(seen) == 1:
            serving.cancel()
        else:
            killing.append(loop.create_task(supervisor.kill()))

    for number in _ENDING:
        loop.add_signal_handler(number, arrived, number)
    try:
        yield seen
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)


def _show_what_is_there(stack: Stack, models: list[models_pb2.Model], console: Console) -> None:
    command = _command()
    target = "" if stack.wish.listen.endswith(":8321") else f" --target {stack.wish.target}"
    served = sorted(models, key=lambda model: model.model_type)
    kinds = {models_pb2.MODEL_TYPE_EMBEDDING: "embedding", models_pb2.MODEL_TYPE_REWARD: "reward"}
    places = {
        "gateway": f"[bold]{stack.wish.target}[/] (gRPC)",
        **{member.name: member.address for member in stack.providers},
    }
    places["models"] = ", ".join(f"{escape(m.model_id)} ({kinds.get(m.model_type, 'llm')})" for m in served)
    places["logs"] = escape(str(stack.layout.logs))
    width = max(map(len, places))
    lines = [
        "",
        "[bold green]Caravan is up.[/]",
        *[f"  {name:<{width}}  {place}" for name, place in places.items()],
        "",
        "Try, in another terminal:",
        f"  [bold]{command} chat{target}[/]",
        f"  [bold]{command} models list{target}[/]",
        f"  [bold]{command} agent --help[/]",
        "",
        "Ctrl-C stops everything.",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _command() -> str:
    """How to call this program again from here."""
    if shutil.which("caravan"):
        return "caravan"
    here = os.path.relpath(sys.argv[0])
    return sys.argv[0] if here.startswith("..") else here


def _member(name: str, what: str, program: Callable[[str], Program], *, wave: int) -> Member:
    return Member(name, what, program, checks.serves, wave)
