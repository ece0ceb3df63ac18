"""Errors for people, in one line that says what to do, and for programs."""

import json

from rich.console import Console

from caravan.config import DEFAULT_TARGET
from caravan.errors import (
    CaravanError,
    DeadlineExceededError,
    NotFoundError,
    ResourceExhaustedError,
    RpcError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from caravan.local.problems import ChildFailedError


def report(error: CaravanError, err: Console, *, target: str | None, as_json: bool) -> None:
    """Writes an error.

    Args:
        error: The error.
        err: Where it goes.
        target: The gateway that was asked for.
        as_json: Write JSON instead of a line for people.
    """
    if as_json:
        err.file.write(json.dumps({"error": _document(error)}, ensure_ascii=False) + "\n")
        return
    if isinstance(error, ChildFailedError) and error.tail:
        err.print(error.tail, style="dim", markup=False, soft_wrap=True)
    hint = _hint(error, target or DEFAULT_TARGET)
    line = f"{error.message}; {hint}" if hint else error.message
    err.print(f"[bold red]error:[/] {_one_line(line)}", soft_wrap=True, emoji=False)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("[", r"\[")


def _hint(error: CaravanError, target: str) -> str:
    if isinstance(error, UnavailableError) and not error.reason:
        return (
            "start it with `caravan up`, or name another gateway with --target"
            if target == DEFAULT_TARGET
            else ("check the address (--target or CARAVAN_TARGET) and that the gateway runs")
        )
    if isinstance(error, UnavailableError | ResourceExhaustedError) and error.retry_after:
        return f"try again in {error.retry_after:g} s"
    if isinstance(error, NotFoundError) and error.resource_type == "model" and "list" not in error.message.lower():
        return "`caravan models list` shows what is there"
    if isinstance(error, DeadlineExceededError):
        return "allow more time with --timeout"
    if isinstance(error, UnauthenticatedError):
        return "show who you are with --cert and --key"
    if isinstance(error, UnimplementedError):
        return "`caravan routes` shows what this gateway answers"
    return ""


def _document(error: CaravanError) -> dict[str, object]:
    if not isinstance(error, RpcError):
        return {"message": error.message}
    return {
        "code": error.code.name,
        "reason": error.reason,
        "message": error.failure.message,
        "violations": [{"field": item.subject, "description": item.description} for item in error.violations],
        "retry_after_seconds": error.retry_after,
        "request_id": error.request_id,
    }
