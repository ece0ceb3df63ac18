"""The built-in tool `code_interpreter`."""

import asyncio
import mimetypes
from collections.abc import Mapping
from typing import Any

from caravan.agents.v1 import turns_pb2
from services.agents.tools.code_interpreter.sandbox import Ending, Execution, Sandbox, SandboxLimits
from services.agents.tools.tool import Outcome, Tool, ToolError, built_in, string_argument, text_content

_WHAT_TO_DO = {
    Ending.TIMED_OUT: "the code took too long and was stopped; do less",
    Ending.OUT_OF_MEMORY: "the code took too much memory and was stopped; use less data at a time",
    Ending.CRASHED: "the interpreter crashed",
}


class CodeInterpreter(Tool):
    """Runs Python in a sandbox; output, figures and files come back."""

    definition = built_in(
        "code_interpreter", "Runs Python code and returns what it prints.", "code", "Python code to run"
    )
    # Nothing outlives an execution, so it may run twice.
    idempotent = True

    def __init__(
        self, sandbox: Sandbox, limits: SandboxLimits, slots: asyncio.Semaphore, files: Mapping[str, bytes]
    ) -> None:
        """Makes the tool.

        Args:
            sandbox: Where the code runs.
            limits: How much one execution may use.
            slots: Bounds how many executions run at once in this process.
            files: Files to put into the working directory, by name.
        """
        self._sandbox, self._limits, self._slots, self._files = sandbox, limits, slots, files
        self.timeout = limits.wall_seconds + 10.0

    async def run(self, arguments: Mapping[str, Any]) -> Outcome:
        """Runs the code."""
        code = string_argument(arguments, "code")
        async with self._slots:
            execution = await self._sandbox.run(code, self._files, self._limits)
        if execution.ending in _WHAT_TO_DO:
            raise ToolError(f"{_WHAT_TO_DO[execution.ending]}\n{report(execution)}")
        attachments = tuple(_attachment(name, content) for name, content in execution.files.items())
        return Outcome(text_content(report(execution)), attachments, metadata={"status": str(execution.ending)})


def report(execution: Execution) -> str:
    """Writes what came out of an execution for the model to read, as Llama's models know it.

    Args:
        execution: The execution.
    """
    parts = [str(execution.ending)]
    for name, text in (("stdout", execution.stdout), ("stderr", execution.stderr)):
        if text:
            parts.append(f"[{name}]\n{text.rstrip()}\n[/{name}]")
    if execution.files:
        parts.append(f"files: {', '.join(execution.files)}")
    return "\n".join([*parts, *execution.notes])


def _attachment(name: str, content: bytes) -> turns_pb2.Attachment:
    mime_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return turns_pb2.Attachment(data=content, mime_type=mime_type, file_name=name.replace("/", "_"))
