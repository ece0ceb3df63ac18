"""Shows what an agent does, as it happens."""

from caravan.agents.v1 import events_pb2, turns_pb2
from caravan.cli.session import Session
from caravan.messages import text_of
from caravan.types.v1 import types_pb2

_MOST_CHARACTERS = 300


class Steps:
    """Writes the events of a turn: the answer to standard output, everything else beside it."""

    def __init__(self, session: Session) -> None:
        """Has shown nothing yet.

        Args:
            session: Where to write.
        """
        self._session = session
        self._in_text = False
        self._shown = ""

    def show(self, event: events_pb2.TurnEvent) -> None:
        """Shows one event.

        Args:
            event: The event.
        """
        if self._session.json:
            self._session.write_json_line(event)
            return
        payload = event.payload
        match payload.WhichOneof("event"):
            case "step_progress":
                self._progress(payload.step_progress)
            case "step_restart":
                self._shown = ""
                self._note(f"again: {payload.step_restart.reason}", "yellow")
            case "step_complete":
                self._complete(payload.step_complete.step_details)
            case "turn_complete":
                self._ended(payload.turn_complete.turn)
            case "turn_awaiting_input":
                for call in payload.turn_awaiting_input.turn.pending_tool_calls:
                    self._note(f"waits for the client to run {call.tool_name} {call.arguments_json}", "yellow")
            case "turn_cancelled":
                self._note("cancelled", "yellow")
            case "turn_failed":
                self._note(f"failed: {payload.turn_failed.turn.error.message}", "red")

    def _progress(self, progress: events_pb2.StepProgress) -> None:
        if progress.step_type == turns_pb2.STEP_TYPE_INFERENCE and progress.delta.text:
            self._session.write(progress.delta.text)
            self._shown += progress.delta.text
            self._in_text = True

    def _complete(self, step: turns_pb2.Step) -> None:
        match step.WhichOneof("step_details"):
            case "inference":
                for call in step.inference.model_response.tool_calls:
                    self._note(f"calls {call.tool_name} {call.arguments_json}", "cyan")
            case "tool_execution":
                for response in step.tool_execution.tool_responses:
                    self._note(f"{response.tool_name}: {_short(text_of(response.content))}", "green")
            case "memory_retrieval":
                found = len(step.memory_retrieval.chunks)
                self._note(f"read {', '.join(step.memory_retrieval.memory_bank_ids)}: {found} pieces", "magenta")
            case "shield_call":
                self._shielded(step.shield_call)

    def _shielded(self, step: turns_pb2.ShieldCallStep) -> None:
        for result in step.results:
            if result.HasField("violation"):
                name = types_pb2.ViolationLevel.Name(result.violation.violation_level)
                level = name.removeprefix("VIOLATION_LEVEL_").lower()
                said = result.violation.user_message
                self._note(f"shield {result.shield_id}, {level}: {said}", "red" if level == "error" else "yellow")
            elif result.masked_messages:
                self._note(f"shield {result.shield_id} masked {len(result.findings)} places", "yellow")

    def _ended(self, turn: turns_pb2.Turn) -> None:
        answer = text_of(turn.output_message)
        if answer and not self._shown.endswith(answer):
            self._session.write(answer)
            self._in_text = True
        self._break()
        for attachment in turn.output_attachments:
            name = attachment.file_name or "a file"
            self._note(f"made {name} ({attachment.mime_type}, {len(attachment.data)} bytes)", "green")

    def _note(self, text: str, style: str) -> None:
        self._break()
        self._session.err.print(text, style=style, markup=False, soft_wrap=True)

    def _break(self) -> None:
        if self._in_text:
            self._session.write("\n")
            self._in_text = False


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…"
