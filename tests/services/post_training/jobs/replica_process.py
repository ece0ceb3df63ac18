"""`python -m tests.services.post_training.jobs.replica_process REDIS_URL FOLDER`: a replica that runs jobs until SIGTERM."""

import asyncio
import signal
import sys
from pathlib import Path

from tests.services.post_training.jobs.world import Replica


async def main(url: str, folder: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    made = Replica(url, folder, name="process", retry_seconds=5.0)
    await made.start()
    print("started", flush=True)
    await stop.wait()
    await made.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
