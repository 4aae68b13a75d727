"""The rendered rooms on disk: memory-mapped shards that appear whole or not at all.

    python -m dollhouse.data.dataset --split train --rooms 3072

A shard is a folder of .npy files with the rooms of a fixed range of seeds, so that a stopped run continues where it was
and several processes can fill one folder. The same seeds give the same bytes on the same kind of machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dollhouse.render.rooms import (
    LABELS,
    ROOM_TYPES,
    STYLES,
    Room,
    View,
    VisibleObject,
    picture,
    restyle,
    sample_rooms,
    trace_view,
)

from .pairs import MIXED, SOURCES, Pair, pairs_of

DATA = Path(".run/dollhouse/data")

SPLITS = {
    "train": range(0, 1_000_000),
    "held_out": range(1_000_000, 2_000_000),
    "classifier": range(2_000_000, 3_000_000),
}
"""Seeds. ``classifier`` is for the benchmark's style classifier alone."""

SHARD = 64
"""Rooms in a shard: 280 MB at 256²."""

MOST_OBJECTS = 48
"""Boxes kept per room, largest first; unused rows have label −1."""

PER_LOOK = {"cpu": 1, "cuda": 16}
"""Rooms rendered at once: one fits the caches of a CPU."""

FIELDS = ("images", "mixed", "targets", "depth", "edges", "boxes", "labels", "room_types", "seeds")


@dataclass(frozen=True)
class RenderSettings:
    """What the bytes of a shard depend on, besides its seeds."""

    side: int = 256
    supersample: int = 1
    """2 smooths edges and takes four times as long."""


