"""From the name of a model to its weights, and to the provider that serves them."""

from dataclasses import dataclass
from pathlib import Path

from caravan.registry.v1 import models_pb2
from services.core.errors import FailedPreconditionError
from services.post_training.serving.ports import Models

CHECKPOINT = "checkpoint"
MAX_LORA_RANK = "max_lora_rank"


@dataclass(frozen=True, slots=True)
class Weights:
    """What a training begins with."""

    source: str
    """Folder of the base model's checkpoint, or its Hugging Face id."""
    adapter: str = ""
    """Folder or Hugging Face id of the adapter on it, where the model named is one. Empty: it is none."""


class BaseModels:
    """Finds models that are to be trained."""

    def __init__(self, models: Models) -> None:
        """Looks among these.

        Args:
            models: The models that can be requested.
        """
        self._models = models

    async def resolve(self, name: str) -> Weights:
        """Finds the weights of a model.

        Args:
            name: A registered model's identifier, a Hugging Face id or a folder; a registered model wins.

        Raises:
            FailedPreconditionError: The model is registered, and its provider does not say where its weights are.
            UnavailableError: The gateway does not answer.
        """
        model = await self._registered(name)
        if model is None:
            return Weights(name)
        source = checkpoint_of(model)
        if not source:
            message = (
                f"model {name!r} is served by provider {model.provider_id}, which does not say where its weights are: "
                "name the folder or the Hugging Face id of the weights instead"
            )
            raise FailedPreconditionError(message, reason="NO_CHECKPOINT", metadata={"model_id": name})
        return Weights(source, model.adapter.source)

    async def served(self, name: str, provider_id: str = "") -> models_pb2.Model:
        """Finds the model that serves the weights of a name, as a provider serves it by itself.

        Args:
            name: As `resolve`'s.
            provider_id: The provider that is to serve it. Empty: any.

        Raises:
            FailedPreconditionError: No provider serves these weights.
            UnavailableError: The gateway does not answer.
        """
        model = await self._registered(name)
        if model is not None and not provider_id:
            provider_id = model.provider_id
        source = checkpoint_of(model) if model is not None else name
        candidates = [
            one
            for one in await self._models.every()
            if provider_id in ("", one.provider_id)
            and not one.HasField("adapter")
            and source
            and _place(checkpoint_of(one)) == _place(source)
        ]
        # The provider's own name for it rather than somebody's other one, and one that takes adapters.
        candidates.sort(key=lambda one: (max_lora_rank(one) == 0, one.entry.revision, one.model_id))
        if not candidates:
            where = f"provider {provider_id} serves" if provider_id else "any provider serves"
            message = (
                f"the weights of {name!r} are not what {where}: its adapter has nothing to be loaded onto: start a provider inline::vllm "
                "on them, or train without auto_register"
            )
            raise FailedPreconditionError(message, reason="BASE_MODEL_NOT_SERVED", metadata={"model": name})
        return candidates[0]

    async def _registered(self, name: str) -> models_pb2.Model | None:
        # No identifier begins like a path.
        return None if name.startswith(("/", ".", "~")) else await self._models.find(name)


def checkpoint_of(model: models_pb2.Model) -> str:
    """Returns where a model's weights are; empty: its provider does not say."""
    return text_of(model, CHECKPOINT)


def max_lora_rank(model: models_pb2.Model) -> int:
    """Returns the highest rank of an adapter on a model; 0: it takes none."""
    fact = model.metadata.fields.get(MAX_LORA_RANK)
    return int(fact.number_value) if fact is not None else 0


def text_of(model: models_pb2.Model, name: str) -> str:
    """Returns a fact about a model that is a text; empty: it is not told."""
    fact = model.metadata.fields.get(name)
    return fact.string_value if fact is not None else ""


def _place(source: str) -> str:
    path = Path(source)
    return str(path.resolve()) if path.is_dir() else source
