"""Makes the pictures of the page in docs/studio: ``python docs/studio.py``. It starts the stack without containers,
walks through ``/studio`` in Chromium with tests/studio/pictures.mjs, and keeps small WebP files of what was seen."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stack.stack import Stack  # noqa: E402

OUT = ROOT / "docs" / "studio"
KEPT = {"phone-start": 360, "phone-result": 360, "phone-rooms": 360, "desktop-result": 900, "dark-start": 900}
"""Which of the pictures are kept, and how wide."""
WALK_SECONDS = 240


def main() -> int:
    """Exit status: 0 = the pictures are there, 1 = the browser is missing or the walk failed."""
    parser = argparse.ArgumentParser(
        prog="docs/studio.py", description="Make the pictures of the page for the docs."
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    options = parser.parse_args()
    node, chromium = shutil.which("node"), shutil.which("chromium")
    if node is None or chromium is None or not (ROOT / "tests" / "studio" / "node_modules").exists():
        print("this needs node and chromium on PATH, and: npm ci --prefix tests/studio", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder) / "seen"
        seen.mkdir()
        with Stack(Path(folder) / "run", release=ROOT / "releases" / options.bundle) as stack:
            given = json.dumps({"chromium": chromium, "base": stack.url, "out": str(seen)})
            done = subprocess.run(
                [node, "pictures.mjs", given],
                cwd=ROOT / "tests" / "studio",
                timeout=WALK_SECONDS,
                check=False,
            )
        if done.returncode:
            return 1
        for name, width in KEPT.items():
            keep(seen / f"{name}.png", width)
    return 0


def keep(file: Path, width: int) -> None:
    OUT.mkdir(exist_ok=True)
    with Image.open(file) as picture:
        height = round(picture.height * width / picture.width)
        picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(
            OUT / f"{file.stem}.webp", quality=82, method=6
        )


if __name__ == "__main__":
    sys.exit(main())
