"""Several API processes behind one address, over a real Redis: how they start, end, and replace each other."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from stack.redis import RedisServer
from tests.support.api_server import Api, running_api, said
from tests.support.running_stack import api_processes, until

SECONDS = 30.0


@pytest.fixture
async def api(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(redis.url, tmp_path, REROOM_API_PROCESSES="2", REROOM_DRAIN="10") as running:
        await until(lambda: said(running.log).count("Application startup complete") == 2, "both serve")
        yield running


async def answer(api: Api) -> int:
    """The status of a request over a connection of its own."""
    async with httpx2.AsyncClient(base_url=api.base_url) as http:
        return (await http.get("/health/live")).status_code


def answered(api: Api) -> set[int]:
    """The processes that have answered requests."""
    return {int(pid) for pid in re.findall(r"(\d+) INFO orchestrator.access ", said(api.log))}


async def test_all_answer_and_know_the_same_jobs(api: Api) -> None:
    pids = api_processes(api.process.pid)
    job_id = await api.submit()
    began = time.monotonic()
    while answered(api) != pids:
        assert time.monotonic() < began + SECONDS, "one of the processes gets no connections"
        async with httpx2.AsyncClient(base_url=api.base_url) as http:
            assert (await http.get(f"/transform/status/{job_id}")).status_code == 200
    assert len(pids) == 2


async def test_one_that_is_killed_is_replaced_while_the_other_answers(api: Api) -> None:
    before = api_processes(api.process.pid)
    os.kill(min(before), signal.SIGKILL)
    began = time.monotonic()
    while not answered(api) - before:
        assert time.monotonic() < began + SECONDS, "no other took its place"
        assert await answer(api) == 200
    assert len(api_processes(api.process.pid)) == 2


def settings_shown(parent: int) -> dict[int, list[bytes]]:
    """Of the children of an API that do not serve: what of its settings their environments hold."""
    children = {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}
    shown = {}
    for pid in children - api_processes(parent):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        shown[pid] = [each for each in variables if each.startswith((b"REDIS_", b"REROOM_"))]
    return shown


async def test_what_multiprocessing_starts_beside_them_knows_no_secret(api: Api) -> None:
    """The API's own processes hide theirs; see test_undumpable."""
    shown = settings_shown(api.process.pid)
    assert shown
    assert not any(shown.values())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_sigterm_lets_a_request_end_and_leaves_nothing(api: Api) -> None:
    pids = api_processes(api.process.pid)
    body = b'--x\r\nContent-Disposition: form-data; name="rooms"\r\n\r\n1\r\n--x--\r\n'
    async with asyncio.timeout(SECONDS):
        reader, writer = await api.connect(
            b"POST /transform/submit HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nExpect: 100-continue\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" % len(body)
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        api.process.send_signal(signal.SIGTERM)
        await until(lambda: "Waiting for connections to close" in said(api.log), "it stops")
        writer.write(body)
        assert (await reader.read()).startswith(b"HTTP/1.1 422 ")
        assert await api.process.wait() == 0
        writer.close()
    assert not any(map(alive, pids))
    assert said(api.log).count("Finished server process") == 2


async def test_none_outlives_a_killed_supervisor(api: Api) -> None:
    pids = api_processes(api.process.pid)
    api.process.kill()
    await until(lambda: not any(map(alive, pids)), "their end")


async def ended(redis: RedisServer, folder: Path, **environment: str) -> tuple[int | None, str]:
    """Exit status and log of an API that cannot start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator.app",
        env=os.environ | {
            "REDIS_URL": redis.url,
            "REROOM_API_PROCESSES": "2",
            "REROOM_SIGNING_KEY": "a signing key for the tests",
            "REROOM_STORAGE_DIR": str(folder / "storage"),
            "REROOM_PORT": "0",
            "REROOM_LOG_FORMAT": "text",
            "PYTHONPATH": os.pathsep.join(sys.path),
        } | environment,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, message = await asyncio.wait_for(process.communicate(), SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, message.decode()


async def test_wrong_settings_are_one_sentence(redis: RedisServer, tmp_path: Path) -> None:
    status, message = await ended(redis, tmp_path, REROOM_SIGNING_KEY="short")
    assert (status, message.count("\n")) == (1, 1)
    assert "REROOM_SIGNING_KEY" in message


async def test_a_port_in_use_is_one_sentence(redis: RedisServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, message = await ended(redis, tmp_path, REROOM_PORT=str(port))
    assert (status, message) == (1, f"cannot listen on 127.0.0.1 port {port}: Address already in use\n")


async def test_processes_that_cannot_start_are_not_tried_for_ever(redis: RedisServer, tmp_path: Path) -> None:
    status, message = await ended(redis, tmp_path, REDIS_URL=f"{redis.url}?socket_timeout=soon")
    assert status == 3
    assert "Invalid value for 'socket_timeout'" in message
    assert re.search(r"process \d+ could not begin to serve; stopping them all\n$", message)


SERVES = """
import os, signal, socket, sys
from pathlib import Path
from uvicorn.config import STARTUP_FAILURE
from orchestrator.server.processes import serve_in_processes

STARTS = Path(__file__).with_name("starts")

def serve(sockets):
    with STARTS.open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if len(STARTS.read_text().split()) == 3:
        sys.exit(STARTUP_FAILURE)
    signal.pause()

if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as one:
        sys.exit(serve_in_processes(serve, 2, [one], 5))
"""
"""Two processes that serve; the first that replaces one of them cannot begin, the next one can."""


async def test_one_that_cannot_replace_another_does_not_end_those_that_serve(tmp_path: Path) -> None:
    program, starts = tmp_path / "serves.py", tmp_path / "starts"
    program.write_text(SERVES)
    starts.touch()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(sys.executable, program, env=environment)
    try:
        await until(lambda: len(starts.read_text().split()) == 2, "both started")
        first, other = map(int, starts.read_text().split())
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(starts.read_text().split()) == 4, "another took its place")
        assert alive(other)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert not alive(other)
