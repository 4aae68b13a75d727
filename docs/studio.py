"""Makes what the docs show of the page: ``python docs/studio.py``. It starts the stack without containers, walks
through ``/studio`` in Chromium, and keeps small WebP files in docs/studio: every view (tests/studio/pictures.mjs)
and an animated walk (tests/studio/tour.mjs). ``--only icons`` draws the icons of the installed page instead."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stack.stack import Stack  # noqa: E402

BROWSER = ROOT / "tests" / "studio"
OUT = ROOT / "docs" / "studio"
PAGE = ROOT / "orchestrator" / "studio"
PHONE_WIDTH, DESKTOP_WIDTH, TOUR_WIDTH = 360, 900, 360
MOST_TOUR_BYTES = 1_500_000
ICON_COLOURS = 32
WALK_SECONDS = 400


def main() -> int:
    """Exit status: 0 = they are there, 1 = the browser is missing or the walk failed."""
    parser = argparse.ArgumentParser(
        prog="docs/studio.py", description="Make the pictures of the page for the docs."
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--only", choices=("pictures", "walk", "icons"), help="(pictures and walk)")
    parser.add_argument("--seen", type=Path, help="a folder where what the browser saw is left")
    options = parser.parse_args()
    node, chromium = shutil.which("node"), shutil.which("chromium")
    if node is None or chromium is None or not (BROWSER / "node_modules").exists():
        print("this needs node and chromium on PATH, and: npm ci --prefix tests/studio", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        seen: Path = options.seen or Path(folder) / "seen"
        seen.mkdir(exist_ok=True)

        def ran(program: str, **given: Any) -> None:
            told = json.dumps({"chromium": chromium, "out": str(seen.resolve()), **given})
            subprocess.run([node, program, told], cwd=BROWSER, timeout=WALK_SECONDS, check=True)

        try:
            if options.only == "icons":
                ran("icons.mjs", svg=str(PAGE / "icon.svg"))
                keep_icons(seen)
                return 0
            with Stack(Path(folder) / "run", release=ROOT / "releases" / options.bundle) as stack:
                if options.only != "pictures":
                    ran("tour.mjs", base=stack.url)
                if options.only != "walk":
                    ran("pictures.mjs", base=stack.url)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"the walk failed: {error}", file=sys.stderr)
            return 1
        if options.only != "pictures":
            keep_tour(seen)
        if options.only != "walk":
            keep_pictures(seen)
    return 0


def keep_pictures(seen: Path) -> None:
    """Every view, as wide as the docs show it."""
    for file in sorted(seen.glob("*-*.png")):
        width = PHONE_WIDTH if file.name.startswith("phone") else DESKTOP_WIDTH
        with Image.open(file) as picture:
            small(picture, width).save(OUT / f"{file.stem}.webp", quality=80, method=6)


def keep_tour(seen: Path) -> None:
    """One animation, which begins again when it has ended."""
    frames = json.loads((seen / "frames.json").read_text())
    pictures = []
    for name, _ in frames:
        with Image.open(seen / name) as picture:
            pictures.append(small(picture, TOUR_WIDTH))
    file = OUT / "walk.webp"
    durations = [milliseconds for _, milliseconds in frames]
    first, *others = pictures
    first.save(file, save_all=True, append_images=others, duration=durations, loop=0, quality=72, method=6)
    size = file.stat().st_size
    print(f"{file.name}: {len(frames)} frames, {sum(durations) / 1000:.0f} s, {size} bytes")
    if size > MOST_TOUR_BYTES:
        raise SystemExit(f"{file.name} may have {MOST_TOUR_BYTES} bytes: lower its quality")


def keep_icons(seen: Path) -> None:
    for file in seen.glob("*.png"):
        with Image.open(file) as picture:
            few = picture.convert("RGBA").quantize(ICON_COLOURS, method=Image.Quantize.FASTOCTREE)
            few.save(PAGE / "icons" / file.name, optimize=True)


def small(picture: Image.Image, width: int) -> Image.Image:
    height = round(picture.height * width / picture.width)
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    sys.exit(main())
