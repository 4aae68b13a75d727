"""Run one command and leave nothing of it behind, also when the starter is killed.

Usage: guard.py GRACE LOG SHARED_MEMORY COMMAND…; standard input is a pipe that the starter holds open. The first line
on standard output is the command's process id, or ``error: …``. When the pipe closes, because the starter wants the
command to stop or because the starter died, the command gets SIGTERM and after GRACE seconds SIGKILL. When the command
has ended, all its descendants are killed and the POSIX shared memory whose name starts with SHARED_MEMORY (empty: none)
is removed. The exit status is the command's, 128 + n after signal n.

A guard rather than PR_SET_PDEATHSIG alone, because that follows the starting *thread* and does not reach grandchildren
such as Triton's Python stubs. It is a script on the bare standard library, so that it starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.05

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def main(arguments: list[str]) -> int:
    grace, log, shared_memory, *command = arguments
    # Its environment is the command's, with all secrets; a command that hides its own does so for nothing else.
    _prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    # Orphaned grandchildren become children of this process, which can then find and end them.
    _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # SIGTERM is meant for the command, whose starter closes the pipe; a guard that dies first would guard nothing.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        with open(log, "ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
            )
    except OSError as error:
        report(f"error: cannot start {command[0]}: {error.strerror}")
        return 127
    report(str(child.pid))
    wait(child, float(grace))
    end_descendants()
    if shared_memory:
        for file in Path("/dev/shm").glob(f"{shared_memory}*"):
            file.unlink(missing_ok=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def report(line: str) -> None:
    try:
        print(line, flush=True)
    except (
        BrokenPipeError
    ):  # the starter is gone; its end of standard input is closed too, which ends the command
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def wait(child: subprocess.Popen[bytes], grace: float) -> None:
    """Until the command has ended by itself or has been ended because the pipe was closed."""
    while child.poll() is None:
        closed, _, _ = select.select([0], [], [], POLL_SECONDS)
        if closed and not os.read(0, 1):
            child.terminate()
            try:
                child.wait(grace)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def end_descendants() -> None:
    """Kill the processes that the command left. The children of a killed one become ours, hence the loop."""
    own = os.getpid()
    while True:
        for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
