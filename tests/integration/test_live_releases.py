"""Releases that go live, and back, on a real Triton that serves meanwhile: export/releases/agent with `restyle`."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.other_releases import add_version, force_live
from export.releases.changes import promote, roll_back
from export.releases.folder import agent_runs, live_version
from export.releases.host import Host, read_host
from export.releases.rollout import FolderRollouts
from export.releases.served import Served, prepare
from export.releases.server import Server, is_gone
from reroom.triton import RestyleError, RestyleRequest, TritonClient
from stack.process import Part, Process
from stack.triton import ROOT, TritonServer
from tests.conftest import RELEASE
from tests.support.pictures import room
from tests.support.restyles import result_of
from tests.support.steady import ask, picture_of, steady

PATIENCE = 60.0
REQUEST = RestyleRequest(image=room(64, 64), prompt="a boho room", seed=3, steps=2)


class HostUnderTest:
    """A Triton with an agent; ``release`` is the folder that both share."""

    def __init__(self, release: Path, triton: TritonServer, log: Path) -> None:
        self.release, self.triton, self._log = release, triton, log
        self.agent: Process | None = None

    def start_agent(self) -> None:
        module = [sys.executable, "-m", "export.releases.agent"]
        command = [*module, str(self.release), "--triton", self.triton.grpc]
        part = Part(name="agent", command=command, ready=lambda: agent_runs(self.release))
        self.agent = Process(part, self._log)
        self.agent.wait_ready()

    def kill_agent(self) -> None:
        assert self.agent is not None
        os.kill(self.agent.pid, signal.SIGKILL)
        self.agent.stop()

    @property
    def state(self) -> Host:
        return read_host(self.release) or Host()

    def loaded(self) -> set[str]:
        """The graphs that Triton loads or has loaded, such as denoiser/4."""
        server = Server(self.triton.grpc)
        try:
            return {
                f"{model}/{number}"
                for (model, number), state in server.states().items()
                if not is_gone({(model, number): state}, (model, number))
            }
        finally:
            server.close()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (
                f"not {what}: {self.state}\n{self._log.read_text()[-2000:]}\n{self.triton.log[-1500:]}"
            )
            await asyncio.sleep(0.02)

    def promote(self, version: int) -> None:
        promote(self.release, FolderRollouts(self.release), version, "cpu", by="a test", again=True)

    def roll_back(self) -> None:
        roll_back(self.release, FolderRollouts(self.release), by="a test")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    folder = tmp_path_factory.mktemp("releases")
    release = shutil.copytree(RELEASE, folder / "tiny")
    add_version(release, 2, buckets=1)
    prepare(release)
    with TritonServer(
        [ROOT / "model_repository", release / "served"], folder / "run", release=release, device="cpu"
    ) as triton:
        host = HostUnderTest(release, triton, folder / "agent.log")
        host.start_agent()
        try:
            yield host
        finally:
            if host.agent is not None:
                host.agent.stop()


@pytest.fixture
async def client(host: HostUnderTest) -> AsyncIterator[TritonClient]:
    async with TritonClient(host.triton.grpc) as client:
        yield client


@pytest.mark.timeout(180)
async def test_a_release_goes_live_and_back_and_no_request_fails_or_is_mixed(
    host: HostUnderTest, client: TritonClient
) -> None:
    async with steady([client], REQUEST) as made:
        host.promote(2)
        await host.until(lambda: live_version(host.release) == 2, "live")
        switched = time.monotonic()
        pictures = {f"tiny-{n}": await picture_of(client, REQUEST, n) for n in (1, 2)}
        assert pictures["tiny-1"] != pictures["tiny-2"]
        assert {each.release for each in made.since(switched)} == {"tiny-2"}
        host.roll_back()
        asked = time.monotonic()
        await host.until(lambda: any(each.release == "tiny-1" for each in made.since(asked)), "back")
        took = next(each.began for each in made.since(asked) if each.release == "tiny-1") - asked
        assert took < 5, "the benchmark asks for less than 1"
        await host.until(lambda: host.state.ready == [1], "unloaded")
    assert not made.failed
    assert not made.mixed(pictures)
    assert not host.state.problems


async def test_a_release_that_is_withdrawn_or_unknown_is_refused_by_name(
    host: HostUnderTest, client: TritonClient
) -> None:
    for version, why in (
        (2, "release 2 was withdrawn"),
        (9, "release 9 is not served here, where these are: 1"),
    ):
        with pytest.raises(RestyleError, match=why) as refused:
            await picture_or_error(client, version)
        assert refused.value.code == "release_not_here"
    assert (await client.probe("restyle", deadline=10)).releases == [1]


async def picture_or_error(client: TritonClient, version: int) -> None:
    await result_of(client, RestyleRequest(image=REQUEST.image, prompt="a room", steps=1, release=version))


@pytest.mark.timeout(180)
async def test_a_release_with_a_broken_graph_is_refused_and_the_old_one_serves_on(
    host: HostUnderTest, client: TritonClient
) -> None:
    add_version(host.release, 3, graphs=("denoiser",), buckets=1, break_graph="vae_decoder")
    async with steady([client], REQUEST, 1) as made:
        force_live(host.release, 3)
        await host.until(lambda: host.state.problems.get("3"), "refused")
        await host.until(lambda: host.state.loading is None, "over")
    assert "vae_decoder" in host.state.problems["3"]
    assert live_version(host.release) == 1
    assert not made.failed
    assert {each.release for each in made.made} == {"tiny-1"}
    host.roll_back()


@pytest.mark.timeout(180)
async def test_what_a_killed_agent_left_loaded_is_unloaded_when_nobody_wants_it_any_more(
    host: HostUnderTest, client: TritonClient
) -> None:
    add_version(host.release, 4, buckets=1)
    host.promote(4)
    await host.until(lambda: "denoiser/4" in host.loaded(), "loading")
    host.kill_agent()
    host.roll_back()
    host.start_agent()
    await host.until(lambda: host.state.loading is None, "tidied up")
    assert {name for name in host.loaded() if name.endswith("/4")} == set()
    served = Served(host.release)
    assert served.places() == served.wanted([1])
    assert not (await ask(client, REQUEST)).error


@pytest.mark.timeout(180)
async def test_an_agent_that_is_killed_while_it_loads_a_release_goes_on_when_it_is_started_again(
    host: HostUnderTest, client: TritonClient
) -> None:
    async with steady([client], REQUEST, 1) as made:
        host.promote(4)
        await host.until(lambda: host.state.loading == 4, "loading")
        host.kill_agent()
        assert live_version(host.release) == 1
        host.start_agent()
        await host.until(lambda: live_version(host.release) == 4, "live")
    assert not made.failed
    assert {each.release for each in made.made} >= {"tiny-1"}
    await host.until(lambda: host.state.ready == [1, 4], "rid of what nobody wants")


@pytest.mark.timeout(180)
async def test_a_graph_that_kills_its_process_is_refused_and_the_old_one_serves_on(
    host: HostUnderTest, client: TritonClient
) -> None:
    """It depends on the moment whether Triton says that it died or waits for it for ever; then it is restarted."""
    add_version(host.release, 5, graphs=("vae_decoder",))
    live = live_version(host.release)
    async with steady([client], REQUEST, 1) as made:
        force_live(host.release, 5)
        assert await asyncio.to_thread(kill_process_of, "vae_decoder/5")
        await host.until(lambda: host.state.problems.get("5"), "refused")
        served = len(made.made)
        await host.until(lambda: len(made.made) > served + 2, "serving on")
        stuck = bool(host.state.restart)
        host.roll_back()
    assert "vae_decoder" in host.state.problems["5"]
    assert live_version(host.release) == live
    assert not made.failed
    if stuck:
        await host.until(lambda: host.triton.process and host.triton.process.exit_status is not None, "ended")
        assert "which is to be restarted" in host.triton.log


def kill_process_of(graph: str) -> bool:
    """Kill the process that loads a graph, as soon as it is there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if (
                    folder.name.isdecimal()
                    and f"/served/{graph}/".encode() in (folder / "cmdline").read_bytes()
                ):
                    os.kill(int(folder.name), signal.SIGKILL)
                    return True
    return False
