"""Structured logs: JSON lines or text on stderr, with the request id and the trace id of the call that runs.

Neither the contents of messages nor credentials are logged.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import Processor

from services.core.context import REQUEST, trace_id_of

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "console"]


def configure_logs(level: Level = "info", output: Format = "json") -> None:
    """Sends this process's logs to stderr: those of structlog and those of the standard library, in one format.

    Args:
        level: Least level that is logged.
        output: A JSON object a line, or text for people.
    """
    shared: list[Processor] = [
        _add_request,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks without the values of variables: those are requests and credentials.
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
        if output == "json"
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    stderr = _Lossy(sys.stderr)
    number = logging.getLevelNamesMapping()[level.upper()]
    # Our own logs go straight to stderr: the standard library's machinery costs more than the rest of a call's bookkeeping.
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stderr)),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)


class _Lossy:
    """A stream that loses what it cannot write: when nobody reads the log any more, calls are answered all the same."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        # ValueError: it is closed on this side.
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def _add_request(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    del logger, method
    request = REQUEST.get()
    if request is not None:
        event.setdefault("request_id", request.request_id)
        trace_id = trace_id_of(request)
        if trace_id:
            event.setdefault("trace_id", trace_id)
    return event
