"""The life of the engine: start, watch, restart, stop."""

import asyncio
import contextlib
import gc
import itertools
import time
from collections.abc import Callable
from typing import Any

import structlog
from vllm import AsyncEngineArgs
from vllm.v1.engine.async_llm import AsyncLLM

from services.core import heap
from services.core.errors import FailedPreconditionError, NotFoundError
from services.core.readiness import Readiness
from services.inference.providers.vllm.config import VllmConfig
from services.inference.providers.vllm.environment import is_cpu_build
from services.inference.providers.vllm.failures import engine_is_gone
from services.inference.providers.vllm.quantization import quantization_arguments
from services.inference.providers.vllm.statistics import SchedulerWatch

CPU_KV_CACHE_BYTES = 256 << 20
WATCH_PERIOD = 0.1
RESTART_DELAYS = (0.0, 1.0, 5.0, 15.0, 30.0)
HEALTHY_AFTER = 60.0
# The engine core keeps nothing that would have to be saved; it takes no notice of SIGTERM and is killed after this.
STOP_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Engine:
    """One vLLM engine that is there again soon after it died."""

    def __init__(
        self, config: VllmConfig, readiness: Readiness, *, otlp_endpoint: str | None, on_restart: Callable[[], None]
    ) -> None:
        """Prepares an engine; `start` starts it.

        Args:
            config: What to run.
            readiness: Told whether the engine answers.
            otlp_endpoint: Where vLLM sends its own spans, or None.
            on_restart: Called when a new engine has replaced one that died: whatever was loaded into the old one is gone.
        """
        self._config = config
        self._readiness = readiness
        self._otlp_endpoint = otlp_endpoint
        self._on_restart = on_restart
        self._llm: AsyncLLM | None = None
        self._watching: asyncio.Task[None] | None = None
        self.watch = SchedulerWatch()

    @property
    def llm(self) -> AsyncLLM:
        """The running engine.

        Raises:
            UnavailableError: It died, or is not up yet.
        """
        if self._llm is None or self._llm.errored:
            raise engine_is_gone()
        return self._llm

    async def start(self) -> None:
        """Starts the engine and watches it from then on.

        Raises:
            NotFoundError: There is no checkpoint at `model`.
            FailedPreconditionError: vLLM cannot serve it as configured.
        """
        self._llm = await self._launch()
        self._readiness.set_ready()
        self._watching = asyncio.create_task(self._keep_alive())

    async def stop(self) -> None:
        """Stops watching and ends the engine's processes."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._discard()

    async def _launch(self) -> AsyncLLM:
        """Builds an engine in a thread: it takes seconds, and the event loop has calls to answer."""
        started = time.monotonic()
        try:
            llm = await asyncio.to_thread(AsyncLLM.from_engine_args, engine_args(self._config, self._otlp_endpoint))
        except OSError as error:
            raise NotFoundError(
                f"no checkpoint at {self._config.model!r}: {_first_line(error)}; give a folder in Hugging Face format or a Hugging Face id",
                resource_type="checkpoint",
                resource_name=self._config.model,
            ) from error
        except (ValueError, RuntimeError, NotImplementedError, ImportError, AssertionError, TypeError) as error:
            raise FailedPreconditionError(
                f"vLLM cannot serve {self._config.model!r} as configured: {_first_line(error)}",
                reason="ENGINE_START_FAILED",
            ) from error
        self.watch.install(llm, is_traced=self._otlp_endpoint is not None)
        _set_heap_apart()
        log.info("engine started", model=self._config.model, seconds=round(time.monotonic() - started, 1))
        return llm

    async def _keep_alive(self) -> None:
        """Replaces the engine whenever it dies; waits longer each time while it keeps dying."""
        attempts = itertools.count()
        since = time.monotonic()
        while True:
            await self._death()
            self._readiness.set_not_ready("the engine died and is being restarted")
            log.error("engine died", model=self._config.model, seconds_alive=round(time.monotonic() - since, 1))
            if time.monotonic() - since > HEALTHY_AFTER:
                attempts = itertools.count()
            await self._replace(attempts)
            since = time.monotonic()

    async def _death(self) -> None:
        while self._llm is not None and not self._llm.errored:  # noqa: ASYNC110 - vLLM has nothing to wait for
            await asyncio.sleep(WATCH_PERIOD)

    async def _replace(self, attempts: "itertools.count[int]") -> None:
        await self._discard()
        for attempt in attempts:
            await asyncio.sleep(RESTART_DELAYS[min(attempt, len(RESTART_DELAYS) - 1)])
            try:
                self._llm = await self._launch()
            except (NotFoundError, FailedPreconditionError) as error:
                self._readiness.set_not_ready(f"the engine died and does not start again: {error.message}")
                log.error("engine restart failed", attempt=attempt, error=error.message)  # noqa: TRY400 - the message says it
                continue
            self._on_restart()
            self._readiness.set_ready()
            return

    async def _discard(self) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            await asyncio.to_thread(llm.shutdown, STOP_SECONDS)


def _set_heap_apart() -> None:
    """Keeps what is there by now out of the garbage collector's rounds, once what was left of an engine before is gone.

    A full round over the 700,000 objects of torch and vLLM holds up every stream; `vllm serve` does the same.
    """
    gc.unfreeze()
    heap.set_apart()


def engine_args(config: VllmConfig, otlp_endpoint: str | None) -> AsyncEngineArgs:
    """Turns the configuration into vLLM's arguments.

    Args:
        config: What to run.
        otlp_endpoint: Where vLLM sends its own spans, or None.

    Raises:
        FailedPreconditionError: This machine cannot do the quantization.
    """
    on_cpu = is_cpu_build()
    arguments: dict[str, Any] = {
        "model": config.model,
        "revision": config.revision,
        "trust_remote_code": config.trust_remote_code,
        "tensor_parallel_size": config.tensor_parallel_size,
        "max_num_seqs": config.max_running,
        "max_num_queued_reqs": config.max_queued,
        "enforce_eager": on_cpu if config.enforce_eager is None else config.enforce_eager,
        "kv_cache_memory_bytes": config.kv_cache_memory_bytes or (CPU_KV_CACHE_BYTES if on_cpu else None),
        "otlp_traces_endpoint": otlp_endpoint,
        **quantization_arguments(config, on_cpu=on_cpu),
    }
    if config.max_model_len is not None:
        arguments["max_model_len"] = config.max_model_len
    if not on_cpu:
        arguments["gpu_memory_utilization"] = config.gpu_memory_utilization
    if config.model_type != "llm":
        arguments |= {"runner": "pooling", "convert": "embed" if config.model_type == "embedding" else "classify"}
    elif config.enable_lora:
        arguments |= {
            "enable_lora": True,
            "max_loras": config.max_loras,
            "max_cpu_loras": config.max_adapters,
            "max_lora_rank": config.max_lora_rank,
        }
    return AsyncEngineArgs(**(arguments | config.engine_args))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
