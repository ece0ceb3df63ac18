"""Which models a provider serves under which names."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from caravan.providers.v1 import providers_pb2
from caravan.registry.v1 import models_pb2
from services.core.errors import FailedPreconditionError, NotFoundError

TYPE_NAMES = {
    models_pb2.MODEL_TYPE_LLM: "text generation",
    models_pb2.MODEL_TYPE_EMBEDDING: "embeddings",
    models_pb2.MODEL_TYPE_REWARD: "scores of answers",
}


@dataclass(frozen=True)
class ServedModel:
    """One model under one name."""

    model_id: str
    """Name that requests use."""
    provider_model_id: str
    """Name that the engine or the remote server uses."""
    model_type: models_pb2.ModelType.ValueType
    """Kind of the model."""
    metadata: dict[str, str | float | bool] = field(default_factory=dict)
    """Facts for those who list it, for instance `context_length`."""

    def as_resource(self, provider_id: str) -> providers_pb2.Resource:
        """The model as the registry lists it."""
        model = models_pb2.Model(
            model_id=self.model_id,
            provider_id=provider_id,
            provider_model_id=self.provider_model_id,
            model_type=self.model_type,
        )
        model.metadata.update(self.metadata)
        return providers_pb2.Resource(model=model)


class ModelTable:
    """The names of models: those that the provider serves by itself, and those that were registered on it."""

    def __init__(self, own: Iterable[ServedModel] = ()) -> None:
        self._own = {model.model_id: model for model in own}
        self._loaded: dict[str, ServedModel] = {}
        self.generation = 0
        """Grows with each change."""

    def __contains__(self, model_id: str) -> bool:
        return model_id in self._loaded or model_id in self._own

    @property
    def own(self) -> list[ServedModel]:
        """The models that the provider serves by itself."""
        return list(self._own.values())

    def replace_own(self, models: Iterable[ServedModel]) -> None:
        """Takes over what the provider serves by itself now."""
        self._own = {model.model_id: model for model in models}
        self.generation += 1

    def add(self, model: ServedModel) -> None:
        """Adds a registered model, or replaces it."""
        self._loaded[model.model_id] = model
        self.generation += 1

    def remove(self, model_id: str) -> ServedModel | None:
        """Drops a registered model and returns it."""
        self.generation += 1
        return self._loaded.pop(model_id, None)

    def names(self, model_id: str) -> set[str]:
        """Returns every name of the model that has a name, also those that only the engine knows."""
        named = self._loaded.get(model_id) or self._own.get(model_id)
        if named is None:
            return {model_id}
        models = [*self._own.values(), *self._loaded.values()]
        same = {model.model_id for model in models if model.provider_model_id == named.provider_model_id}
        return {*same, named.provider_model_id}

    def by_provider_model_id(self, provider_model_id: str) -> ServedModel | None:
        """Finds a model by the engine's name for it."""
        return next((m for m in self._own.values() if m.provider_model_id == provider_model_id), None)

    def require(self, model_id: str, model_type: models_pb2.ModelType.ValueType) -> ServedModel:
        """Finds a model by its name.

        Args:
            model_id: Name that a request used.
            model_type: Type that the call needs.

        Raises:
            NotFoundError: There is no such model here.
            FailedPreconditionError: The model is of another type.
        """
        model = self._loaded.get(model_id) or self._own.get(model_id)
        if model is None:
            known = ", ".join(sorted({*self._own, *self._loaded})) or "none"
            raise NotFoundError(
                f"model {model_id!r} is not served here (served: {known}); register it or choose one from ListModels",
                resource_type="model",
                resource_name=model_id,
            )
        if model.model_type != model_type:
            raise FailedPreconditionError(
                f"model {model_id!r} serves {TYPE_NAMES[model.model_type]}, not {TYPE_NAMES[model_type]}; "
                "choose a model of the right type from ListModels",
                reason="WRONG_MODEL_TYPE",
            )
        return model
