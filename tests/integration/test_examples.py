"""The programs under examples/, run by the commands of their page on a real service: the same job, the same picture."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import reroom
from tests.conftest import ROOT
from tests.support.programs import ran
from tests.support.running_stack import RunningStack, photo, running_stack

EXAMPLES = ROOT / "examples"
COMMANDS = dict(
    re.findall(
        r"^\| \[([\w.]+)\]\(\1\) \|.*\| `([^`]+)` \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE
    )
)
"""The commands of the page, by the program's name."""
SAME_JOB = ["restyle.py", "restyle.mjs", "restyle.sh"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like a checkout with a photo in it."""
    made = tmp_path_factory.mktemp("checkout")
    (made / "examples").symlink_to(EXAMPLES)
    (made / ".venv").symlink_to(sys.prefix)
    (made / "room.jpg").write_bytes(photo())
    return made


@pytest.fixture(scope="module")
def expected(stack: RunningStack) -> bytes:
    """The picture of the job that the programs in SAME_JOB submit."""
    with reroom.Client(stack.url) as client:
        job = client.restyle(photo(), "boho", {"prompt": "sage green walls", "seed": 7})
        return client.picture(job)


def pixels(picture: bytes) -> bytes:
    return Image.open(io.BytesIO(picture)).tobytes()


def run(name: str, folder: Path, stack: RunningStack, command: str = "") -> subprocess.CompletedProcess[str]:
    settings = {"REROOM_URL": stack.url, "REROOM_TRITON_URL": next(iter(stack.stack.triton_urls.values()))}
    if name.endswith(".mjs"):
        settings["NODE_OPTIONS"] = node_options()
    return ran("/bin/sh", "-c", command or COMMANDS[name], cwd=folder, env=os.environ | settings)


def node_options() -> str:
    """What makes this machine's Node have WebSocket; skips the test where nothing does."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on PATH")
    if (version := int(ran(node, "--version", check=True).stdout.removeprefix("v").split(".")[0])) < 20:
        pytest.skip(f"Node {version} has no WebSocket")
    return "--experimental-websocket" if version < 22 else ""


def test_every_example_is_on_the_page() -> None:
    assert set(COMMANDS) == {file.name for file in EXAMPLES.iterdir() if file.is_file()} - {"README.md"}


@pytest.mark.parametrize("name", SAME_JOB)
def test_every_language_gets_the_same_picture(
    name: str, stack: RunningStack, folder: Path, expected: bytes
) -> None:
    done = run(name, folder, stack)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "saved result.jpg"
    assert ("step 8 of 8" in done.stdout) == (name != "restyle.sh"), (
        "curl polls, the others follow every step"
    )
    # The files differ: each says which job it was.
    assert pixels((folder / "result.jpg").read_bytes()) == pixels(expected)
    (folder / "result.jpg").unlink()


@pytest.mark.parametrize("name", SAME_JOB)
def test_a_refusal_ends_the_program_with_its_reason(name: str, stack: RunningStack, folder: Path) -> None:
    done = run(name, folder, stack, COMMANDS[name].replace(" boho ", " gothic "))
    assert done.returncode != 0
    assert "there is no such style; there are modern" in done.stderr


def test_several_photos_at_once(stack: RunningStack, folder: Path) -> None:
    shutil.copy(folder / "room.jpg", folder / "hall.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    done = run("batch.py", folder, stack)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (folder / "results").iterdir()) == ["hall.jpg", "room.jpg"]
    assert "broken.jpg: " in done.stderr


def test_triton_directly(stack: RunningStack, folder: Path) -> None:
    done = run("direct.py", folder, stack)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "saved result.png"
    assert Image.open(folder / "result.png").getextrema() != ((0, 0), (0, 0), (0, 0))
