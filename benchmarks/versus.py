"""Ours beside diffusers, by tier and batch: sides take turns in one run, so that a drift of the machine's speed, or of
a card's clocks, counts for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from benchmarks.sides import Kind, Side
from measuring.gpu import Gpu, Reading, summary, watched
from reroom.triton import RestyleError

PAUSE = 0.3
"""Seconds before each turn, for threads that still spin."""
OURS = "ours"
FAILURES = (RuntimeError, RestyleError, InferenceServerException, grpc.RpcError)
"""Of torch, memory included; of our model; and of the server, which may have ended."""

Cells = dict[tuple[Kind, int], dict[str, Any]]
"""What was measured, by tier and batch; a cell's members are described at :func:`cell`."""


def measure(
    sides: Sequence[Side],
    kinds: Iterable[Kind],
    batches: Sequence[int],
    rounds: int,
    gpu: Gpu | None = None,
    say: Callable[[str], None] = print,
) -> Cells:
    """Every side paints every tier in every batch, ``rounds`` times, in turns. A side that fails in one is left out of
    it, and the cell says why."""
    cells: Cells = {}
    with ExitStack() as stack:
        for side in sides:
            stack.enter_context(side)
        for kind in kinds:
            pictures: dict[str, NDArray[np.floating[Any]]] = {}
            for batch in batches:
                failed: dict[str, str] = {}
                for side in sides:
                    # The warm-up too: loading, compiling, recording.
                    with _forgiving(side, failed):
                        if side.name not in pictures:
                            pictures[side.name] = side.exact(kind)
                        if batch > 1:
                            side.paint(kind, batch)
                    side.facts()
                turns = _turns(sides, kind, batch, rounds, gpu, say, failed)
                cells[kind, batch] = {
                    **cell(turns, batch),
                    **{name: value for side in sides for name, value in side.facts().items()},
                    **({"failed": failed} if failed else {}),
                }
            apart = differences(pictures)
            if apart:
                cells[kind, batches[0]]["max_difference"] = apart
    return cells


def _turns(
    sides: Sequence[Side],
    kind: Kind,
    batch: int,
    rounds: int,
    gpu: Gpu | None,
    say: Callable[[str], None],
    failed: dict[str, str],
) -> dict[str, tuple[list[float], list[Reading]]]:
    """Seconds of a batch, and the card's readings meanwhile, by side; without those that are in ``failed`` or enter
    it."""
    found: dict[str, tuple[list[float], list[Reading]]] = {side.name: ([], []) for side in sides}
    for number in range(1, rounds + 1):
        for side in sides:
            if side.name in failed:
                continue
            time.sleep(PAUSE)
            seconds, readings = found[side.name]
            with _forgiving(side, failed), watched(gpu, readings):
                seconds.append(side.paint(kind, batch))
        found = {name: turns for name, turns in found.items() if name not in failed}
        latest = ", ".join(f"{name} {seconds[-1]:.2f} s" for name, (seconds, _) in found.items())
        say(f"{kind or 'usual'}, batch {batch}, round {number} of {rounds}: {latest or 'every side failed'}")
    return found


@contextmanager
def _forgiving(side: Side, failed: dict[str, str]) -> Iterator[None]:
    """An error that a side may make, such as one of memory, is written into ``failed`` and ends nothing else."""
    try:
        yield
    except FAILURES as error:
        failed[side.name] = str(error).strip().partition("\n")[0] or type(error).__name__


def cell(turns: Mapping[str, tuple[Sequence[float], Sequence[Reading]]], batch: int) -> dict[str, Any]:
    """``seconds``: of a picture, the median, by side; ``ratio``: ours over theirs, the median of the rounds' ratios;
    ``all``: of a batch, in the order of measuring; ``gpu``: the card meanwhile, by side."""
    all_ = {name: list(seconds) for name, (seconds, _) in turns.items()}
    cards = {name: told for name, (_, readings) in turns.items() if (told := summary(readings))}
    return {
        "seconds": {name: median(seconds) / batch for name, seconds in all_.items()},
        "ratio": ratios(all_),
        "all": all_,
        **({"gpu": cards} if cards else {}),
    }


def ratios(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Ours over each other side, the median over rounds; nothing where ours is missing."""
    ours = seconds.get(OURS, ())
    return {
        name: median(mine / other for mine, other in zip(ours, theirs, strict=True))
        for name, theirs in seconds.items()
        if name != OURS and ours
    }


def differences(pictures: Mapping[str, NDArray[np.floating[Any]]]) -> dict[str, float]:
    """How far ours is from each other side's picture anywhere, in levels of 255; infinitely where one is no number."""
    if OURS not in pictures:
        return {}
    ours = pictures[OURS].astype(np.float64)
    return {
        name: float(np.nan_to_num(np.abs(ours - other), nan=np.inf).max())
        for name, other in pictures.items()
        if name != OURS
    }


def together(parts: Iterable[Cells]) -> Cells:
    """One set of cells from several, each of some sides only: of those that were measured one after the other."""
    found: Cells = {}
    for cells in parts:
        for key, each in cells.items():
            before = found.get(key, {})
            merged = before | each
            for name in ("seconds", "all", "gpu", "failed"):
                if both := before.get(name, {}) | each.get(name, {}):
                    merged[name] = both
            found[key] = merged | {"ratio": ratios(merged.get("all", {}))}
    return found
