"""`caravan complete`: continues a text."""

from typing import Annotated

import typer

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
)
from caravan.cli.session import Session, with_session
from caravan.registry.v1 import models_pb2


@with_session
def complete(  # noqa: PLR0913 - one parameter an option
    session: Session,
    *,
    text: Annotated[
        str | None, typer.Argument(help="The text to continue. Without it: what is piped in.", show_default=False)
    ] = None,
    model: Model = None,
    stream: Streamed = None,
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
    """Continue a text, without a chat's prompt format."""
    parameters = given(
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        stop=stop,
        repetition_penalty=repetition_penalty,
        **answer_format(format_name, json_schema),
    )
    prompt = text if text is not None else piped()
    name = choose_model(session, model, models_pb2.MODEL_TYPE_LLM)
    streamed = not session.json if stream is None else stream
    if session.json and not streamed:
        session.write_json(session.client.inference.completion(name, prompt, **parameters))
        return
    if session.json:
        for piece in session.client.complete(name, prompt, stream=True, **parameters):
            session.write_json_line(piece)
        return
    with session.waiting(f"waiting for {name}") as begun:
        texts = session.client.complete(name, prompt, stream=True, **parameters).texts()
        for some in texts if streamed else ["".join(texts)]:
            begun()
            session.write(some)
    session.write("\n")
