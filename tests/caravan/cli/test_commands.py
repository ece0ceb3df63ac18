import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from typer.testing import CliRunner, Result

from caravan.cli.app import app
from caravan.registry.v1 import entry_pb2, models_pb2
from tests.caravan.loopback import Failing, Gateway, unavailable


@pytest.fixture
def run(gateway: Gateway, monkeypatch):
    monkeypatch.setenv("CARAVAN_TARGET", gateway.target)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("CARAVAN_MODEL", raising=False)
    served = entry_pb2.RegistryEntry(availability=entry_pb2.AVAILABILITY_SERVED)
    gateway.models = {
        "talker": models_pb2.Model(
            model_id="talker", provider_id="vllm", model_type=models_pb2.MODEL_TYPE_LLM, entry=served
        ),
        "vectors": models_pb2.Model(
            model_id="vectors", provider_id="st", model_type=models_pb2.MODEL_TYPE_EMBEDDING, entry=served
        ),
    }

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin)

    return invoke


def test_chat_writes_the_answer(run, gateway):
    result = run("chat", "Hi", "--system", "Be brief.", "--max-tokens", "9", "--temperature", "0")
    assert (result.exit_code, result.stdout) == (0, "Hello, world.\n")
    request = gateway.calls("StreamChatCompletion")[0].request
    assert request.model_id == "talker"  # the only language model that is served
    assert request.sampling_params.max_tokens == 9
    assert request.sampling_params.WhichOneof("strategy") == "greedy"
    assert [message.WhichOneof("role") for message in request.messages] == ["system", "user"]


def test_chat_reads_what_is_piped_in(run, gateway):
    assert run("chat", "-m", "talker", stdin="What?\n").exit_code == 0
    assert gateway.calls("StreamChatCompletion")[0].request.messages[0].user.content.items[0].text == "What?"


def test_chat_without_anything_to_say_is_an_error(run):
    result = run("chat", "-m", "talker", stdin="")
    assert result.exit_code == 1
    assert "nothing came on standard input" in result.stderr


def test_chat_as_json_is_the_response(run):
    document = json.loads(run("chat", "Hi", "--json").stdout)
    assert document["completion_message"]["stop_reason"] == "STOP_REASON_END_OF_TURN"


def test_chat_as_streamed_json_is_an_event_a_line(run):
    events = [json.loads(line) for line in run("chat", "Hi", "--json", "--stream").stdout.splitlines()]
    assert [next(iter(event)) for event in events] == ["start", *["progress"] * 4, "complete"]


def test_chat_shows_tool_calls(run, gateway, tmp_path):
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([{"tool_name": "weather", "parameters": {"city": {"param_type": "string"}}}]))
    result = run("chat", "Hi", "--tools", str(tools), "--tool-choice", "required")
    assert 'weather {"city": "Rome"}' in result.stdout
    assert gateway.calls("StreamChatCompletion")[0].request.tools[0].parameters["city"].param_type == "string"


def test_chat_takes_openai_s_tool_definitions(run, gateway, tmp_path):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([{"type": "function", "function": {"name": "f", "parameters": schema}}]))
    assert run("chat", "Hi", "--tools", str(tools)).exit_code == 0
    parameter = gateway.calls("StreamChatCompletion")[0].request.tools[0].parameters["n"]
    assert (parameter.param_type, parameter.required) == ("integer", True)


@pytest.mark.parametrize(
    ("content", "problem"), [("{", "is not JSON"), ('{"a": 1}', "holds no JSON array"), (None, "cannot read")]
)
def test_a_file_that_is_wrong_is_named(run, tmp_path, content, problem):
    path = tmp_path / "tools.json"
    if content is not None:
        path.write_text(content)
    result = run("chat", "Hi", "--tools", str(path))
    assert result.exit_code == 1
    assert problem in result.stderr
    assert str(path) in result.stderr


def test_the_form_of_the_answer_comes_from_files(run, gateway, tmp_path):
    schema, grammar = tmp_path / "schema.json", tmp_path / "answer.gbnf"
    schema.write_text('{"type": "object", "properties": {"b": {}, "a": {}}}')
    grammar.write_text('root ::= "yes" | "no"')
    run("chat", "Hi", "--json-schema", str(schema))
    run("chat", "Hi", "--format", str(grammar))
    run("chat", "Hi", "--format", "json")
    formats = [seen.request.response_format for seen in gateway.calls("StreamChatCompletion")]
    assert list(json.loads(formats[0].json_schema_text)["properties"]) == ["b", "a"]
    assert formats[1].grammar.bnf.startswith("root")
    assert json.loads(formats[2].json_schema_text) == {"type": "object"}
    assert run("chat", "Hi", "--format", "json", "--json-schema", str(schema)).exit_code == 1


