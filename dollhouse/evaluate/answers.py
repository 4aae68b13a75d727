"""The results of a release on held-out rooms; pictures are cached on disk."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dollhouse.evaluate.held_out import HeldOutRoom
from dollhouse.evaluate.perceived import Perceived, perceive
from dollhouse.render.rooms import STYLES, ColourWish
from measuring import ROOT
from measuring.releases import Release
from measuring.service import Service
from orchestrator.domain.preferences import Preferences
from reroom.triton import Result

CACHE = ROOT / ".run" / "benchmarks"
ASKED = (
    "orchestrator/domain/styles.toml",
    "orchestrator/services/running/translation.py",
    "model_repository/*/1/**/*.py",
)
"""Files that a result depends on besides the release."""

Picture = tuple[NDArray[np.uint8], tuple[str, ...]]
"""A result [H,W,3], and the palette that was used."""


@dataclass(frozen=True)
class StyledResult:
    """A photo restyled in one style, and what it should look like."""

    seen: Perceived
    palette: tuple[str, ...]
    """The colours that the service reports; () = the style's own."""
    truth: NDArray[np.uint8]
    """[H,W,3]: the true render of the room in that style and palette."""


@dataclass(frozen=True)
class Answers:
    """All answers of Triton for one room."""

    room: HeldOutRoom
    photo: Perceived
    room_type: str
    results: Mapping[str, StyledResult] = field(default_factory=dict)
    """By the requested style."""


class PictureCache:
    """Restyled pictures as PNG files in ``folder``; None = no cache."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @classmethod
    def of(cls, release: Release) -> PictureCache:
        """The folder's name depends on the release and on the code that makes requests (ASKED)."""
        digest = sha256(release.digest.encode())
        for pattern in ASKED:
            for file in sorted(ROOT.glob(pattern)):
                digest.update(file.read_bytes())
        return cls(CACHE / f"{release.facts['release']}-{digest.hexdigest()[:12]}")

    def read(self, name: str) -> Picture | None:
        if self.folder is None or not (file := self.folder / f"{name}.png").is_file():
            return None
        with Image.open(file) as picture:
            return np.array(picture), tuple(json.loads(picture.info["palette"]))

    def write(self, name: str, picture: Picture) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part, info = self.folder / f"{os.getpid()}.part", PngInfo()
        info.add_text("palette", json.dumps(picture[1]))
        Image.fromarray(picture[0]).save(part, "PNG", compress_level=1, pnginfo=info)
        part.replace(self.folder / f"{name}.png")


async def restyled(
    service: Service,
    room: HeldOutRoom,
    style: str,
    cache: PictureCache,
    seed: int | None = None,
    palette: tuple[str, ...] = (),
) -> Picture:
    """The room's photo restyled, by default with the room's own seed; read from ``cache`` where it is there."""
    seed = room.seed if seed is None else seed
    photo = f"{room.seed}-{crc32(room.photo.tobytes()):08x}"
    name = "-".join((photo, style, str(seed), *palette)).replace(" ", "_")
    found = cache.read(name)
    if found is None:
        wishes = Preferences(seed=seed, color_palette=list(palette))
        result = (await service.restyle(room.photo, style, wishes)).result
        found = result.image, used_palette(result, palette)
        cache.write(name, found)
    return found


def used_palette(result: Result, requested: tuple[str, ...]) -> tuple[str, ...]:
    """The palette that a result reports; models that report none used the requested one."""
    return requested if result.palette is None else tuple(result.palette)


async def ask(
    service: Service, room: HeldOutRoom, styles: Sequence[str] = STYLES, cache: PictureCache | None = None
) -> Answers:
    """The photo as the models perceive it, and restyled in ``styles`` with the room's seed (see :func:`restyled`)."""
    cache = cache or PictureCache(None)
    # The analysis comes before the first step, so one is enough for the room type.
    first = await service.restyle(room.photo, STYLES[0], Preferences(seed=room.seed, steps=1))
    made = {style: await restyled(service, room, style, cache) for style in styles}
    truths = (
        room.restyled([(style, ColourWish(palette)) for style, (_, palette) in made.items()]) if made else ()
    )
    results = {
        style: StyledResult(await perceive(service, picture), palette, truth)
        for (style, (picture, palette)), truth in zip(made.items(), truths, strict=True)
    }
    return Answers(room, await perceive(service, room.photo), first.room_type, results)


async def ask_all(
    service: Service,
    rooms: Iterator[HeldOutRoom],
    styles: Sequence[str] = STYLES,
    cache: PictureCache | None = None,
    jobs: int = 2,
    report: Callable[[int], None] = lambda done: None,
) -> list[Answers]:
    """:func:`ask` of every room, by seed; ``jobs`` rooms at a time, so that Triton has something to batch.

    ``report(done)`` counts rooms.
    """
    found: list[Answers] = []

    async def work() -> None:
        for room in rooms:
            found.append(await ask(service, room, styles, cache))
            report(len(found))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(jobs):
            tasks.create_task(work())
    return sorted(found, key=lambda answers: answers.room.seed)
