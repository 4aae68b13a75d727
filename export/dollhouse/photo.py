"""One rendered room as a picture file, such as the photo that the demo restyles when it is given none.

python -m export.dollhouse.photo --seed 1000340 --style boho --out room.jpg
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


def take_photo(seed: int, style: str, side: int = 256) -> Image.Image:
    """An RGB picture [side,side] of the room of that seed; errors as in ``rooms.look``."""
    shot = render(sample_rooms([seed]), [style], side, supersample=SMOOTH)
    return Image.fromarray(shot.image[0].numpy())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export.dollhouse.photo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--style", choices=STYLES, required=True)
    parser.add_argument("--side", type=int, default=256, help="in pixels, a multiple of 8 (256)")
    parser.add_argument("--out", type=Path, required=True, help="a .jpg or .png file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    # Colours in full resolution: at this size, halving them shows.
    take_photo(given.seed, given.style, given.side).save(
        given.out, quality=QUALITY, subsampling=0, optimize=True
    )
    print(f"wrote {given.out} ({given.out.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()
