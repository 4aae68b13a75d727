"""A Triton that has grown is restarted while another serves: the agent with the whole stack, two Tritons and jobs."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.other_releases import add_version
from benchmarks.release_jobs import jobs_running, mixed, pictures_of, small_photo, until
from export.releases.agent import Agent, leaving, restarting
from export.releases.changes import promote, roll_back
from export.releases.folder import only_agent
from export.releases.host import Host, read_host
from export.releases.memory import Usage
from export.releases.rollout import FolderRollouts
from export.releases.server import Server, ServerError
from export.releases.sources import open_source
from stack.stack import Stack
from tests.conftest import RELEASE


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    release = shutil.copytree(RELEASE, tmp_path / "tiny")
    add_version(release, 2, graphs=("vae_decoder",), buckets=1)
    stack = Stack(tmp_path / "run", release=release, tritons=2, device="cpu")
    with stack, stack.supervised():
        yield stack


class Scale:
    """What the agent is told that a Triton holds."""

    def __init__(self) -> None:
        self.megabytes = 500

    def __call__(self, grpc_port: int) -> Usage:
        return Usage(server=self.megabytes, models=0)


class Servers:
    """Which of the Tritons answer, as they come and go."""

    def __init__(self, stack: Stack) -> None:
        self._servers = [Server(url) for url in stack.triton_urls.values()]
        self._answering = [True] * len(self._servers)
        self.turns: list[tuple[int, str]] = []

    def look(self) -> None:
        for number, server in enumerate(self._servers):
            try:
                server.states()
                answers = True
            except ServerError:
                answers = False
            if answers != self._answering[number]:
                self._answering[number] = answers
                self.turns.append((number, "back" if answers else "away"))


@contextmanager
def agent_of(stack: Stack, usage: Callable[[int], Usage]) -> Iterator[None]:
    """An agent in a thread of this process."""
    host = stack.served_release
    source = open_source(host, str(stack.release), print)
    agent = Agent(host, list(stack.triton_urls.values()), source, usage=usage)
    thread = threading.Thread(target=agent.run, name="agent")
    with only_agent(host):
        thread.start()
        try:
            yield
        finally:
            agent.stopping.set()
            thread.join()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_tritons_that_have_grown_are_restarted_one_after_the_other_while_jobs_go_on(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "LINGER_SECONDS", 0.5)
    monkeypatch.setattr(restarting, "PATIENCE_SECONDS", 1.0)
    scale, servers, rollouts = Scale(), Servers(stack), FolderRollouts(stack.release)
    pids = [stack.pid(name) for name in stack.triton_urls]

    def host() -> Host:
        return read_host(stack.served_release) or Host()

    async def live(version: int, ready: list[int]) -> None:
        def so() -> bool:
            return (host().live, host().ready, host().leaving) == (version, ready, None)

        await until(so, host)

    with agent_of(stack, scale):
        async with jobs_running(stack.url, small_photo(), 0.4) as load:
            promote(stack.release, rollouts, 2, "cpu", by="a test")
            await live(2, [1, 2])
            roll_back(stack.release, rollouts, by="a test")
            await live(1, [1])
            assert not host().restart
            scale.megabytes *= 2
            promote(stack.release, rollouts, 2, "cpu", by="a test", again=True)
            await until(lambda: bool(host().restart), host)
            assert host().restart == "Triton holds 2000 MB, and held 1000 MB with the same graphs before"
            while host().restart:
                await asyncio.to_thread(servers.look)
            await live(2, [1, 2])
            done = len(load.ran)
            await until(lambda: len(load.ran) > done + 1, host)
    assert servers.turns == [(0, "away"), (0, "back"), (1, "away"), (1, "back")]
    assert all(stack.pid(name) != pid for name, pid in zip(stack.triton_urls, pids, strict=True))
    assert [each.error for each in load.ran if each.error] == []
    assert mixed(pictures_of(load.ran)) == 0
    assert not list(stack.served_release.glob("restart-*"))
