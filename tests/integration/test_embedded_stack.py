"""`up` and `demo` as users run them: one signal ends everything, whenever it comes, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import InferenceServerClient

from stack.demo import SAMPLE
from stack.triton import answers
from tests.support.running_stack import processes_of

ROOT = Path(__file__).parents[2]
LIMIT = 120.0


def assert_nothing_left(run: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while left := processes_of(run):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@contextmanager
def command(name: str, *arguments: str | Path, **options: str) -> Iterator[subprocess.Popen[str]]:
    """``python -m stack NAME --bundle tiny …``, with its output as text; Triton on a free port."""
    if name == "up":
        arguments = ("--triton-port", "0", *arguments)
    with subprocess.Popen(
        [sys.executable, "-m", "stack", name, "--bundle", "tiny", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, **options},
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"no {pattern!r} in:\n{''.join(seen)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_a_running_stack(tmp_path: Path, number: signal.Signals) -> None:
    with command("up", "--port", "0", "--run", tmp_path) as process:
        url = read_until(process, r"serves at (http\S+)")[1]
        grpc = read_until(process, r"^triton: gRPC at (\S+)$")[1]
        device = read_until(process, r"^the networks run on: (\S+)$")[1]
        with InferenceServerClient(grpc) as triton:
            assert triton.is_model_ready("restyle")
        assert answers(f"{url}/health/live")
        with urllib.request.urlopen(f"{url}/health") as response:
            assert json.load(response)["services"]["triton"]["devices"] == [device]
        assert len(processes_of(tmp_path)) > 8
        process.send_signal(number)
        read_until(process, "stopping")
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output.splitlines()[-1] == "stopped"
    assert processes_of(tmp_path) == []
    assert not list(Path("/dev/shm").glob(f"reroom-{process.pid}-*"))


def test_an_open_upload_does_not_get_the_api_killed(tmp_path: Path) -> None:
    with command("up", "--port", "0", "--run", tmp_path, "--host", "0.0.0.0", API_BASE_URL="") as process:
        port = int(read_until(process, r"serves at http://127.0.0.1:(\d+)")[1])
        # Others can reach it, so it asks for keys.
        key = read_until(process, r"rr_[0-9a-f]{16}_[0-9a-f]{64}")[0]
        assert f"http://<this machine>:{port}" in read_until(process, r"warning: .*API_BASE_URL=.*")[0]
        with socket.create_connection(("127.0.0.1", port)) as upload:
            upload.sendall(
                b"POST /transform/submit HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\nX-API-Key: " + key.encode() + b"\r\n\r\n"
            )
            assert upload.recv(100).startswith(b"HTTP/1.1 100")  # the API waits for the body now
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    assert "Finished server process" in (tmp_path / "logs" / "api.log").read_text()
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.5])
def test_ctrl_c_while_starting_leaves_nothing(tmp_path: Path, seconds: float) -> None:
    with command("up", "--port", "0", "--run", tmp_path) as process:
        read_until(process, "starting")
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in output
    assert processes_of(tmp_path) == []


def test_a_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    with command("up", "--port", "0", "--run", tmp_path) as process:
        read_until(process, "serves at")
        process.kill()
    assert_nothing_left(tmp_path, 30)


def test_a_port_in_use_and_a_folder_in_use_are_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with command("up", "--port", port, "--run", tmp_path) as process:
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.splitlines()[1].startswith(
        f"error: cannot listen on 127.0.0.1:{port} (Address already in use)"
    )
    with command("up", "--port", "0", "--run", tmp_path) as first:
        read_until(first, "serves at")
        with command("up", "--port", "0", "--run", tmp_path) as second:
            output, _ = second.communicate(timeout=30)
        assert second.returncode == 1
        assert output.startswith(f"error: another stack runs in {tmp_path}")
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=30)


def test_the_demo_writes_its_pictures_and_leaves_nothing(tmp_path: Path) -> None:
    with command("demo", "--out", tmp_path, REROOM_MARK=str(tmp_path)) as process:
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    for stage in (
        "start the stack",
        "upload and queue",
        "job (queued",
        "download",
        "stop the stack",
        "total",
    ):
        assert stage in output
    with (
        Image.open(tmp_path / "result.jpg") as result,
        Image.open(tmp_path / "thumbnail.jpg") as small,
        Image.open(tmp_path / "before-after.png") as both,
        Image.open(SAMPLE) as photo,
    ):
        assert abs(result.width / result.height - photo.width / photo.height) < 0.02
        assert small.width < result.width or result.width <= 512
        assert both.height == result.height
        shown = np.asarray(both.crop((0, 0, *result.size)), np.float32)
        assert np.abs(shown - np.asarray(photo.resize(result.size))).mean() < 8.0, "another photo than SAMPLE"
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_an_interrupted_demo_leaves_nothing(tmp_path: Path, seconds: float) -> None:
    with command("demo", "--out", tmp_path, REROOM_MARK=str(tmp_path)) as process:
        deadline = time.monotonic() + LIMIT
        while len(processes_of(tmp_path)) < 2:
            assert time.monotonic() < deadline, "no part was started"
            time.sleep(0.02)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert processes_of(tmp_path) == []


def test_a_photo_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with command("demo", "--out", tmp_path, "--photo", tmp_path / "none.jpg") as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output == f"error: cannot read the photo {tmp_path / 'none.jpg'}: No such file or directory\n"
