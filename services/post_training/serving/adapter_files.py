"""The files of adapters in service: kept apart from the jobs that made them, since a model outlives its job."""

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.core.errors import FailedPreconditionError
from services.post_training.serving.ports import Converter
from services.post_training.storage import Storage, full_disk_told, new_name, remove, sync_folder

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
CONVERSION = "conversion.json"
CONVERTED = "serving"
"""Folder in a DoRA checkpoint where the training has put the plain adapter already."""

_GRACE_SECONDS = 3600.0
# Rounding, no more.
_EXACT = 1e-4


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """An adapter that an engine can load."""

    folder: Path
    """Where it is."""
    relative_error: float | None
    """Share of a DoRA adapter's change that the plain one leaves out. None: it is the adapter itself."""


class AdapterFiles:
    """The folder `models` of the service's storage: one folder for each adapter in service."""

    def __init__(self, storage: Storage, converter: Converter) -> None:
        """Keeps adapters in the service's storage.

        Args:
            storage: The service's folder.
            converter: Makes plain adapters of DoRA adapters.
        """
        self._root = storage.root / "models"
        self._converter = converter

    async def publish(self, name: str, checkpoint: Path, base: str, max_rank: int) -> ServedAdapter:
        """Puts an adapter where it stays as long as it is served; once it is there, that is all.

        Args:
            name: Name of its folder, always the same for this adapter.
            checkpoint: Folder of the checkpoint, an adapter in PEFT's format.
            base: Folder of the base model.
            max_rank: Highest rank that the engine takes.

        Raises:
            FailedPreconditionError: The checkpoint is no adapter, or cannot be made one that engines serve.
            ResourceExhaustedError: The disk is full.
        """
        folder = self._root / name
        if not await asyncio.to_thread(folder.is_dir):
            part = self._root / f".{name}.{new_name()}"
            try:
                await self._fill(part, checkpoint, base, max_rank)
                await asyncio.to_thread(_settle, part, folder)
            finally:
                await asyncio.to_thread(remove, part)
        return ServedAdapter(folder, await asyncio.to_thread(_relative_error, folder))

    async def withdraw(self, folder: Path) -> None:
        """Removes an adapter that is not in service."""
        await asyncio.to_thread(remove, folder)

    async def sweep(self, sources: Collection[str]) -> int:
        """Removes adapters that no model is registered on any more, and leftovers; returns how many.

        Args:
            sources: Folders of all adapters that models are registered on.
        """
        return await asyncio.to_thread(self._sweep, sources)

    async def _fill(self, part: Path, checkpoint: Path, base: str, max_rank: int) -> None:
        config = await asyncio.to_thread(_read_config, checkpoint)
        if config.get("use_dora"):
            ready = checkpoint / CONVERTED
            if await asyncio.to_thread(_is_best, ready, max_rank):
                await asyncio.to_thread(_link, ready, part)
            else:
                await self._converter.convert(str(checkpoint), base, str(part), max_rank)
        else:
            await asyncio.to_thread(_link, checkpoint, part)

    def _sweep(self, sources: Collection[str]) -> int:
        removed = 0
        before = time.time() - _GRACE_SECONDS
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            # Another replica may be quicker.
            with contextlib.suppress(FileNotFoundError):
                if str(folder) not in sources and folder.stat().st_mtime < before:
                    remove(folder)
                    removed += 1
        return removed


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG).read_text())
    except (OSError, ValueError) as error:
        message = (
            f"the job's result in {folder} is no adapter (it has no readable {ADAPTER_CONFIG}), "
            "and only adapters are put into a running engine"
        )
        raise FailedPreconditionError(message, reason="NOT_AN_ADAPTER") from error
    return config


def _rank(folder: Path) -> int:
    """The rank of the adapter in a folder; 0: there is none."""
    try:
        return int(json.loads((folder / ADAPTER_CONFIG).read_text())["r"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _is_best(ready: Path, max_rank: int) -> bool:
    """Whether a plain adapter fits an engine, and no other one that fits would be closer to the DoRA adapter."""
    rank, error = _rank(ready), _relative_error(ready)
    return 0 < rank <= max_rank and error is not None and (rank == max_rank or error < _EXACT)


def _link(source: Path, part: Path) -> None:
    """Makes a folder with the files of an adapter that an engine reads; no second copy where the file system can do without."""
    with full_disk_told():
        part.mkdir(mode=0o755, parents=True)
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONVERSION):
            path = source / name
            if not path.exists():
                continue
            try:
                os.link(path, part / name)
            except OSError:
                shutil.copyfile(path, part / name)


def _settle(part: Path, folder: Path) -> None:
    sync_folder(part)
    try:
        part.rename(folder)
    except OSError:
        # Another attempt was quicker, and has written the same.
        if not folder.is_dir():
            raise
    sync_folder(folder.parent)


def _relative_error(folder: Path) -> float | None:
    try:
        return float(json.loads((folder / CONVERSION).read_text())["relative_error"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
