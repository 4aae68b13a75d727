"""Run tritonserver and end it when the process of a Python model has died.

Usage: watch_triton.py tritonserver OPTION…

A Python model runs in a process of its own, triton_python_backend_stub. Triton never restarts a dead one, still reports
that it is ready, and fails every request for that model. This script kills such a Triton, so that its supervisor (a
container's restart policy, stack/supervisor.py) starts another. The exit status is Triton's, 128 + n after signal n,
and Triton gets the signals that this script gets.

The script waits until Triton reports over HTTP that it is ready: while Triton loads, a model that fails ends its own
process, and Triton logs the reason. A process that died meanwhile is found at the first look. A Triton that may unload
models (--model-control-mode) ends their processes too, and reaps them; there, only one that stays a zombie is dead, and
only if Triton serves its model: one that died while it loaded has never served, and what it was to replace goes on.

There, a model may also be killed while it loads or unloads, and Triton then keeps the file in /dev/shm over which they
exchanged tensors. This script removes those that no living process names, where Triton was told a prefix for them.

Who wants Triton restarted makes the file restart-PORT in the folder REROOM_RELEASE, PORT being that of gRPC. Triton
then ends as at SIGTERM.

It shares no code with the rest of the stack: it is a script on the bare standard library, which
docker/triton.Dockerfile copies alone into NVIDIA's container.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STUB = "triton_python_backend_stub"[:15]
"""As the kernel keeps names."""
LOOK_SECONDS = 0.25
SEARCH_SECONDS = 5.0
"""How often models that were loaded meanwhile are looked for."""
END_SECONDS = 20.0
"""How long a Triton that is to be restarted may take to end; longer than --exit-timeout-secs."""
SHARED_MEMORY = Path("/dev/shm")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def main(command: Sequence[str]) -> int:
    if not command or command[0] in ("-h", "--help"):
        print((__doc__ or "").strip())
        return 0 if command else 2
    restart = restart_file(command)
    if restart:
        restart.unlink(missing_ok=True)
    # Stubs of a Triton that was killed become children of this process, which can then end them.
    _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        server = subprocess.Popen(
            command, preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        )
    except OSError as error:
        print(f"error: cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    stopping: list[int] = []
    stubs: dict[int, Stub] = {}

    def stop(number: int, frame: object) -> None:
        stopping.append(number)
        server.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    dead = watch(server, stubs, stopping, command, restart)
    if restart and restart.exists():
        restart.unlink(missing_ok=True)
        print("ending Triton, which is to be restarted", file=sys.stderr, flush=True)
        end(server)
    elif dead:
        print(
            f"error: the process of a Python model, {dead}, has died: ending Triton",
            file=sys.stderr,
            flush=True,
        )
        server.kill()
    status = server.wait()
    end_descendants()
    for stub in stubs.values():
        if stub.memory:
            (SHARED_MEMORY / stub.memory).unlink(missing_ok=True)
    return status if status >= 0 else 128 - status


class Stub(NamedTuple):
    """The process of a Python model, as its arguments name it; one that was dead already has none."""

    name: str
    memory: str
    """The file in SHARED_MEMORY over which it exchanges tensors with Triton. A killed stub leaves it behind."""
    model: str = ""
    version: str = ""
    """Of the model; empty when they are not known."""


def watch(
    server: subprocess.Popen[bytes],
    stubs: dict[int, Stub],
    stopping: Sequence[int],
    command: Sequence[str],
    restart: Path | None = None,
) -> str:
    """Fill ``stubs`` and wait until one of them has died; returns its name.

    Returns "" when Triton has ended, a signal in ``stopping`` asks for that, or the file ``restart`` does.
    """
    host, port = http_endpoint(command)
    while not is_ready(host, port):
        if stopping or ended(server):
            return ""
    unloads = option(command, "model-control-mode", "none") != "none"
    prefix = shared_prefix(command) if unloads else ""
    suspects: set[int] = set()
    leftovers: set[str] = set()
    searched = 0.0
    while not (stopping or ended(server)):
        if restart and restart.exists():
            return ""
        if time.monotonic() - searched >= SEARCH_SECONDS:
            searched = time.monotonic()
            pids = find_stubs(server.pid)
            stubs |= {pid: describe(pid) for pid in pids if pid not in stubs}
            if prefix:
                leftovers = drop_leftovers(prefix, pids, leftovers)
        found = {pid: stat(pid) for pid in stubs}
        gone = {pid for pid, (_, *identity) in found.items() if identity != [STUB, server.pid]}
        zombies = {pid for pid, (state, *_) in found.items() if state == "Z"} - gone
        died = zombies | gone
        if unloads:
            died = {pid for pid in zombies & suspects if serves(host, port, stubs[pid])}
        # A Triton that ends takes its stubs along.
        if died and not stopping and not ended(server):
            return stubs[min(died)].name
        suspects = zombies
        for pid in gone:
            del stubs[pid]
    return ""


def ended(server: subprocess.Popen[bytes]) -> bool:
    """Whether Triton has ended, after a pause."""
    time.sleep(LOOK_SECONDS)
    return server.poll() is not None


def option(command: Sequence[str], name: str, default: str) -> str:
    """The value of ``--name=value``, or of ``--name value``."""
    value = default
    for index, word in enumerate(command):
        if word.startswith(f"--{name}="):
            value = word.partition("=")[2]
        elif word == f"--{name}" and index + 1 < len(command):
            value = command[index + 1]
    return value


def http_endpoint(command: Sequence[str]) -> tuple[str, int]:
    """Where Triton reports whether it is ready: host and port."""
    address = option(command, "http-address", "127.0.0.1")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    return host, int(option(command, "http-port", "8000"))


def is_ready(host: str, port: int) -> bool:
    return answer(host, port, "GET", "/v2/health/ready")[0] == 200


def answer(host: str, port: int, method: str, path: str) -> tuple[int, bytes]:
    """The status and the body of an answer over HTTP; (0, b"") when there is none."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request(method, path, body=b"{}" if method == "POST" else None)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def serves(host: str, port: int, stub: Stub) -> bool:
    """Whether Triton says that it serves the model of a process that is dead, and does not load it."""
    if stub.model:
        return answer(host, port, "GET", f"/v2/models/{stub.model}/versions/{stub.version}/ready")[0] == 200
    # It died before it was looked at. While something loads, it was probably that.
    return b'"LOADING"' not in answer(host, port, "POST", "/v2/repository/index")[1]


