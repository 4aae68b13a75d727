"""One rendered room as a picture file, such as the photo that the demo restyles when it is given none.

python -m dollhouse.render.photo --seed 1000340 --style boho --out room.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image

from .rooms import STYLES, render, sample_rooms

QUALITY = 92
SMOOTH = 2
"""Rays per pixel and direction."""


def take_photo(seed: int, style: str, width: int = 1024, height: int = 768) -> Image.Image:
    """An RGB picture of the room of that seed; errors as in ``rooms.trace_view``."""
    shot = render(sample_rooms([seed]), [style], (height, width), supersample=SMOOTH)
    return Image.fromarray(shot.image[0].numpy())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.render.photo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--style", choices=STYLES, required=True)
    parser.add_argument("--width", type=int, default=1024, help="in pixels, a multiple of 8 (1024)")
    parser.add_argument("--height", type=int, default=768, help="(768)")
    parser.add_argument("--out", type=Path, required=True, help="a .jpg or .png file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    take_photo(given.seed, given.style, given.width, given.height).save(
        given.out, quality=QUALITY, optimize=True
    )
    print(f"wrote {given.out} ({given.out.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()
