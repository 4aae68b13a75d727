"""Depth hints for training, made once: the depth model's answer for every source.

In the service the hint comes from that model, so it must in training: a network that has learnt from exact depth trusts
it too much.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import nn

from .pairs import SOURCES, Pair

SAVE_EVERY = 16
"""Rooms between two records of the progress."""


class Rooms(Protocol):
    """Sources and targets of rooms; ``data.dataset.Dataset`` is one."""

    def __len__(self) -> int: ...

    def source(self, index: int, number: int) -> NDArray[np.uint8]:
        """UINT8 [H,W,3] of a room with the look ``pairs.SOURCES[number]``."""
        ...

    def pairs(self, index: int) -> tuple[Pair, ...]: ...

    def target(self, index: int, number: int) -> NDArray[np.uint8]:
        """UINT8 [H,W,3] of ``pairs(index)[number]``."""
        ...

    def depth(self, index: int) -> NDArray[np.float32]:
        """Metres [H,W], along the view axis."""
        ...

    def room_type(self, index: int) -> str: ...


def seen_depth(rooms: Rooms, depth_model: nn.Module, folder: Path) -> NDArray[np.uint8]:
    """UINT8 [N,sources,H,W], white = near: ``depth_model`` on every source; memory-mapped in ``folder``.

    Continues where an earlier call stopped; starts again for another model or another number of rooms.
    """
    folder.mkdir(parents=True, exist_ok=True)
    height, width, _ = rooms.source(0, 0).shape
    shape = (len(rooms), len(SOURCES), height, width)
    wanted = {"depth_model": weights_digest(depth_model), "shape": list(shape)}
    note, file = folder / "note.json", folder / "depth.npy"
    kept: dict[str, Any] = json.loads(note.read_text()) if note.is_file() else {}
    done = kept.pop("done", 0) if {k: v for k, v in kept.items() if k != "done"} == wanted else 0
    answers: Any = open_memmap(file, "r+" if done else "w+", np.uint8, shape)
    for index in range(done, len(rooms)):
        answers[index] = _depths(rooms, index, depth_model)
        if (index + 1) % SAVE_EVERY == 0 or index + 1 == len(rooms):
            answers.flush()
            part = note.with_suffix(".part")
            part.write_text(json.dumps({**wanted, "done": index + 1}))
            os.replace(part, note)
    seen: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return seen


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of a network's weights, whatever their precision."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def _depths(rooms: Rooms, index: int, depth_model: nn.Module) -> NDArray[np.uint8]:
    pictures = np.stack([rooms.source(index, number) for number in range(len(SOURCES))])
    device = next(depth_model.parameters()).device
    answers: NDArray[np.uint8] = depth_model(torch.from_numpy(pictures).to(device)).cpu().numpy()
    return answers
