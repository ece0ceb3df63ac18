"""One worker process of the gateway, as the supervisor starts it."""

import asyncio
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from gateway.settings import GatewaySettings

LISTENING = "listening"
SERVING = "serving"


def main(settings: GatewaySettings, address: str, folder: Path, supervisor: Connection) -> None:
    """Serves until SIGTERM, or until the supervisor is gone; then drains.

    Args:
        settings: The gateway's settings.
        address: `host:port` to share with the other workers.
        folder: For this worker alone.
        supervisor: Is told how far the worker is; its end means that the supervisor is gone.
    """
    # Ctrl-C reaches the whole process group; the supervisor decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The supervisor imports this module and needs neither gRPC nor an event loop.
    import uvloop

    from services.core.logs import configure_logs

    configure_logs(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, address, folder, supervisor))


async def _serve(settings: GatewaySettings, address: str, folder: Path, supervisor: Connection) -> None:
    import structlog

    from gateway.app import Worker
    from services.core import heap
    from services.core.errors import CaravanError

    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    now = asyncio.Event()

    def stop() -> None:
        (now if end.is_set() else end).set()

    async def tell_when_ready() -> None:
        await worker.wait_ready()
        heap.set_apart()
        supervisor.send(SERVING)

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_reader(supervisor.fileno(), end.set)
    try:
        worker = Worker(settings, folder)
        await worker.start(address)
    except CaravanError as error:
        structlog.get_logger(__name__).error("cannot_start", message=error.message, reason=error.reason)
        raise SystemExit(1) from None
    supervisor.send(LISTENING)
    ready = asyncio.create_task(tell_when_ready())
    await end.wait()
    loop.remove_reader(supervisor.fileno())
    ready.cancel()
    draining = asyncio.create_task(worker.drain())
    stopping = asyncio.create_task(now.wait())
    await asyncio.wait((draining, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        draining.cancel()
        await worker.stop()
    stopping.cancel()