def restart_file(command: Sequence[str]) -> Path | None:
    """What asks for a restart; see the module."""
    folder = os.environ.get("REROOM_RELEASE")
    return Path(folder, f"restart-{option(command, 'grpc-port', '8001')}") if folder else None


def end(server: subprocess.Popen[bytes]) -> None:
    """Ask Triton to stop, and kill it when it has not: it waits for ever for a model that never finishes loading."""
    server.terminate()
    try:
        server.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


def stat(pid: int) -> tuple[str, str, int]:
    """A process's state, name and parent, as /proc has them; the state is empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", "", 0
    name, _, rest = text.rpartition(")")
    fields = rest.split()
    return fields[0], name.partition("(")[2], int(fields[1])


def find_stubs(parent: int) -> list[int]:
    """The stubs that Triton has started. Not from its list of children, which not every kernel keeps."""
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    return [pid for pid in pids if stat(pid)[1:] == (STUB, parent)]


def describe(pid: int) -> Stub:
    """Its arguments begin with the path of the model and the name of the shared memory."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        words = []
    if len(words) < 3:
        return Stub(f"pid {pid}", "")
    *_, model, version, _ = ["", "", *words[1].split("/")]
    known = (model, version) if version.isdecimal() else ("", "")
    return Stub(f"{words[1]} (pid {pid})", words[2] if "/" not in words[2] else "", *known)


def shared_prefix(command: Sequence[str]) -> str:
    """How the files in SHARED_MEMORY of this Triton begin; empty when it was not told."""
    told = "--backend-config=python,shm-region-prefix-name="
    return next((word.removeprefix(told) for word in command if word.startswith(told)), "")


def drop_leftovers(prefix: str, pids: Sequence[int], before: set[str]) -> set[str]:
    """Remove the files that none of the stubs names now, nor did at the last look; returns those to remove at the next.

    Triton makes the file first and the process after it, so one look is not enough. A stub that has died meanwhile
    names none, though it did once, so each is described anew.
    """
    files = {each.name for each in SHARED_MEMORY.glob(f"{prefix}*")}
    unnamed = files - {describe(pid).memory for pid in pids}
    for name in unnamed & before:
        (SHARED_MEMORY / name).unlink(missing_ok=True)
    return unnamed - before


def end_descendants() -> None:
    """Kill the processes that Triton left. The children of a killed one become ours, hence the loop."""
    while True:
        for pid in [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]:
            if stat(pid)[2] == os.getpid():
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
