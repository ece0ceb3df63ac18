"""Vectors of texts as a bank wants them: of its length, finite, with a direction."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from caravan.registry.v1 import memory_banks_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.memory.banks import Bank
from services.memory.ports import Embedder

# The product of two such vectors is still a finite single-precision number.
_MOST_NORM = 1e18
_SPECIAL_TOKENS = 2
# A model that says nothing of its context reads as much as the smallest common ones.
_CONTEXT = 512


async def embedded(
    bank: Bank, embedder: Embedder, texts: Sequence[str], counts: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Returns the vectors of texts by a bank's embedding model, shape (texts, dimension).

    A text that is longer than the model's context is read in parts of equal length, and its vector is their mean, weighted by length:
    nothing of it is passed over.

    Args:
        bank: The bank; it has an embedding model.
        embedder: Asks the model.
        texts: The texts.
        counts: Their lengths in tokens. None: not known.

    Raises:
        FailedPreconditionError: The model is gone, or gives vectors that cannot be used.
        UnavailableError: It does not answer.
    """
    assert bank.model is not None
    assert bank.spec.dimension is not None
    context = max(1, (bank.model.context_length or _CONTEXT) - _SPECIAL_TOKENS)
    # Where nobody has counted: no token is shorter than a byte.
    lengths = counts if counts is not None else [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    long = [place for place, length in enumerate(lengths) if length > context]
    split = await asyncio.to_thread(lambda: {place: _parts(bank, texts[place], context) for place in long})
    parts: list[str] = []
    shares: list[tuple[int, int]] = []
    for place, text in enumerate(texts):
        own = split.get(place, [text])
        shares.append((len(parts), len(own)))
        parts += own
    vectors = await embedder.embed(bank.model, bank.spec.dimension, parts)
    if len(parts) > len(texts):
        weights = [len(part) for part in parts]
        vectors = np.stack([_mean(vectors[at : at + count], weights[at : at + count]) for at, count in shares])
    problem = unusable(vectors, bank.spec.metric)
    if problem:
        message = f"the embedding model {bank.model.model_id!r} gives a vector that {problem}"
        raise FailedPreconditionError(message, reason="EMBEDDING_UNUSABLE")
    return vectors


def given(bank: Bank, values: Sequence[float], field: str) -> NDArray[np.float32]:
    """Returns a caller's own vector.

    Args:
        bank: The bank that it is for.
        values: The components.
        field: Path of the request's field, for errors.

    Raises:
        FailedPreconditionError: The bank has no vectors.
        InvalidArgumentError: It has another length, or is not finite, or has no direction, or is too long.
    """
    dimension = bank.spec.dimension
    if dimension is None:
        message = f"memory bank {bank.bank_id!r} has no vectors; send text"
        raise FailedPreconditionError(message, reason="BANK_WITHOUT_VECTORS")
    if len(values) != dimension:
        description = f"has {len(values)} components, and the vectors of this bank have {dimension}"
        raise InvalidArgumentError.of(field, description, reason="WRONG_DIMENSION")
    vector = np.array(values, np.float32)
    problem = unusable(vector[None, :], bank.spec.metric)
    if problem:
        raise InvalidArgumentError.of(field, problem, reason="VECTOR_UNUSABLE")
    return vector


def unusable(vectors: NDArray[np.float32], metric: memory_banks_pb2.VectorMetric.ValueType) -> str:
    """Returns what is wrong with vectors, or an empty string."""
    if not np.isfinite(vectors).all():
        return "must be finite: it holds NaN or infinity"
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if (norms > _MOST_NORM).any():
        return f"must be shorter than {_MOST_NORM:g}"
    if metric == memory_banks_pb2.VECTOR_METRIC_COSINE and (norms < 1 / _MOST_NORM).any():
        return "must have a direction: it is zero, or as good as zero, and the bank compares angles"
    return ""


def _parts(bank: Bank, text: str, context: int) -> list[str]:
    """Cuts a text into the fewest parts of about equal length that fit into the context."""
    ends = bank.tokenizer.token_ends(text)
    if len(ends) <= context:
        return [text]
    count = -(-len(ends) // context)
    bounds = [len(ends) * number // count for number in range(count + 1)]
    cuts = [0, *(int(ends[bound - 1]) for bound in bounds[1:-1]), len(text)]
    parts = [text[start:end] for start, end in pairwise(cuts)]
    return [part for part in parts if part.strip()] or [text]


def _mean(vectors: NDArray[np.float32], weights: Sequence[int]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1)
    mean = np.average(vectors, axis=0, weights=weights)
    # As long as the parts are: models that normalise give unit vectors.
    scaled: NDArray[np.float32] = (mean * (lengths.mean() / max(float(np.linalg.norm(mean)), 1e-12))).astype(np.float32)
    return scaled
