"""From vLLM's outputs to the domain's pieces and the contract's messages."""

from typing import Any

from vllm import PoolingRequestOutput, RequestOutput
from vllm.outputs import CompletionOutput

from caravan.inference.v1 import inference_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import CallCancelledError, InternalError
from services.inference.generation import Piece
from services.inference.usage import usage


def piece_of(output: RequestOutput, generated: int, end_of_message: int | None) -> Piece:
    """Turns one output into a piece.

    Args:
        output: What vLLM handed over.
        generated: Tokens generated so far, this output's included.
        end_of_message: Id of the control token that ends a message but not the turn, where the model has one.

    Raises:
        CallCancelledError: The engine was told to abort the call.
        InternalError: The engine failed on it.
    """
    completion = output.outputs[0]
    logprobs = _logprobs(completion) if completion.logprobs else []
    if not output.finished:
        return Piece(completion.text, completion.token_ids, logprobs=logprobs)
    return Piece(
        completion.text,
        completion.token_ids,
        stop_reason=_stop_reason(completion, end_of_message),
        logprobs=logprobs,
        metrics=usage(
            prompt=len(output.prompt_token_ids or ()), completion=generated, cached=output.num_cached_tokens or 0
        ),
    )


def embedding_response(outputs: list[PoolingRequestOutput[Any]]) -> inference_pb2.EmbeddingsResponse:
    """The response made of the vectors of several calls, in their order."""
    return inference_pb2.EmbeddingsResponse(
        embeddings=[inference_pb2.Embedding(values=output.outputs.data.float().tolist()) for output in outputs],
        metrics=usage(prompt=sum(len(output.prompt_token_ids) for output in outputs)),
    )


def _stop_reason(completion: CompletionOutput, end_of_message: int | None) -> types_pb2.StopReason.ValueType:
    match completion.finish_reason:
        case "length":
            return types_pb2.STOP_REASON_OUT_OF_TOKENS
        case "abort":
            raise CallCancelledError("the engine aborted the call")
        case "error":
            raise InternalError("the engine failed on this request; the service's log has the cause")
        case _:
            ends_message = end_of_message is not None and completion.stop_reason == end_of_message
            return types_pb2.STOP_REASON_END_OF_MESSAGE if ends_message else types_pb2.STOP_REASON_END_OF_TURN


def _logprobs(completion: CompletionOutput) -> list[types_pb2.TokenLogProbs]:
    """One map a token. Two tokens of the same text (parts of one character) share an entry: the likelier one's."""
    positions = []
    for candidates in completion.logprobs or ():
        by_token: dict[str, float] = {}
        for token_id, candidate in candidates.items():
            text = candidate.decoded_token or f"<token {token_id}>"
            by_token[text] = max(candidate.logprob, by_token.get(text, candidate.logprob))
        positions.append(types_pb2.TokenLogProbs(logprobs_by_token=by_token))
    return positions
