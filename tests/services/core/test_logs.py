import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.core.context import REQUEST, RequestContext
from services.core.logs import Format, configure_logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, configuration = root.handlers, root.level, structlog.get_config()
    yield
    structlog.configure(**configuration)
    root.handlers, root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_both_kinds_of_log_have_one_format(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    structlog.get_logger("ours").info("loaded", model="m")
    logging.getLogger("theirs").warning("careful with %s", "that")
    ours, theirs = (json.loads(line) for line in lines(capsys))
    assert (ours["event"], ours["level"], ours["model"]) == ("loaded", "info", "m")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("careful with that", "warning", "theirs")
    assert ours.keys() & theirs.keys() == {"event", "level", "timestamp"}


def test_a_line_bears_the_ids_of_its_call(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    trace = "0af7651916cd43dd8448eb211c80319c"
    token = REQUEST.set(RequestContext("mine", {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}))
    structlog.get_logger("ours").info("a")
    logging.getLogger("theirs").warning("b")
    REQUEST.reset(token)
    for line in lines(capsys):
        assert (json.loads(line)["request_id"], json.loads(line)["trace_id"]) == ("mine", trace)


def test_lower_levels_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("warning")
    structlog.get_logger("ours").info("a")
    logging.getLogger("theirs").info("b")
    assert lines(capsys) == []


@pytest.mark.parametrize("output", ["json", "console"])
def test_a_traceback_shows_no_values(capsys: pytest.CaptureFixture[str], output: Format) -> None:
    configure_logs("info", output)
    password = "2retnuh"[::-1]
    for logger in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        try:
            int(password * 0)
        except ValueError:
            logger.exception("failed")
    text = capsys.readouterr().err
    assert text.count("ValueError: invalid literal") == 2
    assert password not in text
