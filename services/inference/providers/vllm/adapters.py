"""LoRA adapters that are registered while the engine runs."""

import itertools
import json
from pathlib import Path
from typing import Any

import anyio
from vllm.lora.request import LoRARequest

from caravan.registry.v1 import models_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, ResourceExhaustedError
from services.inference.providers.vllm.config import VllmConfig
from services.inference.providers.vllm.engine import Engine

ADAPTER_CONFIG = "adapter_config.json"
_OUTPUT_LAYER = "lm_head"


class Adapters:
    """The adapters that are loaded now, by the model that was registered on them."""

    def __init__(self, engine: Engine, config: VllmConfig) -> None:
        """Starts without adapters."""
        self._engine = engine
        self._config = config
        self._numbers = itertools.count(1)
        self._loaded: dict[str, LoRARequest] = {}

    def get(self, model_id: str) -> LoRARequest | None:
        """The adapter of a model, or None where it is the base model."""
        return self._loaded.get(model_id)

    async def load(self, model_id: str, adapter: models_pb2.LoraAdapter) -> None:
        """Loads an adapter into the running engine.

        Args:
            model_id: The model that is registered on it.
            adapter: Where it is.

        Raises:
            NotFoundError: There is no adapter at `source`.
            FailedPreconditionError: It does not fit the engine's model, or the engine takes none.
            ResourceExhaustedError: No room for another one.
        """
        if not self._config.enable_lora:
            raise FailedPreconditionError(
                "this provider takes no adapters; start it with enable_lora = true", reason="LORA_DISABLED"
            )
        if len(self._loaded) >= self._config.max_adapters:
            raise ResourceExhaustedError(
                f"{len(self._loaded)} adapters are loaded and max_adapters is {self._config.max_adapters}; unregister one first",
                retry_after=None,
            )
        await self._check(adapter.source)
        request = LoRARequest(lora_name=model_id, lora_int_id=next(self._numbers), lora_path=adapter.source)
        try:
            await self._engine.llm.add_lora(request)
        except Exception as error:
            raise FailedPreconditionError(
                f"the engine refuses adapter {adapter.source!r}: {error}", reason="ADAPTER_REFUSED"
            ) from error
        self._loaded[model_id] = request

    async def unload(self, model_id: str) -> None:
        """Drops the adapter of a model, if it has one."""
        request = self._loaded.pop(model_id, None)
        if request is not None:
            await self._engine.llm.remove_lora(request.lora_int_id)

    def forget(self) -> list[str]:
        """Forgets all, since the engine that had them is gone, and returns the models that were registered on them."""
        forgotten = list(self._loaded)
        self._loaded.clear()
        return forgotten

    async def _check(self, source: str) -> None:
        """Refuses early, and in words, what the engine would refuse late."""
        folder = anyio.Path(source)
        if not await folder.is_dir():
            if Path(source).is_absolute() or source.startswith("."):
                raise _no_adapter(source, "no such folder")
            return  # A Hugging Face id: the engine fetches it.
        try:
            config: Any = json.loads(await (folder / ADAPTER_CONFIG).read_text())
        except (OSError, ValueError) as error:
            raise _no_adapter(source, f"no readable {ADAPTER_CONFIG} in it") from error
        rank = config.get("r") if isinstance(config, dict) else None
        if not isinstance(rank, int) or rank < 1:
            raise InvalidArgumentError.of(
                "adapter.source", f"{ADAPTER_CONFIG} must be of a LoRA adapter, with its rank as `r`"
            )
        if rank > self._config.max_lora_rank:
            raise FailedPreconditionError(
                f"the adapter's rank is {rank} and max_lora_rank is {self._config.max_lora_rank}; raise the setting",
                reason="ADAPTER_RANK_TOO_HIGH",
            )
        if _OUTPUT_LAYER in (config.get("target_modules") or ()) and self._output_is_tied:
            raise FailedPreconditionError(
                "the adapter changes the output layer, which is one with the embeddings in this model, and the engine would leave that "
                "part out: train without it (apply_lora_to_output), or serve the merged model",
                reason="ADAPTER_ON_TIED_OUTPUT",
            )

    @property
    def _output_is_tied(self) -> bool:
        config = self._engine.llm.model_config.hf_text_config
        return bool(getattr(config, "tie_word_embeddings", False))


def _no_adapter(source: str, why: str) -> NotFoundError:
    return NotFoundError(
        f"no LoRA adapter at {source!r}: {why}; give a folder in PEFT's format as the provider sees it",
        resource_type="adapter",
        resource_name=source,
    )
