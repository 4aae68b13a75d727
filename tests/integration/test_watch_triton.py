"""stack/watch_triton.py over a stand-in for tritonserver, whose children bear the name of Triton's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.triton import WATCH
from tests.support.servers import free_port

STAND_IN = """
import ctypes, http.server, os, signal, subprocess, sys, threading, time
from pathlib import Path

folder = Path(sys.argv[1])
port = int(next(word for word in sys.argv if word.startswith("--http-port=")).partition("=")[2])
model = folder / "model.py"
model.write_text("import ctypes, time; ctypes.CDLL(None).prctl(15, b'triton_python_backend_stub'); time.sleep(600)")
told = [word.partition("prefix-name=")[2] for word in sys.argv if "prefix-name=" in word]
prefix = told[0] if told else f"reroom-stand-in-{os.getpid()}-"
memory = [Path(f"/dev/shm/{prefix}{number}") for number in range(2)]
stubs = [subprocess.Popen([sys.executable, model, each.name]) for each in memory]
for each in memory:
    each.touch()
while any(not Path(f"/proc/{stub.pid}/comm").read_text().startswith("triton_python_b") for stub in stubs):
    time.sleep(0.01)
(folder / "pids.new").write_text(" ".join(str(pid) for pid in [os.getpid(), *(stub.pid for stub in stubs)]))
(folder / "pids.new").rename(folder / "pids")

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if (folder / "ready").exists() else 503)
        self.end_headers()
        (folder / "asked").touch()

    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'[{"state":"LOADING"}]' if (folder / "loading").exists() else b"[]")

    def log_message(self, *_):
        pass

def unload(stub):
    stub.terminate()
    stub.wait()
    memory[stubs.index(stub)].unlink(missing_ok=True)

def stop(*_):
    for stub in stubs:
        unload(stub)
    (folder / "stopped").touch()
    os._exit(3)

signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGUSR1, lambda *_: unload(stubs[0]))
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


class Watched:
    """A watched stand-in: ``server`` and ``stubs`` are process ids."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder
        wait_for((folder / "asked").exists)
        self.server, *self.stubs = map(int, (folder / "pids").read_text().split())

    def serve(self) -> None:
        """Say that it is ready, and wait until its stubs have been looked for."""
        (self.folder / "ready").touch()
        (self.folder / "asked").unlink()
        wait_for((self.folder / "asked").exists)
        time.sleep(0.6)

    def end(self) -> tuple[int, str]:
        _, output = self.process.communicate(timeout=20)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (self.server, *self.stubs)))
        assert not list(Path("/dev/shm").glob(f"reroom-stand-in-{self.server}-*"))
        return self.process.returncode, output


@contextmanager
def watched(folder: Path, *options: str) -> Iterator[Watched]:
    command: list[str | Path] = [sys.executable, "-I", "-S", WATCH, sys.executable, "-c", STAND_IN, folder]
    with subprocess.Popen(
        [*command, f"--http-port={free_port()}", *options], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Watched(process, folder)
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_dead_stub_ends_the_server(tmp_path: Path, victim: int) -> None:
    with watched(tmp_path) as triton:
        triton.serve()
        os.kill(triton.stubs[victim], signal.SIGKILL)
        status, output = triton.end()
    assert status == 128 + signal.SIGKILL
    assert f"{tmp_path / 'model.py'} (pid {triton.stubs[victim]}), has died: ending Triton" in output


def test_a_stub_that_died_while_others_loaded_is_found_when_the_server_is_ready(tmp_path: Path) -> None:
    with watched(tmp_path) as triton:
        os.kill(triton.stubs[0], signal.SIGKILL)
        time.sleep(0.6)
        next(
            Path("/dev/shm").glob(f"reroom-stand-in-{triton.server}-0")
        ).unlink()  # no process has that name any more
        assert triton.process.poll() is None, "Triton itself reports why a model does not load"
        triton.serve()
        assert triton.end()[0] == 128 + signal.SIGKILL


def test_a_server_that_is_told_to_stop_ends_as_it_likes(tmp_path: Path) -> None:
    with watched(tmp_path) as triton:
        triton.serve()
        triton.process.terminate()
        assert triton.end() == (3, "")
    assert (tmp_path / "stopped").exists()


@pytest.mark.parametrize(("mode", "ends"), [("none", True), ("explicit", False)])
def test_a_model_that_is_unloaded_is_not_dead_where_models_are_unloaded(
    tmp_path: Path, mode: str, ends: bool
) -> None:
    with watched(tmp_path, f"--model-control-mode={mode}") as triton:
        triton.serve()
        os.kill(triton.server, signal.SIGUSR1)
        if ends:
            assert triton.end()[0] == 128 + signal.SIGKILL
        else:
            time.sleep(1.2)
            assert triton.process.poll() is None
            os.kill(triton.stubs[1], signal.SIGKILL)
            assert triton.end()[0] == 128 + signal.SIGKILL


def test_a_model_that_dies_while_it_loads_does_not_end_a_server_that_serves_others(tmp_path: Path) -> None:
    with watched(tmp_path, "--model-control-mode=explicit") as triton:
        triton.serve()
        (tmp_path / "loading").touch()
        os.kill(triton.stubs[0], signal.SIGKILL)
        time.sleep(1.2)
        assert triton.process.poll() is None
        (tmp_path / "loading").unlink()
        assert triton.end()[0] == 128 + signal.SIGKILL


def test_what_a_model_that_was_killed_while_it_loaded_leaves_in_shared_memory_is_removed(
    tmp_path: Path,
) -> None:
    """Within two looks, 5 s apart; what a living process names stays."""
    prefix = f"reroom-stand-in-of-{os.getpid()}-"
    left, others = Path(f"/dev/shm/{prefix}left"), Path(f"/dev/shm/x-{prefix}left")
    with watched(
        tmp_path,
        "--model-control-mode=explicit",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
    ) as triton:
        named = list(Path("/dev/shm").glob(f"{prefix}*"))
        assert len(named) == 2
        try:
            for each in (left, others):
                each.touch()
            triton.serve()
            time.sleep(1)
            assert left.exists(), "it may be of a model whose process is about to begin"
            wait_for(lambda: not left.exists())
            assert all(each.exists() for each in (others, *named))
        finally:
            for each in (left, others):
                each.unlink(missing_ok=True)
        triton.process.terminate()
        triton.end()


def test_a_server_is_restarted_by_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REROOM_RELEASE", str(tmp_path))
    asked = tmp_path / "restart-9001"
    asked.touch()  # by what came before
    with watched(tmp_path, "--grpc-port=9001") as triton:
        triton.serve()
        assert not asked.exists()
        asked.touch()
        assert triton.end() == (3, "ending Triton, which is to be restarted\n")
    assert not asked.exists()


def test_a_killed_watcher_takes_the_server_along(tmp_path: Path) -> None:
    with watched(tmp_path) as triton:
        triton.process.kill()
        wait_for(lambda: not Path(f"/proc/{triton.server}").exists())
        for pid in triton.stubs:  # a container, or the embedded stack's guard, would
            os.kill(pid, signal.SIGKILL)
        for file in Path("/dev/shm").glob(f"reroom-stand-in-{triton.server}-*"):
            file.unlink()


def test_a_missing_server_is_one_sentence(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, WATCH, tmp_path / "none"], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (
        127, f"error: cannot start {tmp_path / 'none'}: No such file or directory\n"
    )  # fmt: skip
