"""`caravan embed`: turns texts into vectors."""

from typing import Annotated

import typer

from caravan.cli.generation import Model, choose_model, piped
from caravan.cli.session import Session, with_session
from caravan.registry.v1 import models_pb2

SHOWN = 6


@with_session
def embed(
    session: Session,
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="The texts. Without them: the lines that are piped in.", show_default=False),
    ] = None,
    model: Model = None,
    dimension: Annotated[
        int | None, typer.Option("--dimension", min=1, help="Length of the vectors, for models that can shorten them.")
    ] = None,
) -> None:
    """Turn texts into vectors; --json writes them whole."""
    contents = texts or piped().splitlines()
    name = choose_model(session, model, models_pb2.MODEL_TYPE_EMBEDDING)
    with session.waiting(f"waiting for {name}"):
        response = session.client.inference.embeddings(name, contents, output_dimension=dimension)
    if session.json:
        session.write_json(response)
        return
    rows = [
        [text, str(len(embedding.values)), " ".join(f"{value:+.4f}" for value in embedding.values[:SHOWN]) + " …"]
        for text, embedding in zip(contents, response.embeddings, strict=True)
    ]
    session.write_table(["text", "length", "vector"], rows, empty="no vectors")
