"""Processes that know the signing key and the stores' passwords cannot be looked into by others of the same user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NOBODY = 65534
START = f"""
import contextlib, ctypes, os, tempfile
from orchestrator import app, worker
from stack import guard

if os.getuid() == 0:
    os.setresgid(*[{NOBODY}] * 3)
    os.setresuid(*[{NOBODY}] * 3)

def load_settings(*_, **__):
    print("begun", flush=True)
    input()
    raise SystemExit

app.load_settings = worker.load_settings = guard.subprocess.Popen = load_settings
log = tempfile.NamedTemporaryFile()
guarding = lambda: guard.main(["1", log.name, "", "a command"])
for begin in (app.main, lambda: app.serve_in_process([]), worker.main, guarding):
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, as every program begins
    with contextlib.suppress(SystemExit):
        begin()
"""


def test_the_api_the_worker_and_their_guard_before_they_begin() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline() == "begun\n"
            # The kernel gives these files to root, for whom alone they can then be read.
            owners = {
                Path(f"/proc/{process.pid}/{name}").stat().st_uid for name in ("environ", "mem", "maps")
            }
            print(file=process.stdin, flush=True)
            assert owners == {0}
        assert process.stdout.read() == ""
