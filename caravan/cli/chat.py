"""`caravan chat`: one answer, or a conversation."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from caravan import tool_arguments
from caravan.cli import problems
from caravan.cli.generation import (
    Format,
    JsonSchema,
    MaxTokens,
    Model,
    Penalty,
    Seed,
    Stop,
    Streamed,
    Temperature,
    TopK,
    TopP,
    answer_format,
    choose_model,
    given,
    piped,
    read_json,
)
from caravan.cli.session import Session, with_session
from caravan.errors import CaravanError
from caravan.messages import MessageLike
from caravan.registry.v1 import models_pb2
from caravan.replies import Reply
from caravan.types.v1 import types_pb2

TOOLS = "Tools"


@with_session
def chat(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    message: Annotated[
        str | None,
        typer.Argument(
            help="What to say. Without it: what is piped in, or a conversation on a terminal.", show_default=False
        ),
    ] = None,
    model: Model = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="Instructions for the model.")] = None,
    stream: Streamed = None,
    usage: Annotated[bool, typer.Option("--usage", help="Say at the end how many tokens were used.")] = False,
    tools: Annotated[
        Path | None, typer.Option("--tools", help="File with a JSON array of tool definitions.", rich_help_panel=TOOLS)
    ] = None,
    tool_choice: Annotated[
        str | None, typer.Option("--tool-choice", help="auto, required, none, or a tool's name.", rich_help_panel=TOOLS)
    ] = None,
    tool_prompt_format: Annotated[
        str | None,
        typer.Option("--tool-prompt-format", help="json, function_tag or python_list.", rich_help_panel=TOOLS),
    ] = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    seed: Seed = None,
    stop: Stop = None,
    repetition_penalty: Penalty = None,
    format_name: Format = None,
    json_schema: JsonSchema = None,
) -> None:
    """Ask a model, or talk with it.

    `caravan chat "What is Caravan?"` answers once; `caravan chat` alone opens a conversation; text can be piped in.
    """
    parameters = given(
        system=system,
        tools=read_json(tools, "--tools", list) if tools else None,
        tool_choice=tool_choice,
        tool_prompt_format=tool_prompt_format,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        stop=stop,
        repetition_penalty=repetition_penalty,
        **answer_format(format_name, json_schema),
    )
    talk = message is None and sys.stdin.isatty()
    text = "" if talk else message or piped()
    conversation = Conversation(
        session, choose_model(session, model, models_pb2.MODEL_TYPE_LLM), parameters, usage=usage
    )
    if talk:
        conversation.talk()
    else:
        conversation.say_once(text, stream=not session.json if stream is None else stream)


@dataclass
class Conversation:
    """A conversation with a model on the terminal."""

    session: Session
    """The session."""
    model: str
    """The model."""
    parameters: dict[str, Any]
    """Parameters of every call."""
    usage: bool = False
    """Say after each answer how many tokens were used."""
    history: list[MessageLike] = field(default_factory=list)
    """What was said."""

    def say_once(self, text: str, *, stream: bool) -> None:
        """Asks once and writes the answer.

        Args:
            text: What to say.
            stream: Write the answer as it comes.
        """
        session = self.session
        if session.json and stream:
            for event in session.client.chat(self.model, text, stream=True, **self.parameters):
                session.write_json_line(event)
        elif session.json:
            session.write_json(session.client.inference.chat_completion(self.model, text, **self.parameters))
        elif stream:
            self.history = [text]
            self._answer()
        else:
            with session.waiting(f"waiting for {self.model}"):
                reply = session.client.chat(self.model, text, **self.parameters)
            session.write(reply.text + "\n" if reply.text else "")
            self._after(reply)

    def talk(self) -> None:
        """Talks until the user ends it."""
        import readline  # noqa: F401 - gives `input` editing and history

        self._note(f"{self.model} · /clear forgets what was said, /quit or Ctrl-D ends, Ctrl-C stops an answer")
        while True:
            try:
                text = self._read("you> ").strip()
            except EOFError:
                self._note("")
                return
            if text in ("/quit", "/exit"):
                return
            if text == "/clear":
                self.history.clear()
                self._note("forgotten")
            elif text:
                self._exchange(text)

    def _exchange(self, text: str) -> None:
        """One question and its answer; a failure or Ctrl-C takes both back."""
        before = list(self.history)
        self.history.append(text)
        try:
            reply = self._answer()
            while reply.tool_calls:
                self.history += [self._tool_result(call) for call in reply.tool_calls]
                reply = self._answer()
        except KeyboardInterrupt:
            self.history = before
            self._note("\nstopped")
        except EOFError:
            self.history = before
            self._note("\nno tool result: taken back")
        except CaravanError as error:
            self.history = before
            problems.report(error, self.session.err, target=self.session.client.target, as_json=False)

    def _answer(self) -> Reply:
        stream = self.session.client.chat(self.model, self.history, stream=True, **self.parameters)
        last = "\n"
        try:
            with self.session.waiting(f"waiting for {self.model}") as begun:
                for text in stream.texts():
                    begun()
                    self.session.write(text)
                    last = text
        finally:
            if not last.endswith("\n"):
                self.session.write("\n")
        reply = stream.so_far
        self.history.append(reply.message)
        self._after(reply)
        return reply

    def _after(self, reply: Reply) -> None:
        """What an answer has beside its text."""
        for call in reply.tool_calls:
            arguments = json.dumps(tool_arguments(call), ensure_ascii=False)
            self.session.out.print(
                f"[bold]{escape(call.tool_name)}[/] {escape(arguments)}", soft_wrap=True, emoji=False
            )
        if reply.stop_reason == "out_of_tokens":
            self._note("the answer was cut off: out of tokens (see --max-tokens)")
        if self.usage:
            self._note(", ".join(f"{name}: {count}" for name, count in reply.usage.items()))

    def _tool_result(self, call: types_pb2.ToolCall) -> MessageLike:
        result = self._read(f"result of {call.tool_name}> ")
        return {"role": "tool", "call_id": call.call_id, "tool_name": call.tool_name, "content": result}

    def _read(self, prompt: str) -> str:
        return input(prompt)

    def _note(self, text: str) -> None:
        self.session.err.print(text, style="dim", markup=False, soft_wrap=True)
