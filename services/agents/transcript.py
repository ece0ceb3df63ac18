"""What the model reads: the conversation so far, made of turns and their steps.

A prompt holds the instructions, every earlier turn, and the present one as far as it got. What retrieval found stands with the present
turn's last user message and is not repeated in later turns. A turn whose input a shield refused, and one that failed or was cancelled, is
kept in the session and left out of prompts.
"""

from collections.abc import Iterable, Sequence

from caravan.agents.v1 import turns_pb2
from caravan.types.v1 import types_pb2


def prompt(
    instructions: str,
    history: Iterable[turns_pb2.Turn],
    turn: turns_pb2.Turn,
    documents: Sequence[types_pb2.InterleavedContent],
) -> list[types_pb2.Message]:
    """Returns the messages of the next inference.

    Args:
        instructions: The system prompt; empty: none.
        history: Earlier turns, oldest first.
        turn: The present turn with its steps so far.
        documents: Content that stands before the present turn's messages.
    """
    messages = [_system(instructions)] if instructions else []
    for earlier in history:
        if _is_told(earlier):
            messages += _spoken(earlier, context=False)
    messages += [_user(document) for document in documents]
    return messages + _spoken(turn, context=True)


def told_input(turn: turns_pb2.Turn) -> list[types_pb2.Message]:
    """Returns a turn's input messages as they may be used: masked, where a shield has masked them.

    Args:
        turn: The turn.
    """
    masked = (
        step.shield_call.masked_messages
        for step in turn.steps
        if step.shield_call.touchpoint == turns_pb2.TOUCHPOINT_USER_INPUT
    )
    return list(next(masked, ()) or turn.input_messages)


def unanswered(turn: turns_pb2.Turn) -> list[types_pb2.ToolCall]:
    """Returns the calls of the last inference that no tool response answers yet."""
    last = last_inference(turn)
    if last is None:
        return []
    answered = {response.call_id for response in _responses_after(turn, last)}
    return [call for call in last.inference.model_response.tool_calls if call.call_id not in answered]


def inferences(turn: turns_pb2.Turn) -> list[turns_pb2.Step]:
    """Returns the inferences of a turn that have ended."""
    return [step for step in turn.steps if step.HasField("inference") and step.HasField("completed_at")]


def last_inference(turn: turns_pb2.Turn) -> turns_pb2.Step | None:
    """Returns the last inference that has ended; None: there is none."""
    return next(reversed(inferences(turn)), None)


def text_of(content: types_pb2.InterleavedContent) -> str:
    """Returns the text of some content, without its images."""
    return "".join(item.text for item in content.items if item.HasField("text"))


def _is_told(turn: turns_pb2.Turn) -> bool:
    if turn.status != turns_pb2.TURN_STATUS_COMPLETED:
        # Turns that the caller brings along have no status.
        return turn.status == turns_pb2.TURN_STATUS_UNSPECIFIED
    return not any(
        step.shield_call.touchpoint == turns_pb2.TOUCHPOINT_USER_INPUT
        and step.shield_call.violation.violation_level == types_pb2.VIOLATION_LEVEL_ERROR
        for step in turn.steps
        if step.HasField("shield_call")
    )


def _spoken(turn: turns_pb2.Turn, *, context: bool) -> list[types_pb2.Message]:
    """The messages of one turn: what came in, and what inferences and tools have said."""
    messages = [_copied(message, context=context) for message in told_input(turn)]
    if context:
        _give_context(messages, turn)
    for step in turn.steps:
        if step.HasField("inference") and step.HasField("completed_at"):
            messages.append(_said(turn, step, still_open=context))
            messages += [_tool(response) for response in _responses_after(turn, step)]
    last = last_inference(turn)
    answer = turn.output_message
    if turn.HasField("output_message") and (last is None or answer.content != last.inference.model_response.content):
        # A shield has put other words into the agent's mouth.
        messages.append(types_pb2.Message(assistant=answer))
    return messages


def _said(turn: turns_pb2.Turn, step: turns_pb2.Step, *, still_open: bool) -> types_pb2.Message:
    """An inference's answer, without calls that nothing answers: a model takes those for a mistake of its own.

    Calls in the turn's own `output_message` are the client's, and the next turn answers them.
    """
    message = types_pb2.Message(assistant=step.inference.model_response)
    if not still_open:
        kept = {response.call_id for response in _responses_after(turn, step)}
        kept |= {call.call_id for call in turn.output_message.tool_calls}
        calls = [call for call in message.assistant.tool_calls if call.call_id in kept]
        del message.assistant.tool_calls[:]
        message.assistant.tool_calls.extend(calls)
    return message


def _responses_after(turn: turns_pb2.Turn, inference: turns_pb2.Step) -> Sequence[types_pb2.ToolResponseMessage]:
    """The tool responses to an inference's calls: those up to the next inference, since not every model names its calls apart."""
    found: list[types_pb2.ToolResponseMessage] = []
    begun = False
    for step in turn.steps:
        if step.step_id == inference.step_id:
            begun = True
        elif begun and step.HasField("inference"):
            break
        elif begun and step.HasField("tool_execution"):
            found += step.tool_execution.tool_responses
    return found


def _give_context(messages: list[types_pb2.Message], turn: turns_pb2.Turn) -> None:
    found = [step.memory_retrieval.inserted_context for step in turn.steps if step.HasField("memory_retrieval")]
    spoken = next((message for message in reversed(messages) if message.HasField("user")), None)
    if spoken is not None:
        for content in found:
            spoken.user.context.MergeFrom(content)


def _copied(message: types_pb2.Message, *, context: bool) -> types_pb2.Message:
    copied = types_pb2.Message()
    copied.CopyFrom(message)
    if not context and copied.HasField("user"):
        copied.user.ClearField("context")
    return copied


def _system(text: str) -> types_pb2.Message:
    message = types_pb2.Message()
    message.system.content.items.add().text = text
    return message


def _user(content: types_pb2.InterleavedContent) -> types_pb2.Message:
    return types_pb2.Message(user=types_pb2.UserMessage(content=content))


def _tool(response: types_pb2.ToolResponseMessage) -> types_pb2.Message:
    return types_pb2.Message(tool=response)
