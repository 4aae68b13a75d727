"""Processes that know the signing key and the stores' passwords cannot be looked into by others of the same user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NOBODY = 65534
START = f"""
import contextlib, ctypes, os
from orchestrator import app, worker

if os.getuid() == 0:
    os.setresgid(*[{NOBODY}] * 3)
    os.setresuid(*[{NOBODY}] * 3)

def load_settings():
    print("begun", flush=True)
    input()
    raise SystemExit

app.load_settings = worker.load_settings = load_settings
for begin in (app.main, lambda: app.serve_in_process([]), worker.main):
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, as every program begins
    with contextlib.suppress(SystemExit):
        begin()
"""


def test_the_api_and_the_worker_before_they_read_their_settings() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == "begun\n"
            # The kernel gives these files to root, for whom alone they can then be read.
            owners = {
                Path(f"/proc/{process.pid}/{name}").stat().st_uid for name in ("environ", "mem", "maps")
            }
            print(file=process.stdin, flush=True)
            assert owners == {0}
        assert process.stdout.read() == ""
