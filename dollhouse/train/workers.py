"""Several processes that train one network: each makes its share of a step's batch, and gradients are averaged.

Two processes of one thread each get a fifth more done on two cores than one of two threads. Gradients go through
torch.distributed's gloo, over the loopback interface.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from subprocess import Popen

import torch
import torch.distributed as together
from torch import Tensor

PATIENCE = timedelta(minutes=10)
"""How long a worker waits for the others: for a step, or for work that the first does alone."""


@dataclass(frozen=True)
class Workers:
    """One of ``count`` processes; the first one keeps checkpoints, logs and samples."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def average(self, gradients: Sequence[Tensor]) -> None:
        """Replace the gradients by their means over all workers."""
        if self.count == 1:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        together.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def agree(self, value: float) -> float:
        """Returns the first worker's value in all of them."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        together.broadcast(shared, 0)
        return float(shared)


ALONE = Workers()


def join(rank: int, count: int, meeting: Path) -> Workers:
    """Connect to the other workers through the file ``meeting``, which must be new for every run."""
    if count > 1:
        together.init_process_group(
            "gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=count, timeout=PATIENCE
        )
    return Workers(rank, count)


def start_others(module: str, arguments: Sequence[str], count: int, meeting: Path) -> list[Popen[bytes]]:
    """Start ``python -m module`` as workers 1 … ``count`` − 1, with this process's standard output and process group.

    When one of them dies, the next step of the others raises RuntimeError.
    """
    meeting.parent.mkdir(parents=True, exist_ok=True)
    meeting.unlink(missing_ok=True)
    return [
        Popen([sys.executable, "-m", module, *arguments, "--rank", str(rank)]) for rank in range(1, count)
    ]
