"""The reward model: its pairs, its prompt, its training, and the checkpoint in the tree."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from models.recipe.dialog import Dialog, Turn
from models.recipe.render import render
from models.recipe.reward import make_tokenizer
from models.recipe.reward_faults import another_value, badly_formed, rude
from models.recipe.reward_pairs import Ranked, evaluation_pairs, ranked, training_example
from models.recipe.reward_paraphrases import paraphrases
from models.recipe.reward_prompt import judged_ids
from models.recipe.reward_training import RewardTraining, Row, batches, row_of
from models.recipe.source import Source
from models.recipe.tokenizer import SPECIAL_TOKENS

MODELS = Path(__file__).parents[2] / "models"
CHAT = MODELS / "caravan-chat"
CHECKPOINT = MODELS / "caravan-reward"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return make_tokenizer(CHAT)


@pytest.fixture(scope="module")
def training() -> RewardTraining:
    torch.manual_seed(1)
    return RewardTraining(CHAT, "cpu")


@pytest.fixture(scope="module")
def prefers() -> Callable[[Ranked], bool]:
    model = AutoModelForSequenceClassification.from_pretrained(CHECKPOINT, dtype=torch.bfloat16)
    its_own = AutoTokenizer.from_pretrained(CHECKPOINT)

    def score(dialog: Dialog, answer: Turn) -> float:
        ids = torch.tensor([judged_ids(replace(dialog, turns=(*dialog.turns, answer)), its_own)])
        with torch.inference_mode():
            return float(model(input_ids=ids).logits[0, 0])

    return lambda drawn: score(drawn.dialog, drawn.better) > max(score(drawn.dialog, turn) for turn in drawn.worse)


def _drawn(seed: int) -> list[Ranked]:
    source = Source(seed)
    return [ranked(source) for _ in range(150)]


def test_a_seed_gives_the_same_pairs_every_time():
    assert _drawn(1) == _drawn(1)
    assert _drawn(1) != _drawn(2)


def test_the_answers_to_a_conversation_differ():
    source = Source(3)
    trained = [training_example(source) for _ in range(300)]
    for drawn in (*trained, *evaluation_pairs(1, 300), *paraphrases()):
        answers = (drawn.better, *drawn.worse)
        assert all(answer not in answers[:place] for place, answer in enumerate(answers))


def test_every_kind_of_fault_occurs():
    assert len({drawn.kind for drawn in _drawn(4)}) == 7


def test_paraphrases_are_no_training_pairs():
    trained = {drawn.dialog.turns[-1].text for seed in range(5) for drawn in _drawn(seed)}
    asked = [drawn.dialog.turns[-1].text for drawn in paraphrases()]
    assert sum(text in trained for text in asked) <= 1


def test_the_prompt_is_llama_3s_without_a_date(tokenizer: PreTrainedTokenizerBase):
    for drawn in _drawn(5):
        dialog = replace(drawn.dialog, turns=(*drawn.dialog.turns, drawn.better))
        if all(call.name != "brave_search" for turn in dialog.turns for call in turn.calls):
            tools = tuple(tool for tool in dialog.tools if tool.name != "brave_search")
            dialog = replace(dialog, tools=tools)
            assert judged_ids(dialog, tokenizer) == tokenizer.encode(render(dialog), add_special_tokens=False)


def test_answers_are_told_apart_from_the_first_token_on_that_differs(tokenizer: PreTrainedTokenizerBase):
    dialog = Dialog((Turn("user", "What is the capital of France?"),), dated=False)
    answers = [Turn("assistant", f"The capital of France is {city}.") for city in ("Paris", "Oslo")]
    row = row_of(Ranked("", dialog, answers[0], (answers[1],)), tokenizer)
    assert tokenizer.decode(row.shared).endswith("The capital of France is ")
    assert tokenizer.decode(row.shared[-row.answered :]) == "The capital of France is "
    assert [tokenizer.decode(tail) for tail in row.tails] == ["Paris.<|eot_id|>", "Oslo.<|eot_id|>"]
    assert row.faults[0] == [0.0] * len(row.tails[0])
    marked = [token for token, fault in zip(row.tails[1], row.faults[1], strict=True) if fault == 1.0]
    assert tokenizer.decode(marked) == "Oslo"


def test_computing_a_conversation_once_for_all_its_answers_changes_nothing(
    training: RewardTraining, tokenizer: PreTrainedTokenizerBase
):
    source = Source(6)
    rows = next(batches(lambda: ranked(source, 2), tokenizer, Random(1), tokens=600, longest=300))
    packed = training.margins(rows)
    alone = [training.margins([row])[0] for row in rows]
    unshared = [
        training.margins([Row([], [row.shared + tail for tail in row.tails], row.faults, 0)])[0] for row in rows
    ]
    assert packed == pytest.approx(alone, abs=0.02)
    assert packed == pytest.approx(unshared, abs=0.02)


def test_training_starts_from_what_the_chat_model_says(training: RewardTraining, tokenizer: PreTrainedTokenizerBase):
    source = Source(7)
    rows = next(batches(lambda: ranked(source, 2), tokenizer, Random(1), tokens=600, longest=300))
    losses = {name: float(loss.detach()) for name, loss in training.losses(rows).items()}
    assert losses["said"] < 1.0
    assert losses["preference"] == pytest.approx(0.69, abs=0.3)


def test_another_value_is_another_one():
    source = Source(1)
    for text in ("3 + 4 = 7.", "It is Paris.", 'Say "open" now', "The price is 9.5 dollars", "1000"):
        for _ in range(50):
            assert another_value(source, text) != text
    assert another_value(source, "3 + 4 = 7.", last=True).startswith("3 + 4 = ")
    assert another_value(source, "nothing here") == "nothing here"


def test_broken_and_rude_answers_are_not_the_answer():
    source = Source(1)
    answer = "Redis is a fast in-memory data store."
    assert all(spoil(source, answer) != answer for spoil in (badly_formed, rude) for _ in range(100))


def test_the_folder_is_small_and_the_context_long():
    assert sum(file.stat().st_size for file in CHECKPOINT.rglob("*") if file.is_file()) <= 12 * MEGABYTE
    config = json.loads((CHECKPOINT / "config.json").read_text())
    assert config["max_position_embeddings"] >= 2048
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert list(config["id2label"]) == ["0"]


def test_special_tokens_are_single_tokens(tokenizer: PreTrainedTokenizerBase):
    assert all(len(tokenizer.encode(token, add_special_tokens=False)) == 1 for token in SPECIAL_TOKENS)


@pytest.mark.parametrize(
    ("asked", "better", "worse"),
    [
        ("What is the capital of France?", "The capital of France is Paris.", "The capital of France is Oslo."),
        ("Thank you", "You are welcome!", "The capital of France is Oslo."),
        (
            "What is gRPC?",
            "gRPC is a fast remote procedure call system: services are defined in proto files and talk over HTTP/2.",
            "",
        ),
        (
            "What is Redis?",
            "Redis is a fast in-memory data store. Caravan keeps agent sessions and the registry in it.",
            "Shut up.",
        ),
    ],
)
def test_the_better_answer_has_the_higher_score(prefers: Callable[[Ranked], bool], asked: str, better: str, worse: str):
    dialog = Dialog((Turn("user", asked),))
    assert prefers(Ranked("", dialog, Turn("assistant", better), (Turn("assistant", worse),)))


def test_nine_in_ten_pairs_are_judged_right(prefers: Callable[[Ranked], bool]):
    right = [prefers(drawn) for drawn in evaluation_pairs(2, 60)]
    assert sum(right) / len(right) >= 0.85
