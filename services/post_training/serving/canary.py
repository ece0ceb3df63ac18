"""Proving a new model by one answer."""

from caravan.inference.v1 import inference_pb2
from caravan.post_training.v1 import training_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CaravanError, FailedPreconditionError
from services.post_training.serving.ports import Chat
from services.post_training.serving.settings import ServingSettings

_SHOWN = 300
_FEW_TOKENS = 8


async def prove(chat: Chat, model_id: str, wish: training_pb2.AutoRegister, settings: ServingSettings) -> None:
    """Asks a model and checks what it answers; the likeliest answer, so that the same model always gives the same.

    Args:
        chat: Where it answers.
        model_id: The model.
        wish: What to ask, and what the answer must contain.
        settings: The question, where the wish has none.

    Raises:
        FailedPreconditionError: It answers nothing, or not what is expected (CANARY_FAILED).
        CaravanError: It does not answer.
    """
    prompt = wish.canary_prompt or settings.canary_prompt
    request = inference_pb2.ChatCompletionRequest(model_id=model_id)
    request.messages.add().user.content.items.add(text=prompt)
    request.sampling_params.greedy.SetInParent()
    # Without an expectation any few words will do.
    request.sampling_params.max_tokens = settings.canary_max_tokens if wish.canary_expected else _FEW_TOKENS
    message = (await chat.answer(request, settings.canary_seconds)).completion_message
    answer = "".join(item.text for item in message.content.items)
    if not answer and not message.tool_calls:
        raise _failed(model_id, prompt, answer, "says nothing")
    if wish.canary_expected not in answer:
        raise _failed(model_id, prompt, answer, f"does not say {shown(wish.canary_expected)}", message.stop_reason)


def shown(text: str) -> str:
    """Returns a text as an error shows it: quoted, and not too long."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _failed(
    model_id: str,
    prompt: str,
    answer: str,
    what: str,
    stop_reason: types_pb2.StopReason.ValueType = types_pb2.STOP_REASON_UNSPECIFIED,
) -> CaravanError:
    cut = " (cut off: the answer was too long)" if stop_reason == types_pb2.STOP_REASON_OUT_OF_TOKENS else ""
    message = (
        f"asked {shown(prompt)}, the trained model {what}; it says {shown(answer)}{cut}. It is not in service, its "
        "checkpoints are kept: train for longer or at a higher learning rate, ask as the rows do, or leave canary_expected out"
    )
    return FailedPreconditionError(message, reason="CANARY_FAILED", metadata={"model_id": model_id})
