"""Makes the pictures of the pages in docs/studio and docs/admin: ``python docs/studio.py``. It starts the stack without
containers, walks through ``/studio`` and ``/admin`` in Chromium with tests/studio/pictures.mjs and admin-pictures.mjs,
and keeps small WebP files of what was seen. What ``/admin`` shows of the past is planted."""

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

OUT = ROOT / "docs" / "studio"
KEPT = {"phone-start": 360, "phone-result": 360, "phone-rooms": 360, "desktop-result": 900, "dark-start": 900}
"""Which of the pictures are kept, and how wide."""
OF_ADMIN = {"phone-overview": 360} | dict.fromkeys(
    ("desktop-overview", "desktop-tritons", "desktop-usage", "dark-failures"), 900
)
"""The same of /admin."""
WALK_SECONDS = 240


def main() -> int:
    """Exit status: 0 = the pictures are there, 1 = the browser is missing or the walk failed."""
    parser = argparse.ArgumentParser(
        prog="docs/studio.py", description="Make the pictures of the page for the docs."
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--only", choices=("studio", "admin"), help="the pictures of one page alone")
    options = parser.parse_args()
    node, chromium = shutil.which("node"), shutil.which("chromium")
    if node is None or chromium is None or not (ROOT / "tests" / "studio" / "node_modules").exists():
        print("this needs node and chromium on PATH, and: npm ci --prefix tests/studio", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "admin" and not studio(Path(folder), options.bundle, node, chromium):
            return 1
        if options.only != "studio" and not admin(Path(folder), options.bundle, node, chromium):
            return 1
    return 0


def studio(folder: Path, bundle: str, node: str, chromium: str) -> bool:
    with Stack(folder / "run", release=ROOT / "releases" / bundle) as stack:
        given = {"chromium": chromium, "base": stack.url}
        return walked(node, "pictures.mjs", given, folder / "studio", OUT, KEPT)


def admin(folder: Path, bundle: str, node: str, chromium: str) -> bool:
    token = secrets.token_urlsafe()
    (folder / "plans.toml").write_text(planted.PLANS)
    env = planted.ENVIRONMENT | {"REROOM_ADMIN_TOKEN": token, "REROOM_KEY_PLANS": str(folder / "plans.toml")}
    run = folder / "administered"
    (run / "redis").mkdir(parents=True)
    # Before there are workers, who would take the jobs of the past.
    with RedisServer(run / "redis") as redis:
        asyncio.run(planted.plant(redis.url, "reroom:", jobs_a_day=40, now=False))
    with Stack(run, release=ROOT / "releases" / bundle, tritons=2, env=env) as stack:
        given = {"chromium": chromium, "base": stack.url, "token": token}
        return walked(node, "admin-pictures.mjs", given, folder / "admin", ROOT / "docs" / "admin", OF_ADMIN)


def walked(
    node: str, script: str, given: dict[str, str], seen: Path, out: Path, kept: dict[str, int]
) -> bool:
    """Whether the walk succeeded; what it saw is kept."""
    seen.mkdir()
    done = subprocess.run(
        [node, script, json.dumps(given | {"out": str(seen)})],
        cwd=ROOT / "tests" / "studio",
        timeout=WALK_SECONDS,
        check=False,
    )
    if done.returncode:
        return False
    for name, width in kept.items():
        keep(seen / f"{name}.png", out, width)
    return True


def keep(file: Path, out: Path, width: int) -> None:
    out.mkdir(exist_ok=True)
    with Image.open(file) as picture:
        height = round(picture.height * width / picture.width)
        picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(
            out / f"{file.stem}.webp", quality=82, method=6
        )


if __name__ == "__main__":
    sys.exit(main())
