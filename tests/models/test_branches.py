"""Dialogs that begin alike: encoded once, computed once, and the same as each by itself."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from models.recipe.batches import Encoder, Tree
from models.recipe.branches import NO_LABEL, hidden_states
from models.recipe.chat import make_tokenizer
from models.recipe.dialog import Dialog, Turn
from models.recipe.render import OPEN_ASSISTANT, render
from models.recipe.scenarios import training_dialogs
from models.recipe.source import Source
from models.recipe.train import Architecture, build_model

SAID = ("Hi", "How are you?", "What is 3 + 4?", "Tell me a joke.")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(seed=1, families=60)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(1)
    return build_model(Architecture(layers=3), tokenizer)


@pytest.fixture(scope="module")
def families() -> list[list[Dialog]]:
    """Dialogs that begin alike, of every kind."""
    source = Source(5)
    return [training_dialogs(source, progress=0.5) for _ in range(6)]


@pytest.fixture(scope="module")
def trees(tokenizer: PreTrainedTokenizerFast, families: Sequence[Sequence[Dialog]]) -> list[Tree]:
    encoder = Encoder(tokenizer.backend_tokenizer)
    return [encoder.tree(dialogs) for dialogs in families]


def test_a_beginning_and_a_branch_are_the_ids_of_the_whole_dialog(
    tokenizer: PreTrainedTokenizerFast, families: Sequence[Sequence[Dialog]], trees: Sequence[Tree]
):
    for dialogs, tree in zip(families, trees, strict=True):
        for dialog, branch in zip(dialogs, tree.branches, strict=True):
            whole = tokenizer.encode(render(dialog), add_special_tokens=False)
            assert [*tree.beginning.ids, *branch.ids] == whole


def test_dialogs_over_one_set_of_tools_share_the_tools(
    tokenizer: PreTrainedTokenizerFast, families: Sequence[Sequence[Dialog]], trees: Sequence[Tree]
):
    for dialogs, tree in zip(families, trees, strict=True):
        shared = tokenizer.decode(tree.beginning.ids)
        assert all(tool.name in shared for tool in dialogs[0].tools)


def test_only_what_the_assistant_says_counts(
    tokenizer: PreTrainedTokenizerFast, families: Sequence[Sequence[Dialog]], trees: Sequence[Tree]
):
    for dialogs, tree in zip(families, trees, strict=True):
        for dialog, branch in zip(dialogs, tree.branches, strict=True):
            said = tokenizer.decode([label for label in branch.labels if label != NO_LABEL])
            parts = render(dialog).split(OPEN_ASSISTANT)[1:]
            assert said == "".join(part.split("<|start_header_id|>")[0] for part in parts)


def test_sharing_a_beginning_gives_what_each_dialog_gives_by_itself(
    tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM, trees: Sequence[Tree]
):
    batch = Encoder(tokenizer.backend_tokenizer).batch(trees)
    labels = batch.labels()
    wanted = labels != NO_LABEL
    with torch.no_grad():
        logits = model.lm_head(hidden_states(model, batch)[wanted])
        together = torch.nn.functional.cross_entropy(logits, labels[wanted], reduction="sum")
        apart = torch.zeros(())
        for tree in trees:
            for branch in tree.branches:
                logits = model(torch.tensor([[*tree.beginning.ids, *branch.ids]])).logits[0, len(tree.beginning.ids) :]
                own = torch.tensor(branch.labels)
                apart += torch.nn.functional.cross_entropy(
                    logits[own != NO_LABEL], own[own != NO_LABEL], reduction="sum"
                )
    assert torch.allclose(together, apart, rtol=1e-5)


def test_a_branch_does_not_see_another(tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM):
    encoder = Encoder(tokenizer.backend_tokenizer)
    system = Turn("system", "Be brief.")
    dialogs = [Dialog((system, Turn("user", said), Turn("assistant", "Yes."))) for said in SAID]
    others = [
        *dialogs[:-1],
        replace(dialogs[-1], turns=(system, Turn("user", "Tell me a joke!"), Turn("assistant", "Yes."))),
    ]
    batches = [encoder.batch([encoder.tree(family)]) for family in (dialogs, others)]
    with torch.no_grad():
        one, other = (hidden_states(model, batch) for batch in batches)
    same = torch.cat([batches[0].beginnings.flatten(), batches[0].lanes.flatten()]) == torch.cat(
        [batches[1].beginnings.flatten(), batches[1].lanes.flatten()]
    )
    assert not bool(same.all())
    first_of_the_changed = int((~same).nonzero()[0])
    assert torch.allclose(one[:first_of_the_changed], other[:first_of_the_changed], atol=1e-5)
