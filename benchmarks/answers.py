"""What a release makes of held-out rooms: asked for once, and then kept."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import ROOT
from benchmarks.held_out import HeldOutRoom
from benchmarks.releases import Release
from benchmarks.service import Seen, Service
from export.dollhouse.rooms import STYLES
from orchestrator.jobs.models import Preferences

KEPT = ROOT / ".run" / "benchmarks"
ASKED = ("orchestrator/styles.toml", "orchestrator/jobs/translate.py", "model_repository/*/1/*.py")
"""Files that a result depends on besides the release."""


@dataclass(frozen=True)
class Answers:
    """Everything that Triton said of one room."""

    room: HeldOutRoom
    photo: Seen
    room_type: str
    noise: Seen
    """Uniform noise of the photo's size, for comparison."""
    results: Mapping[str, Seen] = field(default_factory=dict)
    """By the style that was asked for."""


class Kept:
    """Pictures that were made already, as PNG files in a folder of the release's own. None = keep nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @classmethod
    def of(cls, release: Release) -> Kept:
        """The folder changes with the release and with what is asked of it."""
        digest = sha256(release.digest.encode())
        for pattern in ASKED:
            for file in sorted(ROOT.glob(pattern)):
                digest.update(file.read_bytes())
        return cls(KEPT / f"{release.facts['release']}-{digest.hexdigest()[:12]}")

    def read(self, seed: int, style: str) -> NDArray[np.uint8] | None:
        if self.folder is None or not (file := self._file(seed, style)).is_file():
            return None
        with Image.open(file) as picture:
            return np.array(picture)

    def write(self, seed: int, style: str, picture: NDArray[np.uint8]) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f"{os.getpid()}.part"
            Image.fromarray(picture).save(part, "PNG", compress_level=1)
            part.replace(self._file(seed, style))

    def _file(self, seed: int, style: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{seed}-{style}.png"


async def ask(
    service: Service, room: HeldOutRoom, styles: Sequence[str] = STYLES, kept: Kept | None = None
) -> Answers:
    """The photo as the models see it, and restyled in ``styles`` with the room's seed; pictures in ``kept`` stand."""
    kept = kept or Kept(None)
    noise = np.random.default_rng(room.seed).integers(0, 256, room.photo.shape, np.uint8)
    # The analysis comes before the first step, so one is enough for the room type.
    told = await service.restyle(room.photo, STYLES[0], Preferences(seed=room.seed, steps=1))
    results = {}
    for style in styles:
        picture = kept.read(room.seed, style)
        if picture is None:
            made = await service.restyle(room.photo, style, Preferences(seed=room.seed))
            picture = made.result.image
            kept.write(room.seed, style, picture)
        results[style] = await service.analyse(picture)
    return Answers(
        room, await service.analyse(room.photo), told.room_type, await service.analyse(noise), results
    )


async def ask_all(
    service: Service,
    rooms: Iterator[HeldOutRoom],
    styles: Sequence[str] = STYLES,
    kept: Kept | None = None,
    jobs: int = 2,
    report: Callable[[int], None] = lambda done: None,
) -> list[Answers]:
    """:func:`ask` of every room, by seed; ``jobs`` rooms at a time, so that Triton has something to batch.

    ``report(done)`` counts rooms.
    """
    found: list[Answers] = []

    async def work() -> None:
        for room in rooms:
            found.append(await ask(service, room, styles, kept))
            report(len(found))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(jobs):
            tasks.create_task(work())
    return sorted(found, key=lambda answers: answers.room.seed)