def test_an_answer_that_was_cut_off_is_told_beside_it(run):
    result = run("complete", "Once upon", "--max-tokens", "4")
    assert result.stdout == "Hello, world.\n"
    assert run("complete", "Once upon", "--json").exit_code == 0


def test_embed_shows_the_vectors_and_json_has_them_whole(run):
    assert re.search(r"abc\s+2\s+\+1\.0000 \+3\.0000", run("embed", "abc").stdout)
    document = json.loads(run("embed", "--json", stdin="a\nbc\n").stdout)
    assert [embedding["values"] for embedding in document["embeddings"]] == [[1.0, 1.0], [1.0, 2.0]]


def test_models_can_be_listed_registered_shown_and_unregistered(run, gateway):
    assert re.search(r"vectors\s+embedding\s+st\s+served", run("models", "list").stdout)
    assert [model["model_id"] for model in json.loads(run("models", "list", "--json").stdout)["models"]] == [
        "talker",
        "vectors",
    ]
    made = run("models", "register", "mine", "--adapter", "/a", "--base", "talker", "--metadata", "team=x")
    assert made.exit_code == 0
    assert "/a on talker" in run("models", "get", "mine").stdout
    assert gateway.models["mine"].metadata["team"] == "x"
    assert run("models", "unregister", "mine", "--revision", "3").exit_code == 0
    assert gateway.calls("UnregisterModel")[0].request.revision == 3
    assert run("models", "register", "mine", "--adapter", "/a").exit_code == 1


def test_providers_routes_health_and_version(run):
    assert re.search(r"vllm\s+inline::vllm\s+.*ok\s+1", run("providers").stdout)
    assert json.loads(run("providers", "--json").stdout)["providers"][0]["provider_id"] == "vllm"
    assert re.search(r"/caravan\.x\.v1\.X/Y\s+POST /v1/x\s+inline::vllm", run("routes").stdout)
    assert json.loads(run("routes", "--json").stdout)["routes"][0]["route"] == "/v1/x"
    assert re.search(r"overall\s+ok", run("health").stdout)
    assert json.loads(run("health", "--json").stdout)["status"] == "HEALTH_STATUS_OK"
    assert "gateway  9.9.9" in run("version").stdout
    assert json.loads(run("version", "--json").stdout)["gateway"] == "9.9.9"


def test_health_fails_when_nothing_can_serve(run, gateway, monkeypatch):
    from caravan.inspect.v1 import inspect_pb2

    broken = inspect_pb2.HealthResponse(status=inspect_pb2.HEALTH_STATUS_ERROR)
    monkeypatch.setattr(Gateway, "Health", lambda *_: broken)
    with Gateway() as other:
        assert run("health", "--target", other.target).exit_code == 1


def test_routes_of_a_model_are_its_replicas(run, gateway):
    from caravan.registry.v1 import routes_pb2

    gateway.endpoints = [routes_pb2.Endpoint(address="10.0.0.1:99", healthy=True)]
    assert re.search(r"10\.0\.0\.1:99\s+healthy\s+vllm", run("routes", "--model", "talker").stdout)


def test_an_error_is_one_line_that_says_what_to_do(run, gateway):
    result = run("models", "get", "nope")
    assert result.exit_code == 1
    assert result.stderr == "error: unknown model nope; `caravan models list` shows what is there\n"
    assert result.stdout == ""


def test_an_error_as_json_has_the_details(run, gateway):
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="messages", description="too few")
    gateway.fail("ChatCompletion", Failing(grpc.StatusCode.INVALID_ARGUMENT, "invalid", (bad,)))
    result = run("chat", "Hi", "--json")
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "INVALID_ARGUMENT"
    assert error["violations"] == [{"field": "messages", "description": "too few"}]
    assert error["request_id"]


def test_a_full_queue_says_when_to_come_back(run, gateway):
    gateway.fail("StreamChatCompletion", unavailable(60.0))
    assert "try again in 60 s" in run("chat", "Hi").stderr


def test_no_gateway_says_whom_it_tried_to_reach(run):
    result = run("models", "list", "--target", "127.0.0.1:1")
    assert result.exit_code == 1
    problem = "cannot reach 127.0.0.1:1: Connection refused"
    assert (
        result.stderr == f"error: {problem}; check the address (--target or CARAVAN_TARGET) and that the gateway runs\n"
    )


def test_version_works_without_a_gateway(run):
    result = run("version", "--target", "127.0.0.1:1")
    assert result.exit_code == 0
    assert "cannot reach" in result.stdout


