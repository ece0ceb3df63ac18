"""Processes that train together take the same step."""

from functools import partial
from pathlib import Path

import torch

from models.recipe.workers import Workers, run_workers


def _take_a_step(folder: Path, workers: Workers) -> None:
    """Each worker sees other data, and writes down the weight that it has after a step."""
    layer = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    layer(torch.full((1, 2), float(workers.rank))).backward()
    workers.mean_gradients(layer)
    torch.optim.SGD(layer.parameters(), lr=1.0).step()
    torch.save(layer.weight.detach(), folder / f"{workers.rank}.pt")


def test_all_workers_take_the_mean_of_their_gradients(tmp_path: Path):
    run_workers(partial(_take_a_step, tmp_path), count=2)
    # The gradients are 0 and 1.
    for rank in range(2):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt"), torch.full((1, 2), 0.5))
