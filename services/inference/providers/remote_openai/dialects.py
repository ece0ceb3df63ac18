"""Where OpenAI-compatible servers depart from OpenAI's API, as data.

Sources:
    openai: https://platform.openai.com/docs/api-reference (chat, completions, embeddings).
    nvidia: https://docs.nvidia.com/nim/large-language-models/ (structured generation, `nvext`) and
        https://docs.nvidia.com/nim/nemo-retriever/text-embedding/latest/reference.html (`truncate`).
    tgi: https://github.com/huggingface/text-generation-inference, `router/src/lib.rs` (`ChatRequest`, `CompletionRequest`, `GrammarType`).
        Its chat endpoint reads `presence_penalty` as something else, so it is not sent. Embeddings are those of its sister
        text-embeddings-inference.
    ollama: https://docs.ollama.com/api/openai-compatibility. Text completions go through the model's own template there, and a text too
        long to embed is cut at its end without a word.
    vllm: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from caravan.inference.v1 import inference_pb2
from services.inference.providers.remote_openai.config import DialectName
from services.inference.tool_calls.json_values import JsonObject

Path: TypeAlias = tuple[str, ...]
"""Keys that lead to a value in a request's body."""

SchemaForm: TypeAlias = Callable[[JsonObject], JsonObject]
"""Makes of a JSON Schema the part of the body that enforces it."""


def put(body: JsonObject, path: Path, value: Any) -> None:
    """Writes a value into a body, making the objects on the way."""
    for key in path[:-1]:
        body = body.setdefault(key, {})
    body[path[-1]] = value


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one generating endpoint takes and where."""

    sampling: Mapping[str, Path]
    """Place of each sampling parameter, by its name in the contract. One that is missing is refused."""
    max_tokens: str = "max_tokens"
    """Name of the limit."""
    no_limit: Literal["omit", "context"] | None = "omit"
    """How to ask for as many tokens as the context holds: give no limit, or the length of the context. None: it cannot be asked."""
    neutral: JsonObject = field(default_factory=dict)
    """Values that undo the server's own defaults, sent unless the request says otherwise."""
    no_op: JsonObject = field(default_factory=dict)
    """Values that mean nothing and that the server refuses, so they are left out."""
    json_schema: SchemaForm | None = None
    """How a JSON Schema is enforced. None: it is not."""
    grammar: Path | None = None
    """Place of a grammar. None: it takes none."""
    logprobs: Literal["flag", "count"] | None = None
    """How log probabilities are asked for: `logprobs` and `top_logprobs`, or `logprobs` as a number. None: not at all."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server."""

    title: str
    """What to call the server in messages."""
    chat: Endpoint
    """`/chat/completions`."""
    completion: Endpoint
    """`/completions`."""
    constants: JsonObject = field(default_factory=dict)
    """Fields of every generation."""
    tool_choice: Literal["enforced", "auto"] = "enforced"
    """Whether a tool choice beyond auto is heeded."""
    strict_calls: bool = False
    """Whether the arguments of a demanded call follow the tool's schema only when it is marked `strict`."""
    implied_tag: str = ""
    """What the server's list appends to a name that is used without."""
    max_stop: int | None = None
    """Most stop sequences. None: no limit is known."""
    dimensions: bool = True
    """Whether the length of vectors can be chosen."""
    encoding_format: Literal["float", "base64"] = "float"
    """Form of the vectors on the wire."""
    truncation: Mapping[inference_pb2.TextTruncation.ValueType, JsonObject] = field(
        default_factory=lambda: {inference_pb2.TEXT_TRUNCATION_UNSPECIFIED: {}, inference_pb2.TEXT_TRUNCATION_NONE: {}}
    )
    """Fields for each treatment of a content that is too long to embed. One that is missing is refused."""


def _response_format(**more: Any) -> SchemaForm:
    return lambda schema: {
        "response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": schema, **more}}
    }


def _guided_json(schema: JsonObject) -> JsonObject:
    return {"nvext": {"guided_json": schema}}


def _tgi_json(schema: JsonObject) -> JsonObject:
    return {"response_format": {"type": "json", "value": schema}}


def _same(*names: str) -> dict[str, Path]:
    return {name: (name,) for name in names}


_OPENAI = _same("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "stop")
_NVIDIA = {**_OPENAI, "top_k": ("nvext", "top_k"), "repetition_penalty": ("nvext", "repetition_penalty")}
_VLLM = {**_OPENAI, **_same("top_k", "repetition_penalty")}
_VLLM_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
_TGI = _same("temperature", "top_p", "seed", "frequency_penalty", "stop")

DIALECTS: Mapping[DialectName, Dialect] = {
    "openai": Dialect(
        title="OpenAI's API",
        chat=Endpoint(
            _OPENAI, max_tokens="max_completion_tokens", json_schema=_response_format(strict=True), logprobs="flag"
        ),
        completion=Endpoint(_OPENAI, no_limit=None, logprobs="count"),
        max_stop=4,
        encoding_format="base64",
    ),
    "nvidia": Dialect(
        title="NVIDIA NIM",
        chat=Endpoint(_NVIDIA, json_schema=_guided_json, grammar=("nvext", "guided_grammar"), logprobs="flag"),
        completion=Endpoint(
            _NVIDIA, no_limit=None, json_schema=_guided_json, grammar=("nvext", "guided_grammar"), logprobs="count"
        ),
        constants={"n": 1},
        truncation={
            inference_pb2.TEXT_TRUNCATION_UNSPECIFIED: {"truncate": "NONE"},
            inference_pb2.TEXT_TRUNCATION_NONE: {"truncate": "NONE"},
            inference_pb2.TEXT_TRUNCATION_START: {"truncate": "START"},
            inference_pb2.TEXT_TRUNCATION_END: {"truncate": "END"},
        },
    ),
    "tgi": Dialect(
        title="Text Generation Inference",
        chat=Endpoint(_TGI, no_op={"top_p": 1.0}, json_schema=_tgi_json, logprobs="flag"),
        completion=Endpoint({**_TGI, **_same("repetition_penalty")}, no_op={"top_p": 1.0}),
        max_stop=4,
        dimensions=False,
    ),
    "ollama": Dialect(
        title="Ollama",
        chat=Endpoint(_OPENAI, json_schema=_response_format(), logprobs="flag"),
        completion=Endpoint(_OPENAI),
        tool_choice="auto",
        implied_tag=":latest",
        truncation={inference_pb2.TEXT_TRUNCATION_UNSPECIFIED: {}, inference_pb2.TEXT_TRUNCATION_END: {}},
    ),
    "vllm": Dialect(
        title="vLLM",
        chat=Endpoint(
            _VLLM,
            neutral=_VLLM_NEUTRAL,
            json_schema=_response_format(),
            grammar=("structured_outputs", "grammar"),
            logprobs="flag",
        ),
        completion=Endpoint(
            _VLLM,
            no_limit="context",
            neutral=_VLLM_NEUTRAL,
            json_schema=_response_format(),
            grammar=("structured_outputs", "grammar"),
            logprobs="count",
        ),
        strict_calls=True,
        encoding_format="base64",
        truncation={
            inference_pb2.TEXT_TRUNCATION_UNSPECIFIED: {},
            inference_pb2.TEXT_TRUNCATION_NONE: {},
            inference_pb2.TEXT_TRUNCATION_START: {"truncate_prompt_tokens": -1, "truncation_side": "left"},
            inference_pb2.TEXT_TRUNCATION_END: {"truncate_prompt_tokens": -1, "truncation_side": "right"},
        },
    ),
}
"""The dialects by name."""
