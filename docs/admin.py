"""Makes the pictures of the page for administrators in docs/admin: ``python docs/admin.py``. It plants weeks of work
into a stack without containers (tests/support/planted.py), walks through ``/admin`` in Chromium with
tests/studio/admin-pictures.mjs, and keeps small WebP files of what was seen."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stack.redis import RedisServer  # noqa: E402
from stack.stack import Stack  # noqa: E402
from tests.support import planted  # noqa: E402

BROWSER, OUT = ROOT / "tests" / "studio", ROOT / "docs" / "admin"
KEPT = {"phone-overview": 360, "phone-keys": 360} | dict.fromkeys(
    ("desktop-overview", "desktop-tritons", "desktop-usage", "dark-failures"), 900
)
"""Which of the pictures are kept, and how wide."""
WALK_SECONDS = 240


def main() -> int:
    """Exit status: 0 = the pictures are there, 1 = the browser is missing or the walk failed."""
    parser = argparse.ArgumentParser(
        prog="docs/admin.py", description="Make the pictures of /admin for the docs."
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--seen", type=Path, help="a folder where what the browser saw is left")
    options = parser.parse_args()
    node, chromium = shutil.which("node"), shutil.which("chromium")
    if node is None or chromium is None or not (BROWSER / "node_modules").exists():
        print("this needs node and chromium on PATH, and: npm ci --prefix tests/studio", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        seen: Path = options.seen or Path(folder) / "seen"
        seen.mkdir(parents=True, exist_ok=True)
        if not walked(Path(folder), ROOT / "releases" / options.bundle, [node, chromium], seen):
            return 1
        for name, width in KEPT.items():
            keep(seen / f"{name}.png", width)
    return 0


def walked(folder: Path, release: Path, programs: list[str], seen: Path) -> bool:
    """Whether the browser went all the way."""
    node, chromium = programs
    token, run = secrets.token_urlsafe(), folder / "run"
    (run / "redis").mkdir(parents=True)
    (folder / "plans.toml").write_text(planted.PLANS)
    env = planted.ENVIRONMENT | {
        "REROOM_ADMIN_TOKEN": token,
        "REROOM_KEY_PLANS": str(folder / "plans.toml"),
    }
    # Before there are workers, who would take the jobs of the past.
    with RedisServer(run / "redis") as redis:
        asyncio.run(planted.plant(redis.url, "reroom:", jobs_a_day=40, now=False))
    with Stack(run, release=release, tritons=2, env=env) as stack:
        given = {"chromium": chromium, "base": stack.url, "token": token, "out": str(seen.resolve())}
        command = [node, "admin-pictures.mjs", json.dumps(given)]
        return subprocess.run(command, cwd=BROWSER, timeout=WALK_SECONDS, check=False).returncode == 0


def keep(file: Path, width: int) -> None:
    OUT.mkdir(exist_ok=True)
    with Image.open(file) as picture:
        height = round(picture.height * width / picture.width)
        picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(
            OUT / f"{file.stem}.webp", quality=82, method=6
        )


if __name__ == "__main__":
    sys.exit(main())
