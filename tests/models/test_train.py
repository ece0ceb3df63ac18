"""The training loop, on a model and a tokenizer that are made within seconds."""

from collections.abc import Iterator
from random import Random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from models.recipe.batches import Encoder, batches
from models.recipe.branches import Batch
from models.recipe.chat import make_tokenizer
from models.recipe.scenarios import training_dialogs
from models.recipe.source import Source
from models.recipe.train import Architecture, Schedule, Trainer, build_model


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(seed=1, families=60)


def stream(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[tuple[Batch, ...]]:
    source = Source(seed)
    encoder = Encoder(tokenizer.backend_tokenizer)
    return batches(lambda: training_dialogs(source, 0.0), encoder, Random(seed), tokens=512, longest=512)


def trainer(tokenizer: PreTrainedTokenizerFast, steps: int) -> Trainer:
    torch.manual_seed(1)
    model = build_model(Architecture(layers=2), tokenizer)
    return Trainer(model, Schedule(steps), save=lambda _: None, log=lambda _: None, compiled=False)


def test_the_rates_rise_at_once_and_fall_at_the_end():
    schedule = Schedule(steps=1000)
    assert schedule.factor(0) < schedule.factor(5) < 1
    assert schedule.factor(50) == schedule.factor(200) == 1
    assert 1 > schedule.factor(800) > schedule.factor(900) > schedule.factor(999)


def test_a_stopped_run_goes_on_from_its_state(tokenizer: PreTrainedTokenizerFast):
    first = trainer(tokenizer, steps=2)
    first.run(stream(tokenizer, seed=3))
    second = trainer(tokenizer, steps=3)
    second.restore(first.state())
    assert second.step == 2
    assert torch.equal(second.model.lm_head.weight, first.model.lm_head.weight)
    second.run(stream(tokenizer, seed=4))
    assert second.step == 3
    assert not torch.equal(second.model.lm_head.weight, first.model.lm_head.weight)
