"""What does it look like? Contact sheets: a row each for a photo and the same room in the five styles.

    python -m dollhouse.evaluate.gallery                  # twelve held-out rooms and photos of real ones
    python -m dollhouse.evaluate.gallery --photo mine.jpg --rooms --out somewhere     # only my photo

It writes rooms.jpg, and photo-NAME.jpg for each photo, into docs/gallery. The picture of a photo that is missing stays
as it is. Prompts, defaults and models are those of the service, through a real Triton; above each picture stands the
palette that its seed chose. A person gives the marks, in marks.toml (dollhouse.evaluate.marks).
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from dollhouse.evaluate.answers import used_palette
from dollhouse.evaluate.held_out import SHOWN, held_out_rooms
from dollhouse.evaluate.marks import FILE, Marks, read_marks
from dollhouse.render.looks import STYLES as LEARNT
from measuring import ROOT
from measuring.releases import Release, find_release
from measuring.service import Service
from measuring.serving import served
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import STYLES
from orchestrator.photos.pictures import decode

OUT = ROOT / "docs" / "gallery"
PHOTOS = tuple(
    ROOT.parent / "shared" / "photos" / f"{name}.jpg" for name in ("living-room", "hall", "empty-room")
)
ROOMS = tuple(SHOWN[number] for number in (0, 1, 2, 3, 4, 5, 6, 9, 10, 12, 13, 17))
"""The first two rooms of each type in SHOWN, chosen before there was any result."""
SEED = 7
"""Seed of the first row; each further row has the next one, so that palettes differ."""
CELL = (384, 256)
"""What a picture is fitted into: width, height."""
GAP, BAND, LETTERS = 8, 26, 13
"""Pixels between pictures, of the band that holds their names, and of the letters' height."""
QUALITY = 86

Row = list[tuple[str, Image.Image]]
"""Pictures of one size and their names."""


async def restyle(service: Service, photo: NDArray[np.uint8], seed: int, name: str) -> Row:
    """The photo, under ``name``, and its results."""
    made: Row = [(name, fitted(photo))]
    for key in LEARNT:
        style = STYLES[key]
        result = (await service.restyle(photo, key, Preferences(seed=seed))).result
        palette = used_palette(result, ())
        made.append((": ".join(filter(None, (style.title, ", ".join(palette)))), fitted(result.image)))
    return made


def fitted(picture: NDArray[np.uint8]) -> Image.Image:
    """The picture scaled to fit CELL."""
    return ImageOps.contain(Image.fromarray(picture), CELL, Image.Resampling.LANCZOS)


def sheet(rows: Sequence[Row]) -> Image.Image:
    """Rows of pictures of one size under each other, each picture under its name."""
    width, height = rows[0][0][1].size
    size = (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + BAND))
    made = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(LETTERS)
    for down, row in enumerate(rows):
        top = down * (height + BAND)
        for across, (name, picture) in enumerate(row):
            left = across * (width + GAP)
            draw.text((left + width / 2, top + BAND / 2), name, fill="#444444", font=font, anchor="mm")
            made.paste(picture, (left, top + BAND))
    return made


async def draw(
    address: str, release: Release, rooms: Sequence[int], photos: Sequence[Path], out: Path
) -> None:
    """Every sheet, into the folder ``out``."""
    async with Service(address, release) as service:
        if rooms:
            shown = held_out_rooms(rooms, release.side, supersample=2)
            write(
                out / "rooms.jpg",
                [
                    await restyle(service, room.photo, SEED + n, f"{n + 1}: {room.room_type}")
                    for n, room in enumerate(shown)
                ],
            )
        for n, photo in enumerate(photos):
            if photo.is_file():
                row = await restyle(service, decode(photo.read_bytes()), SEED + n, photo.stem)
                write(out / f"photo-{photo.stem}.jpg", [row])
            else:
                print(f"there is no {photo}: photo-{photo.stem}.jpg stays as it is")


def write(file: Path, rows: Sequence[Row]) -> None:
    sheet(rows).save(file, quality=QUALITY, optimize=True)
    print(f"wrote {file} ({file.stat().st_size / 1e3:.0f} kB)", flush=True)


def unmarked(marks: Marks | None, release: str) -> list[str]:
    """Pictures of docs/gallery without a mark, as tables and keys of marks.toml."""
    known = {each[:3] for each in marks.marks} if marks and marks.release == release else set()
    rows = [("rooms", str(n + 1)) for n in range(len(ROOMS))] + [("photos", photo.stem) for photo in PHOTOS]
    return [
        f"{kind}.{row}.{style}" for kind, row in rows for style in LEARNT if (kind, row, style) not in known
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.evaluate.gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--rooms", type=int, nargs="*", default=ROOMS, help="seeds of held-out rooms")
    parser.add_argument("--photo", type=Path, nargs="*", default=PHOTOS, help="JPEGs of real rooms")
    parser.add_argument("--out", type=Path, default=OUT, help="a folder (docs/gallery)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    release = find_release(given.bundle)
    given.out.mkdir(parents=True, exist_ok=True)
    with served(release) as server:
        asyncio.run(draw(server.grpc, release, given.rooms, given.photo, given.out))
    if missing := unmarked(read_marks(), release.facts["release"]):
        print(f"{FILE} lacks {len(missing)} marks of {release.facts['release']}; the first is {missing[0]}")


if __name__ == "__main__":
    main()
