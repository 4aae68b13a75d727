"""Code that runs in a decoder by a fault of a library reaches nothing; see ``breaking_out``."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.photos import process
from orchestrator.photos.gate import PhotoGate
from orchestrator.ports import Unavailable
from tests.support.gate.breaking_out import DOORS
from tests.support.gate.files import encoded, noise, picture, refused
from tests.support.gate.processes import decoders

ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534
USERS = [0, NOBODY] if os.getuid() == 0 else [os.getuid()]
REFUSALS = {"EPERM", "EACCES", "EMFILE", "EAGAIN", "ENOSYS"}


def answer_of(data: bytes, user: int) -> tuple[dict[str, Any], bytes]:
    """What a decoder that this user started answers to a file."""
    command = [
        sys.executable, "-m", "tests.support.gate.breaking_out", "1000000", str(2**30), "20", "require",
    ]  # fmt: skip
    environment = {"PYTHONPATH": str(ROOT), "BREAK_OUT_AS": str(user), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.run(
        command, input=struct.pack(">BII", 0, 2**32 - 1, len(data)) + data, capture_output=True, cwd="/",
        env=environment, timeout=60,
    )  # fmt: skip
    answers = process.stdout
    assert answers, process.stderr.decode()
    first = 1 + 4 + int.from_bytes(answers[1:5], "big") + 4  # that it is warm
    head = first + 1 + 4 + int.from_bytes(answers[first + 1 : first + 5], "big")
    return json.loads(answers[first + 5 : head]), answers[head + 4 :]


@pytest.fixture(scope="module", params=USERS, ids=lambda user: f"uid {user}")
def broken_into(request: pytest.FixtureRequest) -> dict[str, str]:
    """What hostile code found in a decoder that this user started."""
    return dict(json.loads(answer_of(b"doors", request.param)[1]))


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_photos_whose_libraries_want_threads(user: int, format: str) -> None:
    head, jpeg = answer_of(encoded(noise((640, 480)), format), user)
    assert (head.get("ok"), head.get("width")) == (True, 640), head
    assert jpeg.startswith(b"\xff\xd8")


@pytest.mark.parametrize("door", DOORS)
def test_every_door_is_shut(broken_into: dict[str, str], door: str) -> None:
    assert broken_into[door] in REFUSALS


async def test_what_a_decoder_may(monkeypatch: pytest.MonkeyPatch) -> None:
    async with PhotoGate(40_000_000, processes=1, sandbox="require") as gate:
        await gate.accept(encoded(picture()))
        for process in decoders():
            for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert process.status(kind) == 0
            assert (process.status("NoNewPrivs"), process.status("Seccomp")) == (1, 2)
            assert os.getuid() != 0 or process.status("Uid") == NOBODY
            # Its files in /proc are root's: it cannot be looked into.
            assert (process.folder / "mem").stat().st_uid == 0


@pytest.mark.parametrize("sandbox", ["prefer", "require"])
async def test_without_libseccomp(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, sandbox: Any
) -> None:
    (tmp_path / "pyseccomp.py").write_text("raise RuntimeError('Unable to find libseccomp')")
    (tmp_path / "orchestrator").symlink_to(ROOT / "orchestrator")
    monkeypatch.setattr(process, "_ROOT", tmp_path)
    if sandbox == "require":
        with pytest.raises(
            Unavailable, match="the sandbox is required, but Unable to find libseccomp; install"
        ):
            await PhotoGate(40_000_000, processes=1, sandbox=sandbox).__aenter__()
        return
    async with PhotoGate(40_000_000, processes=1, sandbox=sandbox) as gate:
        assert (await gate.accept(encoded(picture()))).width == 160
        assert (await gate.accept(encoded(picture(), "AVIF"))).width == 160
        assert "cannot read HEIC" in (await refused(gate, encoded(picture(), "HEIF"))).detail
    assert [record.message for record in caplog.records] == [
        "the decoders' sandbox has no filter of system calls: Unable to find libseccomp; install libseccomp "
        "(Debian's libseccomp2)"
    ]


@pytest.mark.parametrize(
    "answer",
    [
        struct.pack(">I", 2**32 - 1),  # 4 GB of head
        struct.pack(">I", 2) + b"{}" + struct.pack(">I", 2**31),
        struct.pack(">I", 3) + b"{x}" + struct.pack(">I", 0),
        struct.pack(">I", 12) + b'{"ok":"true"' + struct.pack(">I", 0),
        struct.pack(">I", 24) + b'{"ok":true,"width":9999}' + struct.pack(">I", 0),
    ],
)
async def test_an_answer_that_no_decoder_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes
) -> None:
    taken_over = tmp_path / "decoder.py"
    taken_over.write_text(
        "import sys, time\n"
        "warm = b'{\"ok\": true}'\n"
        "out = sys.stdout.buffer\n"
        "out.write(b'\\1' + len(warm).to_bytes(4, 'big') + warm + bytes(4)); out.flush()\n"
        "sys.stdin.buffer.read(8)\n"
        f"out.write(b'\\1' + {answer!r} + bytes(100_000)); out.flush()\n"
        "time.sleep(60)\n"
    )
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {taken_over}\n")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    async with PhotoGate(40_000_000, processes=1) as gate:
        assert (await refused(gate, encoded(picture()))).code == "broken_image"
