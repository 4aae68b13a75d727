"""Runs the walks of a script in tests/studio in Node, which drives a real Chromium."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "studio"
NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium")
WALK_SECONDS = 600.0
"""All walks of a script together; it is there for one that hangs."""


def walks_in(script: str) -> list[str]:
    """The names of a script's walks."""
    return re.findall(r'^  "([^"]+)": ', (FOLDER / script).read_text(), re.M)


def need_browser() -> str:
    """Where Chromium is. Skips the test where something is not installed."""
    if NODE is None or not (FOLDER / "node_modules").exists():
        pytest.skip("not installed: npm ci --prefix tests/studio")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on PATH (Debian: apt install chromium)")
    return CHROMIUM


async def walked(
    script: str, given: dict[str, Any], do: Callable[[str], None] = lambda wish: None
) -> dict[str, Any]:
    """What became of each walk. ``do`` is called with what the script asks for while it walks."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, script, json.dumps(given), cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(WALK_SECONDS):
            async for line in process.stdout:
                said = json.loads(line)
                if "do" in said:
                    do(said["do"])
                else:
                    found[said["walk"]] = said
            errors = await process.stderr.read()
            assert await process.wait() == 0, errors.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return found