def test_several_models_ask_for_a_choice(run, gateway):
    other = models_pb2.Model()
    other.CopyFrom(gateway.models["talker"])
    other.model_id = "other"
    gateway.models["other"] = other
    result = run("chat", "Hi")
    assert result.exit_code == 1
    assert "several language models are served (other, talker): choose one with --model" in result.stderr


def test_wrong_usage_is_exit_code_2(run):
    assert run("chat", "Hi", "--temperature", "9").exit_code == 2
    assert run("nonsense").exit_code == 2


def test_every_command_has_help_and_json(run):
    for command in ("chat", "complete", "embed", "providers", "routes", "health", "version"):
        text = run(command, "--help").stdout
        assert "--json" in text
        assert "--target" in text
    for command in ("list", "get", "register", "unregister"):
        assert "--json" in run("models", command, "--help").stdout


class Terminal:
    """The command in a pseudo terminal."""

    def __init__(self, *arguments: str, target: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:  # the child
            command = Path(sys.executable).with_name("caravan")
            os.environ.update(TERM="xterm", COLUMNS="120", CARAVAN_TARGET=target)
            os.execv(command, [str(command), *arguments])
        self.seen = ""

    def expect(self, text: str, seconds: float = 20.0) -> str:
        """Reads until a text has come, and returns what came up to it."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come: {self.seen!r}"
            try:
                self.seen += os.read(self._fd, 4096).decode()
            except OSError as error:  # the other end is closed
                raise AssertionError(f"{text!r} did not come: {self.seen!r}") from error
        before, self.seen = self.seen.split(text, 1)
        return before

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def exit_code(self) -> int:
        while True:  # what it still writes must not hold it up
            try:
                if not os.read(self._fd, 4096):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_conversation_on_a_terminal_remembers(gateway):
    terminal = Terminal("chat", "-m", "talker", target=gateway.target)
    terminal.expect("you> ")
    terminal.type("first\n")
    terminal.expect("Hello, world.")
    terminal.expect("you> ")
    terminal.type("second\n")
    terminal.expect("Hello, world.")
    terminal.expect("you> ")
    terminal.type("/quit\n")
    assert terminal.exit_code() == 0
    roles = [message.WhichOneof("role") for message in gateway.calls("StreamChatCompletion")[1].request.messages]
    assert roles == ["user", "assistant", "user"]


def test_ctrl_c_stops_the_answer_and_ctrl_d_ends_the_conversation(gateway):
    gateway.endless = True
    terminal = Terminal("chat", "-m", "talker", target=gateway.target)
    terminal.expect("you> ")
    terminal.type("first\n")
    terminal.expect("on and on")
    terminal.type("\x03")
    terminal.expect("stopped")
    assert gateway.calls("StreamChatCompletion")[0].ended.wait(2)
    terminal.expect("you> ")
    terminal.type("\x04")
    assert terminal.exit_code() == 0


def test_a_model_s_words_do_not_control_the_terminal(gateway):
    gateway.words = ["a\x1b[2Jb\x9bc", "\tok"]
    terminal = Terminal("chat", "Hi", "-m", "talker", target=gateway.target)
    shown = terminal.expect("ok")
    assert "a\ufffd[2Jb\ufffdc" in shown
    assert terminal.exit_code() == 0


def test_names_in_brackets_are_shown(run, gateway):
    gateway.models["talker"].metadata["note"] = "[bold]x[/]"
    assert "note=[bold]x[/]" in run("models", "list").stdout


def test_an_error_in_a_conversation_does_not_end_it(gateway):
    gateway.fail("StreamChatCompletion", Failing(grpc.StatusCode.INVALID_ARGUMENT, "too long"))
    terminal = Terminal("chat", "-m", "talker", target=gateway.target)
    terminal.expect("you> ")
    terminal.type("first\n")
    terminal.expect("too long")
    terminal.expect("you> ")
    terminal.type("second\n")
    terminal.expect("Hello, world.")
    terminal.type("/quit\n")
    assert terminal.exit_code() == 0
    assert len(gateway.calls("StreamChatCompletion")[1].request.messages) == 1  # the failed question was taken back


def test_ctrl_c_ends_a_single_answer_with_130(gateway):
    gateway.endless = True
    command = [Path(sys.executable).with_name("caravan"), "chat", "Hi", "-m", "talker", "--target", gateway.target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.read(5) == "Hello"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert gateway.calls("StreamChatCompletion")[0].ended.wait(2)


def test_a_reader_that_goes_away_is_no_traceback(gateway):
    gateway.endless = True
    line = f"{Path(sys.executable).with_name('caravan')} chat Hi -m talker --target {gateway.target} | head -c 5"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout == "Hello"
    assert "Traceback" not in done.stderr
