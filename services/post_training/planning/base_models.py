"""The files that a model's name means: a registered model's, a folder's, or those of a Hugging Face id."""

import asyncio
import contextlib
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from services.post_training.planning.settings import PlanningSettings
from services.post_training.trainer.checkpoints import ADAPTER_CONFIG

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_NOT_THERE = 3


class Named(Protocol):
    """What is known of a name."""

    @property
    def source(self) -> str:
        """Folder or Hugging Face id of the base model; the name itself, when no model is registered under it."""

    @property
    def adapter(self) -> str:
        """Folder or Hugging Face id of the adapter on it. Empty: it has none."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A model on this machine."""

    folder: Path
    """Folder of its files."""
    adapter: Path | None = None
    """Folder of the adapter on it."""


class BaseModels:
    """Finds models' files."""

    def __init__(self, settings: PlanningSettings, registered: Callable[[str], Awaitable[Named]]) -> None:
        """Looks in these places.

        Args:
            settings: Where models may be.
            registered: Says what is registered under a name.
        """
        self._settings = settings
        self._registered = registered
        self._downloads = asyncio.Semaphore(settings.downloads)

    async def resolve(self, model: str, field: str) -> BaseModel:
        """Finds a model's files, and downloads them when they are at Hugging Face only.

        Args:
            model: A registered model's identifier, a folder or a Hugging Face id.
            field: Field of the request that names it.

        Raises:
            InvalidArgumentError: The folder is none that the service may read.
            NotFoundError: There is no such model.
            UnavailableError: It cannot be downloaded now.
        """
        named = await self._registered(model)
        # Where a provider reads its model from, its operator has said; where a caller says, only some folders are open.
        trusted = named.source != model
        folder = await self.folder(named.source, field, trusted=trusted)
        adapter = await self.folder(named.adapter, field, trusted=True) if named.adapter else None
        return BaseModel(folder, adapter)

    async def folder(self, name: str, field: str, *, trusted: bool = False) -> Path:
        """Finds the folder of a model or an adapter; see `resolve`.

        Args:
            name: A folder or a Hugging Face id.
            field: Field of the request that names it.
            trusted: The name is not the caller's.
        """
        if name.startswith(("/", "./", "../", "~")):
            return await asyncio.to_thread(self._local, name, field, trusted)
        if not _HUB_ID.fullmatch(name):
            raise InvalidArgumentError.of(field, "must be a registered model, a folder or a Hugging Face id")
        async with self._downloads:
            return await self._from_hub(name)

    def _local(self, name: str, field: str, trusted: bool) -> Path:
        folder = Path(name).resolve()
        open_folders = [allowed.resolve() for allowed in self._settings.model_folders]
        if not trusted and not any(folder.is_relative_to(allowed) for allowed in open_folders):
            allowed = ", ".join(map(str, open_folders)) or "none"
            raise InvalidArgumentError.of(
                field,
                f"the service may not read this folder (its configuration allows: {allowed})",
                reason="FOLDER_NOT_ALLOWED",
            )
        if not (folder / "config.json").is_file() and not (folder / ADAPTER_CONFIG).is_file():
            raise NotFoundError(
                f"{field}: there is no model in folder {name}", resource_type="model", resource_name=name
            )
        return folder

    async def _from_hub(self, name: str) -> Path:
        """Finds a model in Hugging Face's cache, or downloads it, in a process that can be ended."""
        command = [sys.executable, "-m", "services.post_training.planning.download", name]
        if not self._settings.hub:
            command.append("--offline")
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        try:
            async with asyncio.timeout(self._settings.download_seconds):
                said, complained = await process.communicate()
        except TimeoutError:
            message = f"the download of model {name!r} took longer than {self._settings.download_seconds:g} s"
            raise UnavailableError(message, reason="DOWNLOAD_TIMEOUT") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode == 0:
            return Path(said.decode().strip())
        if process.returncode == _NOT_THERE:
            raise NotFoundError(f"there is no model {name!r}", resource_type="model", resource_name=name)
        reason = complained.decode(errors="replace").strip().splitlines()[-1:] or ["no reason was given"]
        raise FailedPreconditionError(
            f"model {name!r} cannot be downloaded: {reason[0][:300]}", reason="DOWNLOAD_FAILED"
        )