class Dataset:
    """N rooms in every style, with their truths, read from disk on access."""

    def __init__(self, shards: Sequence[Path]) -> None:
        self.shards = [
            {field: np.load(shard / f"{field}.npy", mmap_mode="r") for field in FIELDS} for shard in shards
        ]
        self._counts = [len(shard["seeds"]) for shard in self.shards]
        self._first = np.concatenate([[0], np.cumsum(self._counts)])
        self._folders = tuple(shards)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the folders' paths: another process maps the same files."""
        return Dataset, (self._folders,)

    def __len__(self) -> int:
        return int(self._first[-1])

    @property
    def side(self) -> int:
        return int(self.shards[0]["images"].shape[2])

    def picture(self, index: int, style: int) -> NDArray[np.uint8]:
        """UINT8 [H,W,3] of a room in ``STYLES[style]``."""
        return self._read("images", index, style)

    def source(self, index: int, number: int) -> NDArray[np.uint8]:
        """UINT8 [H,W,3] of a room with the look ``SOURCES[number]``."""
        if number < len(STYLES):
            return self.picture(index, number)
        return self._read("mixed", index, number - len(STYLES))

    def pairs(self, index: int) -> tuple[Pair, ...]:
        """Source, style and wish of each target of the room."""
        return pairs_of(self.seed(index))

    def target(self, index: int, number: int) -> NDArray[np.uint8]:
        """UINT8 [H,W,3] of ``pairs(index)[number]``."""
        return self._read("targets", index, number)

    def pictures(self, indices: Sequence[int], styles: Sequence[int]) -> NDArray[np.uint8]:
        """UINT8 [B,H,W,3]."""
        return np.stack([self.picture(i, style) for i, style in zip(indices, styles, strict=True)])

    def depth(self, index: int) -> NDArray[np.float32]:
        """FP32 [H,W], metres along the view axis."""
        return self._read("depth", index).astype(np.float32)

    def edges(self, index: int) -> NDArray[np.uint8]:
        """UINT8 [H,W], 0 or 255: edges of structure, never of textures."""
        return self._read("edges", index)

    def objects(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(boxes FP32 [N,4], left, top, right, bottom in 0..1; labels INT64 [N], indices into LABELS)."""
        labels = self._read("labels", index)
        known = labels >= 0
        return self._read("boxes", index)[known], labels[known].astype(np.int64)

    def room_type(self, index: int) -> str:
        return ROOM_TYPES[int(self._read("room_types", index))]

    def seed(self, index: int) -> int:
        """The seed with which ``sample_rooms`` makes the room again."""
        return int(self._read("seeds", index))

    def _read(self, field: str, index: int, *further: int) -> NDArray[Any]:
        """A copy, since torch refuses what it cannot write to."""
        if not 0 <= index < len(self):
            raise IndexError(f"there is no room {index}: there are {len(self)}")
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        return np.array(self.shards[shard][field][(index - self._first[shard], *further)])


def open_dataset(folder: Path, split: str, rooms: int | None = None) -> Dataset:
    """Open the finished shards of a split (a name of SPLITS): all, or as many as it takes for ``rooms`` rooms.

    Raises FileNotFoundError when there are no rooms, or fewer than ``rooms``.
    """
    shards = _finished(folder, split)
    counts = np.cumsum([len(np.load(shard / "seeds.npy")) for shard in shards])
    if rooms is not None:
        shards = shards[: int(np.searchsorted(counts, rooms)) + 1]
    dataset = Dataset(shards)
    if len(dataset) < max(1, rooms or 0):
        raise FileNotFoundError(f"{folder} holds {len(dataset)} rooms of {split}; want {rooms or 'some'}")
    return dataset


def make_dataset(
    folder: Path,
    split: str,
    rooms: int,
    settings: RenderSettings | None = None,
    device: str = "cpu",
    processes: int = 1,
    report: Callable[[int, int], None] = lambda done, of: None,
    shard_rooms: int = SHARD,
) -> Dataset:
    """Render the shards that are missing of the first ``rooms`` rooms of a split, and open all of them.

    ``report(done, of)`` counts shards. Raises ValueError when the folder was made with other settings.
    """
    _agree(folder, settings or RenderSettings(), shard_rooms)
    shards = -(-rooms // shard_rooms)
    missing = [n for n in range(shards) if not _shard(folder, split, n).is_dir()]
    make = partial(make_shard, folder, split, settings=settings, device=device, shard_rooms=shard_rooms)
    if processes == 1:
        for done, _ in enumerate(map(make, missing), shards - len(missing) + 1):
            report(done, shards)
    elif missing:
        # A forked torch hangs in its thread pool.
        with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            for done, _ in enumerate(pool.map(make, missing), shards - len(missing) + 1):
                report(done, shards)
    return Dataset(_finished(folder, split)[:shards])


def make_shard(
    folder: Path,
    split: str,
    number: int,
    settings: RenderSettings | None = None,
    device: str = "cpu",
    shard_rooms: int = SHARD,
) -> Path:
    """Render shard ``number`` of a split, unless it is there; another process may finish it first."""
    target, part = _shard(folder, split, number), folder / split / f"part-{number:05d}-{os.getpid()}"
    if target.is_dir():
        return target
    seeds = SPLITS[split][number * shard_rooms : (number + 1) * shard_rooms]
    part.mkdir(parents=True)
    try:
        for field, values in _render(seeds, settings or RenderSettings(), device).items():
            np.save(part / f"{field}.npy", values)
        part.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _render(seeds: Sequence[int], settings: RenderSettings, device: str) -> dict[str, NDArray[Any]]:
    count, side = len(seeds), settings.side
    images, mixed, targets = (
        np.empty((count, number, side, side, 3), np.uint8)
        for number in (len(STYLES), MIXED, len(pairs_of(seeds[0])))
    )
    depth, edges = np.empty((count, side, side), np.float16), np.empty((count, side, side), np.uint8)
    boxes, labels = (
        np.zeros((count, MOST_OBJECTS, 4), np.float32),
        np.full((count, MOST_OBJECTS), -1, np.int16),
    )
    rooms = sample_rooms(seeds)
    for rows, view in _views(rooms, settings, device):
        for number, source in enumerate(SOURCES):
            held = images[rows, number] if number < len(STYLES) else mixed[rows, number - len(STYLES)]
            held[:] = picture(view, [source] * len(view.scene.rooms)).cpu().numpy()
        for number, pairs in enumerate(zip(*map(pairs_of, seeds[rows]), strict=True)):
            found = [SOURCES[pair.source] for pair in pairs]
            styles, wishes = [pair.style for pair in pairs], [pair.wish for pair in pairs]
            targets[rows, number] = restyle(view, found, styles, wishes).cpu().numpy()
        depth[rows], edges[rows] = view.depth.cpu().numpy(), view.edges.cpu().numpy()
        for row, seen in enumerate(view.objects, rows.start):
            _write_objects(seen, boxes[row], labels[row])
    types = np.array([ROOM_TYPES.index(room.room_type) for room in rooms], np.int16)
    values = (images, mixed, targets, depth, edges, boxes, labels, types, np.array(seeds, np.int64))
    return dict(zip(FIELDS, values, strict=True))


def _views(rooms: Sequence[Room], settings: RenderSettings, device: str) -> Iterator[tuple[slice, View]]:
    step = PER_LOOK.get(torch.device(device).type, 1)
    for start in range(0, len(rooms), step):
        some = rooms[start : start + step]
        yield slice(start, start + len(some)), trace_view(some, settings.side, device, settings.supersample)


def _write_objects(
    seen: Sequence[VisibleObject], boxes: NDArray[np.float32], labels: NDArray[np.int16]
) -> None:
    for row, item in enumerate(seen[:MOST_OBJECTS]):
        boxes[row], labels[row] = item.box, LABELS.index(item.label)


def _agree(folder: Path, settings: RenderSettings, shard_rooms: int) -> None:
    """Raises ValueError when the folder's shards were made with other settings; notes the settings in a new folder."""
    wanted = {**asdict(settings), "shard_rooms": shard_rooms, "styles": list(STYLES), "labels": list(LABELS)}
    note = folder / "making.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not note.is_file():
        part = folder / f"making-{os.getpid()}.part"
        part.write_text(json.dumps(wanted))
        part.replace(note)
    found = json.loads(note.read_text())
    if found != wanted:
        different = ", ".join(f"{key} {found.get(key)}" for key in wanted if found.get(key) != wanted[key])
        raise ValueError(f"{folder} was made with {different}; render into another folder")


def _shard(folder: Path, split: str, number: int) -> Path:
    return folder / split / f"shard-{number:05d}"


def _finished(folder: Path, split: str) -> list[Path]:
    """Finished shards up to the first that is missing."""
    shards: list[Path] = []
    while (shard := _shard(folder, split, len(shards))).is_dir():
        shards.append(shard)
    return shards


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dollhouse.data.dataset", description=__doc__)
    parser.add_argument("--folder", type=Path, default=DATA)
    parser.add_argument("--split", choices=tuple(SPLITS), default="train")
    parser.add_argument("--rooms", type=int, default=3072)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--supersample", type=int, choices=(1, 2, 4), default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    began = time.perf_counter()

    def report(done: int, of: int) -> None:
        print(f"{given.split}: shard {done} of {of}, {time.perf_counter() - began:.0f} s", flush=True)

    settings = RenderSettings(given.side, given.supersample)
    if given.device == "cpu":
        torch.set_num_threads(1)
    make_dataset(given.folder, given.split, given.rooms, settings, given.device, given.processes, report)


if __name__ == "__main__":
    main()
