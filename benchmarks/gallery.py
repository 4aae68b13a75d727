"""What does it look like? One row for each picture: the photo, then the five styles.

    python -m benchmarks.gallery                      # three held-out rooms and the photo of a real one
    python -m benchmarks.gallery --photo mine.jpg --out somewhere

writes room-1.jpg, room-2.jpg, … and photo.jpg into docs/gallery. Where the photo is not at hand, its row is left as it
was. Words, defaults and models are those of the service, through a real Triton.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks import ROOT
from benchmarks.held_out import held_out_rooms
from benchmarks.releases import Release, find_release
from benchmarks.service import Service
from benchmarks.serving import served
from orchestrator.jobs.models import Preferences
from orchestrator.jobs.pictures import decode
from orchestrator.styles import STYLES

OUT = ROOT / "docs" / "gallery"
PHOTO = ROOT.parent / "shared" / "photos" / "living-room.jpg"
ROOMS = (1_000_210, 1_000_226, 1_000_213)
"""A modern living room, a scandinavian bedroom, an industrial kitchen: chosen before any result was seen, from seeds
beyond those that the figures are measured on."""
SEED = 7
GAP, BAND, LETTERS = 8, 26, 15
"""Pixels between pictures, of the band that holds their names, and of the letters' height."""
QUALITY = 88


def photos(seeds: Sequence[int], photo: Path, side: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """What to restyle, by the name of its row."""
    for number, room in enumerate(held_out_rooms(seeds, side, supersample=2), 1):
        yield f"room-{number}", room.photo
    if photo.is_file():
        yield "photo", decode(photo.read_bytes())
    else:
        print(f"there is no {photo}: photo.jpg stays as it is")


async def restyle(address: str, release: Release, photo: NDArray[np.uint8], seed: int) -> Image.Image:
    """The photo's row."""
    async with Service(address, release) as service:
        made = [await service.restyle(photo, style, Preferences(seed=seed)) for style in STYLES]
    results = [Image.fromarray(each.result.image) for each in made]
    shown = Image.fromarray(photo).resize(results[0].size, Image.Resampling.LANCZOS)
    return row([("Photo", shown), *zip([style.title for style in STYLES.values()], results, strict=True)])


def row(pictures: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures of one size side by side, each under its name."""
    width, height = pictures[0][1].size
    made = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height + BAND), "white")
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(LETTERS)
    for number, (name, picture) in enumerate(pictures):
        left = number * (width + GAP)
        draw.text((left + width / 2, BAND / 2), name, fill="#444444", font=font, anchor="mm")
        made.paste(picture, (left, BAND))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--rooms", type=int, nargs="*", default=ROOMS, help="seeds of held-out rooms")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="a JPEG of a real room")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of every result ({SEED})")
    parser.add_argument("--out", type=Path, default=OUT, help="a folder (docs/gallery)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    release = find_release(given.bundle)
    given.out.mkdir(parents=True, exist_ok=True)
    with served(release) as server:
        for name, photo in photos(given.rooms, given.photo, release.side):
            file = given.out / f"{name}.jpg"
            made = asyncio.run(restyle(server.grpc, release, photo, given.seed))
            made.save(file, quality=QUALITY, optimize=True)
            print(f"wrote {file} ({file.stat().st_size / 1e3:.0f} kB)", flush=True)


if __name__ == "__main__":
    main()
