import pytest
from google.protobuf.message import Message

from caravan.inference.v1 import inference_pb2
from caravan.registry.v1 import models_pb2
from services.core.errors import InvalidArgumentError
from services.core.validation import checked, validate


def violations(message: Message) -> dict[str, str]:
    with pytest.raises(InvalidArgumentError) as caught:
        validate(message)
    assert caught.value.reason == "VALIDATION_FAILED"
    return {violation.field: violation.description for violation in caught.value.violations}


def test_a_valid_message_passes() -> None:
    validate(models_pb2.GetModelRequest(model_id="m"))


def test_fields_are_named_by_their_path() -> None:
    request = inference_pb2.ChatCompletionRequest(model_id="m")
    request.messages.add().user.SetInParent()
    assert violations(request) == {"messages[0].user.content": "must be set"}


def test_a_missing_choice_lists_the_choices() -> None:
    request = inference_pb2.ChatCompletionRequest(model_id="m")
    request.messages.add()
    found = violations(request)
    assert list(found) == ["messages[0].role"]
    assert found["messages[0].role"].startswith("set exactly one of user, ")


def test_an_unknown_enum_value_lists_the_known_ones() -> None:
    found = violations(models_pb2.RegisterModelRequest(model_id="m", model_type=9))  # type: ignore[arg-type]
    known = "MODEL_TYPE_UNSPECIFIED, MODEL_TYPE_LLM, MODEL_TYPE_EMBEDDING, MODEL_TYPE_REWARD"
    assert found == {"model_type": f"must be one of {known}"}


def test_every_wrong_field_is_told_and_the_message_counts_them() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        validate(inference_pb2.ChatCompletionRequest())
    assert {violation.field for violation in caught.value.violations} == {"model_id", "messages"}
    assert caught.value.message == "model_id: must not be empty (and 1 more)"


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x01\xff", b"\x0a\x05a"], ids=["no tag", "no UTF-8", "cut off"])
def test_bytes_that_are_no_message_are_an_invalid_argument(raw: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match=r"caravan\.registry\.v1\.GetModelRequest") as caught:
        checked(models_pb2.GetModelRequest.FromString)(raw)
    assert caught.value.reason == "UNDECODABLE_REQUEST"
