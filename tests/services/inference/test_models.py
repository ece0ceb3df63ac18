"""The names under which a provider serves its models."""

import pytest

from caravan.registry.v1 import models_pb2
from services.core.errors import FailedPreconditionError, NotFoundError
from services.inference.models import ModelTable, ServedModel

CHAT = ServedModel("chat", "chat", models_pb2.MODEL_TYPE_LLM, {"context_length": 2048.0})
VECTORS = ServedModel("vectors", "vectors", models_pb2.MODEL_TYPE_EMBEDDING)


def test_an_unknown_model_is_named_together_with_those_that_are_served() -> None:
    with pytest.raises(NotFoundError, match=r"'nope'.*chat, vectors"):
        ModelTable([CHAT, VECTORS]).require("nope", models_pb2.MODEL_TYPE_LLM)


def test_a_model_of_another_type_is_a_failed_precondition() -> None:
    with pytest.raises(FailedPreconditionError, match="embeddings"):
        ModelTable([VECTORS]).require("vectors", models_pb2.MODEL_TYPE_LLM)


def test_a_registered_name_serves_until_it_is_removed() -> None:
    table = ModelTable([CHAT])
    table.add(ServedModel("alias", "chat", models_pb2.MODEL_TYPE_LLM))
    assert table.require("alias", models_pb2.MODEL_TYPE_LLM).provider_model_id == "chat"
    table.remove("alias")
    with pytest.raises(NotFoundError):
        table.require("alias", models_pb2.MODEL_TYPE_LLM)


def test_a_model_is_listed_with_its_facts() -> None:
    model = CHAT.as_resource("vllm").model
    assert (model.model_id, model.provider_id, model.metadata["context_length"]) == ("chat", "vllm", 2048)
