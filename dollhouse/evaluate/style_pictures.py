"""The pictures that show the service's styles, made anew: the demo's room restyled, or rendered in the style.

    python -m dollhouse.evaluate.style_pictures                     # all of orchestrator/domain/styles.toml
    python -m dollhouse.evaluate.style_pictures --rendered          # those that no release makes; needs no Triton
    python -m dollhouse.evaluate.style_pictures --bundle sd15 --knows all --styles /etc/reroom/styles.toml

A network draws only the styles that it has learnt; asked for others, it gives each about the same picture. --knows says
which those are (the dollhouse's five unless given): only they are restyled, with the words, defaults and models of the
service, through a real Triton. Of the others, dollhouse.showroom renders the same room furnished in the style, with no
network; a style that it does not have, such as an operator's own, gets a card of its colours. The command writes
style_pictures/NAME.webp beside the file of styles, and made_by.toml, which names the release of each restyled picture:
no other picture claims to show what a release can do.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from dollhouse.render.looks import STYLES as LEARNT
from dollhouse.showroom.dressing import DRESSINGS, photograph
from measuring import ROOT
from measuring.releases import find_release
from measuring.service import Service
from measuring.serving import asked
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.style_pictures import FOLDER, MADE_BY
from orchestrator.domain.styles import BUILT_IN, Style, load_styles
from orchestrator.photos.pictures import decode

PHOTO = ROOT / "stack" / "room.jpg"
SIZE = (320, 240)
MAX_BYTES = 5_000
"""Of one picture: the package carries all of them, and a page shows nine of them at once, on a phone's network too."""
SEED = 8
"""A multiple of the number of the dollhouse's palettes, of which the first is none: the style has its own colours."""
QUALITIES = (75, 60, 50, 40, 30, 20, 12)
SOFTNESS = 0.9
"""Radius in pixels: a rendered picture is no sharper than one that a release made."""
SMOOTH = 3
"""Cards are drawn this much larger, and scaled down."""


def card(colors: Sequence[str]) -> Image.Image:
    """A drawing of a room in the style's colours, the first of them on its walls, above a strip with all of them."""
    width, height = (SMOOTH * side for side in SIZE)
    picture = Image.new("RGB", (width, height), colors[0])
    draw = ImageDraw.Draw(picture)

    def box(left: float, top: float, right: float, bottom: float, color: int, round_by: float = 0.0) -> None:
        """A box in shares of the sides, in a colour by its number."""
        corners = (left * width, top * height, right * width, bottom * height)
        draw.rounded_rectangle(corners, round_by * height, fill=colors[color % len(colors)])

    box(0.0, 0.60, 1.0, 0.88, 1)  # the floor
    box(0.08, 0.10, 0.30, 0.42, 4)  # a window and its panes
    for left, top in ((0.095, 0.12), (0.195, 0.12), (0.095, 0.27), (0.195, 0.27)):
        box(left, top, left + 0.09, top + 0.13, 1)
    box(0.46, 0.14, 0.66, 0.36, 3)  # a picture on the wall
    box(0.48, 0.165, 0.64, 0.335, 0)
    box(0.52, 0.20, 0.60, 0.30, 2)
    box(0.26, 0.72, 0.86, 0.82, 3, 0.05)  # a rug
    box(0.36, 0.42, 0.78, 0.62, 2, 0.03)  # a sofa with cushions and legs
    box(0.33, 0.50, 0.81, 0.70, 2, 0.03)
    box(0.41, 0.47, 0.52, 0.60, 3, 0.02)
    box(0.62, 0.47, 0.73, 0.60, 4, 0.02)
    box(0.36, 0.70, 0.38, 0.74, 4)
    box(0.76, 0.70, 0.78, 0.74, 4)
    box(0.895, 0.34, 0.905, 0.74, 4)  # a lamp
    box(0.85, 0.26, 0.95, 0.37, 3, 0.02)
    for number in range(len(colors)):
        box(number / len(colors), 0.88, (number + 1) / len(colors), 1.0, number)
    return picture.resize(SIZE, Image.Resampling.LANCZOS)


def encoded(picture: Image.Image) -> bytes:
    """WebP of at most MAX_BYTES. Raises ValueError where no quality is small enough."""
    for quality in QUALITIES:
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=quality, method=6)
        if out.tell() <= MAX_BYTES:
            return out.getvalue()
    raise ValueError(f"the picture has more than {MAX_BYTES} bytes at every quality")


def restyled(bundle: str, styles: Mapping[str, Style]) -> tuple[str, dict[str, Image.Image]]:
    """The release's name, and the demo's room in each of the styles."""
    release, photo = find_release(bundle), decode(PHOTO.read_bytes())

    async def ask(service: Service) -> dict[str, NDArray[np.uint8]]:
        preferences = Preferences(seed=SEED)
        return {
            name: (await service.restyle(photo, name, preferences, style.words)).result.image
            for name, style in styles.items()
        }

    made = asked(release, ask)
    scaled = {
        name: Image.fromarray(each).resize(SIZE, Image.Resampling.LANCZOS) for name, each in made.items()
    }
    return str(release.facts["release"]), scaled


def illustrated(name: str, style: Style) -> Image.Image:
    """A picture that no network made: the demo's room rendered in the style, or a card. The same on every call."""
    if name not in (*LEARNT, *DRESSINGS):
        return card(style.colors)
    return photograph(name, *SIZE).filter(ImageFilter.GaussianBlur(SOFTNESS))


def illustrate(folder: Path, styles: Mapping[str, Style]) -> None:
    """The files of styles that no release makes: all that have a picture here, or colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, style in styles.items():
        if name in DRESSINGS or style.colors:
            (folder / f"{name}.webp").write_bytes(encoded(illustrated(name, style)))


def keep(folder: Path, release: str, made: Mapping[str, Image.Image]) -> None:
    """The files of a release's pictures, and the one that names it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in made.items():
        (folder / f"{name}.webp").write_bytes(encoded(picture))
    (folder / MADE_BY).write_text("".join(f'{name} = "{release}"\n' for name in made))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.evaluate.style_pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--styles", type=Path, default=BUILT_IN, help="a file of styles (the built-in one)")
    learnt = f"the styles that the bundle has learnt, or `all` ({' '.join(LEARNT)})"
    parser.add_argument("--knows", nargs="*", default=LEARNT, metavar="STYLE", help=learnt)
    parser.add_argument(
        "--rendered", action="store_true", help="leave a release's pictures as they are, and make the others"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    styles, folder = load_styles(given.styles), given.styles.with_name(FOLDER)
    known = {name: each for name, each in styles.items() if name in given.knows or "all" in given.knows}
    others = {name: each for name, each in styles.items() if name not in known}
    illustrate(folder, others)
    print(f"wrote {len(others)} pictures that no release made")
    if not given.rendered:
        release, made = restyled(given.bundle, known) if known else ("", {})
        keep(folder, release, made)
        print(f"wrote {len(made)} pictures by {release or 'no release'}")


if __name__ == "__main__":
    main()
