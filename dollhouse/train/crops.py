"""Batches of crops for the training of the denoisers: drawn from rendered rooms, jittered, with hints and captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing import get_context

from dollhouse.data.captions import StyleWords, Tokens, caption, unconditional
from dollhouse.data.hints import canny, depth_bytes, perturb_depth
from dollhouse.data.jitter import jittered
from dollhouse.data.prepared import Rooms
from dollhouse.render.looks import STYLES

from .grids import signal_of
from .loop import step_randomness
from .prefetch import Prefetch
from .recipe import DiffusionSettings, Phase
from .sampling import SHOWN


@dataclass(frozen=True)
class Batch:
    """B crops as the networks take them: the photo of a room, its hints, its caption and the room restyled."""

    sources: Tensor
    """FP32 [B,3,H,W] in −1..1."""
    targets: Tensor
    """FP32 [B,3,H,W] in −1..1."""
    depth: Tensor
    """FP32 [B,1,H,W] in 0..1, white = near."""
    edges: Tensor
    """FP32 [B,1,H,W], 0 or 1."""
    ids: Tensor
    """INT64 [B,77]."""
    texts: tuple[str, ...]
    styles: Tensor
    """INT64 [B], of the targets."""


@dataclass(frozen=True)
class PackedBatch:
    """A Batch whose pictures are still bytes, a quarter of the size, as one process hands it to another."""

    sources: Tensor
    """UINT8 [B,H,W,3]; ``targets`` too."""
    targets: Tensor
    depth: Tensor
    """UINT8 [B,H,W]; ``edges`` too."""
    edges: Tensor
    ids: Tensor
    texts: tuple[str, ...]
    styles: Tensor

    def unpack(self, device: torch.device) -> Batch:
        """The batch on ``device``, in floating point."""
        sources, targets = (signal_of(pictures.to(device)) for pictures in (self.sources, self.targets))
        depth, edges = (hint.to(device)[:, None].float() / 255.0 for hint in (self.depth, self.edges))
        return Batch(sources, targets, depth, edges, self.ids.to(device), self.texts, self.styles.to(device))


class Crops:
    """Draws batches from all rooms but the last SHOWN."""

    def __init__(
        self,
        rooms: Rooms,
        seen: NDArray[np.uint8],
        words: tuple[StyleWords, ...],
        tokens: Tokens,
        settings: DiffusionSettings,
    ) -> None:
        """``seen``: the depth model's answers, as :func:`prepared.seen_depth` returns them for ``rooms``."""
        self.rooms, self.seen, self.words, self.tokens, self.settings = rooms, seen, words, tokens, settings

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the file of ``seen``, when it is one, instead of getting a copy."""
        file = getattr(self.seen, "filename", None)
        return {**vars(self), "seen": self.seen if file is None else Path(file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        seen = state["seen"]
        vars(self).update(state, seen=np.load(seen, mmap_mode="r") if isinstance(seen, Path) else seen)

    def draw(self, phase: Phase, choices: np.random.Generator) -> PackedBatch:
        drawn = [self._sample(phase.crop, choices) for _ in range(phase.batch)]
        sources, targets, depths, exact, texts, styles = zip(*drawn, strict=True)
        depth, is_exact = torch.from_numpy(np.stack(depths)), torch.tensor(exact)
        if is_exact.any():
            disturbed = perturb_depth(depth[is_exact][:, None].float() / 255.0, choices)[:, 0]
            depth[is_exact] = (disturbed * 255.0).round().to(torch.uint8)
        return PackedBatch(
            sources=torch.from_numpy(np.stack(sources)),
            targets=torch.from_numpy(np.stack(targets)),
            depth=depth,
            edges=torch.from_numpy(np.stack([canny(source) for source in sources])),
            ids=self.tokens(texts),
            texts=texts,
            styles=torch.tensor(styles),
        )

    def _sample(self, crop: int, choices: np.random.Generator) -> tuple[Any, Any, Any, bool, str, int]:
        """Source and target UINT8 [crop,crop,3], depth [crop,crop], whether that is exact, caption, style number."""
        index = int(choices.integers(max(1, len(self.rooms) - SHOWN)))
        pairs = self.rooms.pairs(index)
        number = int(choices.integers(len(pairs)))
        pair = pairs[number]
        exact = bool(choices.random() >= self.settings.seen_depth)
        depth = depth_bytes(self.rooms.depth(index)) if exact else self.seen[index, pair.source]
        style = STYLES.index(pair.style)
        text = (
            unconditional(self.words, choices)
            if choices.random() < self.settings.unconditional
            else caption(self.words[style].prompt, self.rooms.room_type(index), pair.wish, choices)
        )
        place = window_of(depth.shape, crop, choices)
        pictures = [
            picture[place]
            for picture in (self.rooms.source(index, pair.source), self.rooms.target(index, number))
        ]
        depth = depth[place]
        if choices.random() < 0.5:
            pictures, depth = [picture[:, ::-1] for picture in pictures], depth[:, ::-1]
        source, target = (np.ascontiguousarray(picture) for picture in pictures)
        return jittered(source, choices), target, np.ascontiguousarray(depth), exact, text, style


def window_of(
    shape: tuple[int, ...], side: int, choices: np.random.Generator, grid: int = 4
) -> tuple[slice, slice]:
    """A random square of ``side``, aligned to ``grid``."""
    top, left = (int(choices.integers((length - side) // grid + 1)) * grid for length in shape[:2])
    return slice(top, top + side), slice(left, left + side)


def draw_step(crops: Crops, seed: int, step: int, phase: Phase) -> PackedBatch:
    """The batch of a step: seed, step and phase decide it alone."""
    return crops.draw(phase, step_randomness(seed, step, torch.device("cpu"))[0])


@contextmanager
def drawing(crops: Crops, seed: int, processes: int = 0) -> Iterator[Callable[[int, Phase], PackedBatch]]:
    """A context manager: gives a function (step, phase) → batch, whose batches are drawn ahead of time.

    One thread draws them, or ``processes`` processes when there are any: a GPU takes batches faster than one core draws
    them.
    """
    if not processes:
        with ThreadPoolExecutor(1) as pool:
            yield Prefetch(partial(draw_step, crops, seed), pool)
        return
    # Forked, torch hangs in its thread pool. torch's own context hands tensors over in shared memory.
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin_drawing, (crops, seed)) as workers:
        yield Prefetch(_draw_mine, workers, 2 * processes)


_mine: tuple[Crops, int] | None = None
"""Crops and seed of a process of :func:`drawing`."""


def _begin_drawing(crops: Crops, seed: int) -> None:
    global _mine
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _mine = crops, seed


def _draw_mine(step: int, phase: Phase) -> PackedBatch:
    assert _mine is not None, "_begin_drawing was not called"
    return draw_step(*_mine, step, phase)
