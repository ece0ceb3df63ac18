"""Processes that train one model together, a core each: every one computes batches of its own, and all take the mean of the gradients."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import multiprocessing

_TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Workers:
    """A worker among its like."""

    rank: int
    """Number of this process, from 0. The first one saves and reports."""
    count: int

    def mean_gradients(self, model: torch.nn.Module) -> None:
        """Sets the gradients of the model's parameters to the mean over all workers."""
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def run_workers(work: Callable[[Workers], None], count: int) -> None:
    """Runs `work` in `count` processes on this machine, each with one thread, and waits for all.

    Args:
        work: What each does; it has to be picklable.
        count: How many there are.

    Raises:
        torch.multiprocessing.ProcessRaisedException: One of them failed; the others are ended.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    multiprocessing.spawn(_worker, (work, count, port), nprocs=count)


def _worker(rank: int, work: Callable[[Workers], None], count: int, port: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=count, timeout=_TIMEOUT)
    try:
        work(Workers(rank, count))
    finally:
        dist.destroy_process_group()
