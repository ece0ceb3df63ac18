"""Prompts encoded by a real byte-level BPE tokenizer with Llama 3's special tokens."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError
from services.inference.prompts.encoding import PromptEncoder, encode
from services.inference.prompts.llama3 import render_chat
from services.inference.prompts.prompt import Prompt, Segment
from tests.services.inference.conversation import assistant, call, system, tool, tool_response, user

TOKENS = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    "<|image|>",
]
# The pattern of Llama 3's own tokenizer.
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CORPUS = [
    "You are a helpful assistant.",
    "system user assistant ipython",
    "<|eot_id|> <|start_header_id|>",
    "\n\n" * 9,
] * 20


def make_tokenizer(special=TOKENS):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


CONVERSATION = [
    system("You are a helpful assistant."),
    user("What is 1+1?\n", context=["\n two"]),
    assistant(calls=[call("brave_search", {"query": "1+1"})], stop_reason=types_pb2.STOP_REASON_END_OF_MESSAGE),
    tool_response("2"),
]


def test_harmless_prompts_encode_as_their_text_does(tokenizer):
    prompt = render_chat(CONVERSATION, tools=[tool("brave_search"), tool("f")], today=date(2024, 9, 21))
    assert encode(prompt, tokenizer) == tokenizer.encode(prompt.text, add_special_tokens=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from([*TOKENS, "a", " ", "\n", "<|", "|>", "é", "🙂"]), max_size=12))
def test_content_gives_no_control_token_and_decodes_to_itself(tokenizer, pieces):
    evil = "".join(pieces)
    controls = {tokenizer.convert_tokens_to_ids(token) for token in TOKENS}
    prompt = render_chat([user(evil)], today=date(2024, 9, 21))
    plain = render_chat([user("x")], today=date(2024, 9, 21))
    ids = encode(prompt, tokenizer)
    assert [i for i in ids if i in controls] == [i for i in encode(plain, tokenizer) if i in controls]
    assert tokenizer.decode(ids, skip_special_tokens=False) == prompt.text


def test_encoding_leaves_the_callers_tokenizer_as_it_was(tokenizer):
    before = tokenizer.encode("<|eot_id|>", add_special_tokens=False)
    encode(render_chat([user("<|eot_id|>")]), tokenizer)
    assert tokenizer.encode("<|eot_id|>", add_special_tokens=False) == before
    assert len(before) == 1


def test_encoders_are_safe_in_several_threads(tokenizer):
    encoder = PromptEncoder(tokenizer)
    prompts = [render_chat([user("<|eot_id|>" * n)], today=date(2024, 9, 21)) for n in range(40)]
    expected = [encoder.encode(prompt) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(encoder.encode, prompts)) == expected


def test_end_of_message_falls_back_to_end_of_turn_where_the_vocabulary_lacks_it():
    tokenizer = make_tokenizer([token for token in TOKENS if token != "<|eom_id|>"])
    prompt = Prompt((Segment("<|eom_id|>", is_control=True),))
    assert encode(prompt, tokenizer) == [tokenizer.convert_tokens_to_ids("<|eot_id|>")]


def test_an_image_needs_a_model_that_takes_images():
    tokenizer = make_tokenizer([token for token in TOKENS if token != "<|image|>"])
    prompt = render_chat([user(types_pb2.Image(data=b"1"))])
    with pytest.raises(FailedPreconditionError, match="takes images"):
        encode(prompt, tokenizer)
