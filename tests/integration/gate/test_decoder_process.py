"""A decoder process has and knows little."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest

from orchestrator.photos.gate import PhotoGate
from orchestrator.photos.process import Decoder, DecoderDied
from tests.support.gate.files import accepted, encoded, picture, quadrants, shows_quadrants
from tests.support.gate.processes import Process, decoders

GOOD = encoded(quadrants())
KEPT = {"PYTHONPATH", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS"}


@pytest.fixture
async def gate() -> AsyncIterator[PhotoGate]:
    async with PhotoGate(40_000_000, processes=1) as gate:
        yield gate


async def test_it_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REROOM_SIGNING_KEY", "R2_SECRET_ACCESS_KEY", "REDIS_URL", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a-secret")
    async with PhotoGate(40_000_000, processes=1):
        for process in decoders():
            environment = (process.folder / "environ").read_text()
            assert {entry.partition("=")[0] for entry in environment.split("\0") if entry} <= KEPT
            assert os.readlink(process.folder / "cwd") == "/"


async def test_it_can_open_nothing(gate: PhotoGate) -> None:
    for data in (GOOD, encoded(picture(), "PNG"), encoded(picture(), "WEBP")):
        await gate.accept(data)
    for process in decoders():
        root = process.folder
        assert sorted(os.listdir(root / "fd")) == ["0", "1", "2"]
        limits = {
            line[:26].strip(): line[26:].split()[:2] for line in (root / "limits").read_text().splitlines()
        }
        assert limits["Max open files"] == ["0", "0"]
        assert limits["Max file size"] == limits["Max core file size"] == ["0", "0"]
        assert limits["Max address space"] == [str(288 * 2**20 + 20 * 40_000_000)] * 2
        assert process.status("Threads") == 1


ANSWERS = """
import struct, sys
head = bytes.fromhex(sys.argv[1])
sys.stdout.buffer.write(b"." + struct.pack(">I", len(head)) + head + struct.pack(">I", 0))
sys.stdout.buffer.flush()
sys.stdin.read()
"""


@pytest.mark.parametrize("head", [b"", b"[]", b'{"ok": "yes"}', b'{"detail": "\xff"}'])
async def test_one_that_answers_nonsense_is_ended(head: bytes) -> None:
    """A decoder that was broken into may write anything."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ANSWERS, head.hex(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    with pytest.raises(DecoderDied):
        await Decoder(process).decode(GOOD, 1)
    assert process.returncode == -signal.SIGKILL


async def test_it_ignores_what_is_sent_to_the_group(gate: PhotoGate) -> None:
    """Ctrl-C, a closed terminal and a service manager's stop are for its parent, which may want to finish."""
    before = set(decoders())
    for process in decoders():
        assert os.getpgid(process.pid) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send(number)
    assert shows_quadrants(await accepted(gate, GOOD))
    assert set(decoders()) == before


PARENT = """
import asyncio, sys
from orchestrator.photos.gate import PhotoGate

async def main():
    async with PhotoGate(40_000_000, processes=1):
        print("ready", flush=True)
        await asyncio.sleep(60)

LOOP.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_it_ends_with_its_parent(loop: str) -> None:
    code = (
        PARENT.replace("LOOP", loop)
        if loop == "asyncio"
        else f"import uvloop\n{PARENT.replace('LOOP', loop)}"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        children = Process(parent.pid).children()
        assert len(children) == 2
        parent.kill()
        deadline = time.monotonic() + 20
        while any(child.state not in ("", "Z") for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
        if parent.stdout:
            parent.stdout.close()
