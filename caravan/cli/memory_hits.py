"""Hits of a search, written for people."""

import textwrap
from collections.abc import Sequence
from typing import Protocol

from caravan.cli.session import Session
from caravan.memory.v1 import query_pb2
from caravan.messages import text_of

_WIDTH = 100
_SNIPPET = 500


class Found(Protocol):
    """What a search returns."""

    @property
    def chunks(self) -> Sequence[query_pb2.Chunk]:
        """The chunks, best first."""

    @property
    def scores(self) -> Sequence[float]:
        """Their scores."""

    @property
    def hit_details(self) -> Sequence[query_pb2.HitDetails]:
        """How they came to them."""


def write(session: Session, found: Found, *, whole: bool) -> None:
    """Writes hits: place, score, where it stands, and the text.

    Args:
        session: Where to.
        found: The hits.
        whole: Write chunks whole.
    """
    if not found.chunks:
        session.err.print("nothing was found", markup=False)
    for place, (chunk, score, details) in enumerate(zip(found.chunks, found.scores, found.hit_details, strict=True), 1):
        _write_hit(session, f"{place}. {score:.4f}", chunk, details, whole=whole)


def _write_hit(
    session: Session, head: str, chunk: query_pb2.Chunk, details: query_pb2.HitDetails, *, whole: bool
) -> None:
    where = [chunk.document_id or chunk.chunk_id]
    if chunk.location.page:
        where.append(f"page {chunk.location.page}")
    if chunk.location.headings:
        where.append(" > ".join(chunk.location.headings))
    if chunk.HasField("location"):
        where.append(f"characters {chunk.location.start} to {chunk.location.end}")
    stages = [
        f"{name} {getattr(details, name + '_score'):.3f}"
        for name in ("vector", "keyword", "graph", "fused", "rerank")
        if details.HasField(f"{name}_score")  # type: ignore[arg-type]
    ]
    session.write(f"{head}  {details.bank_id}: {', '.join(where)}\n")
    if len(stages) > 1:
        session.write(f"   {', '.join(stages)}\n")
    text = text_of(chunk.content)
    if whole:
        session.write(textwrap.indent(text.rstrip("\n"), "   ") + "\n\n")
        return
    short = textwrap.shorten(text, _SNIPPET, placeholder=" …")
    session.write(textwrap.fill(short, _WIDTH, initial_indent="   ", subsequent_indent="   ") + "\n\n")
