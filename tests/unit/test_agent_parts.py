"""The parts of the agent that need no Triton: what is wanted, what stays loaded, when memory has grown, and restarts in
turn."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from export.releases.agent import Agent, restarting
from export.releases.agent.bringing import Bringing
from export.releases.agent.leaving import Leaving
from export.releases.agent.record import Record
from export.releases.agent.restarting import Memory, Restarts
from export.releases.agent.wanted import Wanted
from export.releases.checksums import leave_out
from export.releases.folder import live_version, make_live, version_folder
from export.releases.host import read_host
from export.releases.memory import Growth
from export.releases.rollout import ROLLOUT, Canary, Rollout, encode
from export.releases.served import Place, Served
from export.releases.server import Alive, Server, UnreachableError
from export.releases.sources import FolderSource, Source, SourceError
from tests.support.places import make_version

LOOKS_AWAY = 3


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def record(tmp_path: Path, said: list[str]) -> Record:
    return Record(tmp_path, FolderSource(tmp_path, shared=False), "a host", said.append)


@pytest.fixture
def wanted(record: Record) -> Wanted:
    return Wanted(record)


def test_the_live_version_comes_before_the_one_on_trial_and_the_one_before(
    record: Record, wanted: Wanted
) -> None:
    canary = Canary(version=3, mode="shadow", share=1.0, since="", id="c-1")
    wanted.note(Rollout(revision=1, live=2, previous=1, canary=canary))
    assert wanted.missing() == [2, 3, 1]
    record.state.ready = [2]
    assert wanted.missing() == [3, 1]
    wanted.note(Rollout(revision=2, live=2, previous=1, withdrawn=[1]))
    assert wanted.missing() == []


def test_a_refused_version_is_tried_again_at_another_revision(record: Record, wanted: Wanted) -> None:
    record.state.refused_at = {"2": 4}
    wanted.note(Rollout(revision=4, live=2))
    assert wanted.missing() == []
    wanted.note(Rollout(revision=5, live=2))
    assert wanted.missing() == [2]
    wanted.wait(2)
    assert wanted.missing() == []


def test_what_is_live_is_let_go_only_when_another_is(record: Record, wanted: Wanted) -> None:
    make_live(record.release, 1)
    record.state.ready = [1, 2]
    wanted.note(Rollout(revision=1, live=3))
    assert wanted.surplus() == [2]
    record.state.ready = [1, 2, 3]
    make_live(record.release, 3)
    assert wanted.surplus() == [1, 2]
    record.state.ready = [1, 2]
    assert wanted.surplus() == [], "what is live is not served: nothing goes until it is"


@pytest.mark.parametrize(
    ("before", "now", "leaks"), [(400, 640, False), (400, 657, True), (4000, 4999, False), (4000, 5001, True)]
)
def test_a_triton_has_grown_by_a_quarter_and_256_megabytes(before: int, now: int, leaks: bool) -> None:
    growth = Growth()
    assert growth.leaked(1000, before) == ""
    assert growth.leaked(2000, 100 * now) == "", "with other graphs it may hold what it likes"
    assert bool(growth.leaked(1000, now)) == leaks


@dataclass
class ScriptedServer:
    """A Triton that ends when it is asked to, does not answer for some looks, and is there again."""

    release: Path
    url: str
    tell: Callable[[str], None]
    busy: int = 0
    obeys: bool = True
    returns: bool = True
    looks: int = 0
    _away: int = 0

    def alive(self, model: str, release: int = 0) -> Alive:
        asked = self.release / f"restart-{self.url.rpartition(':')[2]}"
        self.looks += 1
        if self.obeys and asked.exists():
            asked.unlink()
            self._away = LOOKS_AWAY
            self.tell(f"{self.url} ends")
        if self._away:
            self._away -= self.returns
            if not self._away:
                self.tell(f"{self.url} is back")
            raise UnreachableError("away")
        return Alive(running={1: self.busy})

    def states(self) -> dict[tuple[str, int], str]:
        return {}


class Two:
    """Two servers of a host, and what restarts them."""

    def __init__(self, record: Record, wanted: Wanted) -> None:
        self.log: list[str] = []
        self.then: dict[str, Callable[[], None]] = {}
        """What else happens at a line of the log."""
        self.servers = [ScriptedServer(record.release, url, self._tell) for url in ("one:1", "two:2")]
        self.restarts = Restarts(record, wanted, cast(list[Server], self.servers), threading.Event())

    def _tell(self, line: str) -> None:
        self.log.append(line)
        self.then.get(line, lambda: None)()


@pytest.fixture
def two(record: Record, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> Two:
    for name, seconds in (("LOOK_SECONDS", 0.001), ("QUIET_SECONDS", 0.005), ("PATIENCE_SECONDS", 60.0)):
        monkeypatch.setattr(restarting, name, seconds)
    two = Two(record, wanted)
    two.restarts.ask("it has grown")
    return two


IN_TURN = ["one:1 ends", "one:1 is back", "two:2 ends", "two:2 is back"]


def test_the_second_ends_when_the_first_is_back(two: Two, record: Record) -> None:
    assert record.state.restart == "it has grown"
    two.restarts.run()
    assert two.log == IN_TURN
    assert (record.state.restart, two.restarts.count) == ("", 1)


def test_what_is_to_be_loaded_comes_first_and_none_is_restarted_twice(
    two: Two, record: Record, wanted: Wanted
) -> None:
    record.state.ready = [1]
    wanted.note(Rollout(revision=1, live=1))
    two.servers[1].busy = 1
    two.then["one:1 is back"] = lambda: wanted.note(Rollout(revision=2, live=2, previous=1))
    two.restarts.run()
    assert two.log == IN_TURN[:2]
    assert two.restarts.wanted
    record.state.ready, two.servers[1].busy = [1, 2], 0
    two.restarts.run()
    assert two.log == IN_TURN


def test_each_is_given_time_to_become_quiet(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that the first one took is not the second's."""
    monkeypatch.setattr(restarting, "PATIENCE_SECONDS", 0.3)
    for server in two.servers:
        server.busy = 1
    looked: list[int] = []
    two.then["two:2 ends"] = lambda: looked.append(two.servers[1].looks)
    two.restarts.run()
    assert two.log == IN_TURN
    # A look is a call for each of two models.
    assert looked[0] > 3


def test_while_the_first_is_not_back_the_second_serves(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "RESTARTED_SECONDS", 0.02)
    two.servers[0].returns = False
    two.restarts.run()
    assert two.log == IN_TURN[:1]
    assert two.restarts.wanted
    two.servers[0].returns = True
    two.restarts.run()
    assert two.log[-2:] == IN_TURN[2:]


def test_a_triton_that_nobody_restarts_is_named(
    two: Two, monkeypatch: pytest.MonkeyPatch, record: Record, said: list[str]
) -> None:
    monkeypatch.setattr(restarting, "UNHEARD_SECONDS", 0.02)
    two.servers[0].obeys = False
    two.restarts.run()
    assert two.log == IN_TURN[2:]
    assert any(line.startswith("one:1 was not restarted, since nobody takes") for line in said)
    assert not list(record.release.glob("restart-*"))


def test_a_restart_that_an_earlier_agent_asked_for_waits_for_quiet_too(
    record: Record, wanted: Wanted, two: Two
) -> None:
    record.save()
    again = Record(record.release, FolderSource(record.release, shared=False), "a host", print)
    servers = cast(list[Server], two.servers)
    restarts = Restarts(again, wanted, servers, threading.Event())
    assert restarts.wanted
    two.servers[0].busy = 1
    make_live(record.release, 1)
    again.state.ready = []
    wanted.note(Rollout(revision=1, live=1))
    restarts.run()
    assert two.log == [], "it is busy, and something is to be loaded"


class Work:
    """What the thread of an agent does with ``servers``."""

    def __init__(
        self, record: Record, wanted: Wanted, servers: list[Server], source: Source | None = None
    ) -> None:
        self.stopping, served = threading.Event(), Served(record.release)
        restarts = Restarts(record, wanted, servers, self.stopping)
        memory = Memory(record, served, servers, restarts, lambda port: None)
        self.leaving = Leaving(record, wanted, served, servers, restarts, memory, self.stopping)
        self.bringing = Bringing(
            record,
            wanted,
            source or FolderSource(record.release, shared=False),
            served,
            servers,
            restarts,
            memory,
            self.leaving,
            self.stopping,
        )


@dataclass
class LoadedServer:
    """A Triton that has loaded what was linked when it started, and then loads what is linked when it is told to."""

    served: Served
    url: str = "one:1"
    busy: int = 0
    """The version that a request uses."""

    def __post_init__(self) -> None:
        self.loaded = self.served.places()

    def states(self) -> dict[Place, str]:
        return dict.fromkeys(self.loaded, "READY")

    def alive(self, model: str, release: int = 0) -> Alive:
        return Alive(running={self.busy: 1} if self.busy else {})

    def load(self, model: str, seconds: float) -> None:
        self.unload(model)
        self.loaded |= {place for place in self.served.places() if place[0] == model}

    def close(self) -> None:
        pass

    def unload(self, model: str) -> None:
        self.loaded = {place for place in self.loaded if place[0] != model}


@pytest.fixture
def triton(record: Record) -> LoadedServer:
    """It was started before the agent ever ran: version 5 is live and loaded, and not ready."""
    make_version(record.release, 5, {"denoiser": b"five", "depth": b"five too"}, live=True)
    Served(record.release).make([5])
    return LoadedServer(Served(record.release))


OF_FIVE = {("denoiser", 5), ("depth", 5)}


def test_an_agent_that_is_stopped_unloads_nothing(
    record: Record, wanted: Wanted, triton: LoadedServer, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version(record.release, 6, {"denoiser": b"six", "depth": 5})
    work = Work(record, wanted, cast(list[Server], [triton]))
    monkeypatch.setattr("export.releases.agent.bringing.warm", lambda *_, **__: work.stopping.set())
    monkeypatch.setattr("export.releases.agent.bringing.Server", lambda url: triton)
    for version, loaded in ((5, OF_FIVE), (6, OF_FIVE | {("denoiser", 6)})):
        work.stopping.clear()
        wanted.note(Rollout(revision=version, live=version))
        work.bringing.bring(version)
        assert triton.loaded == triton.served.places() == loaded
        assert said[-1].endswith(f"-{version} is not made ready now: the agent stops")
    assert record.state.loading is None


def test_what_is_live_serves_on_when_it_is_refused(
    record: Record, wanted: Wanted, triton: LoadedServer, said: list[str]
) -> None:
    (version_folder(record.release, 5) / "note.txt").touch()
    wanted.note(Rollout(revision=1, live=5))
    Work(record, wanted, cast(list[Server], [triton])).bringing.bring(5)
    assert "note.txt is no file of" in record.state.problems["5"]
    assert "-5 is refused, and it serves on until another is live: " in said[-1]
    assert triton.loaded == triton.served.places() == OF_FIVE


def test_what_is_live_serves_on_while_what_is_wanted_in_its_place_comes(
    record: Record, wanted: Wanted, triton: LoadedServer, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback, before what was live became ready: its graphs go when another is live and no request uses them."""
    make_version(record.release, 4, {"denoiser": b"four", "depth": b"four too"})
    work = Work(record, wanted, cast(list[Server], [triton]))
    wanted.note(Rollout(revision=1, live=5, previous=4))
    rollback = Rollout(revision=2, live=4, withdrawn=[5])
    monkeypatch.setattr("export.releases.agent.bringing.warm", lambda *_, **__: wanted.note(rollback))
    work.bringing.bring(5)
    assert said[-1].endswith("-5 is not made ready now: it is not wanted any more")
    assert triton.loaded == OF_FIVE
    work.leaving.tidy()
    assert triton.loaded == OF_FIVE
    tidied = not work.leaving.untidy
    assert tidied
    Served(record.release).add(("denoiser", 4))
    Served(record.release).add(("depth", 4))
    triton.loaded |= {("denoiser", 4), ("depth", 4)}
    record.state.ready, triton.busy = [4], 5
    make_live(record.release, 4)
    assert work.leaving.untidy
    work.leaving.tidy()
    assert triton.loaded > OF_FIVE, "a request is not finished"
    triton.busy = 0
    work.leaving.tidy()
    assert triton.loaded == {("denoiser", 4), ("depth", 4)}


def test_what_is_live_stays_loaded_when_its_files_or_its_name_are_gone(
    record: Record, wanted: Wanted, triton: LoadedServer
) -> None:
    work = Work(record, wanted, cast(list[Server], [triton]))
    (record.release / "live").write_text("five\n")
    work.leaving.tidy()
    assert triton.loaded == OF_FIVE, "nobody can tell what is live"
    make_live(record.release, 5)
    (version_folder(record.release, 5) / "release.json").unlink()
    record.state.ready = [5]
    work.leaving.tidy()
    assert triton.loaded == OF_FIVE


def test_what_the_starter_left_out_is_not_made_live_before_it_is_whole_again(
    record: Record, said: list[str]
) -> None:
    folder = record.release
    for version in (4, 5):
        make_version(folder, version, {"denoiser": b"%d" % version})
    record.state.ready, record.state.live = [4, 5], 5
    make_live(folder, 5)
    record.save()
    (folder / ROLLOUT).write_bytes(encode(Rollout(revision=1, live=5, previous=4)))
    agent = Agent(folder, ["127.0.0.1:9"], FolderSource(folder, shared=False), report=said.append)
    agent.step()
    leave_out(folder, 5)
    make_live(folder, 4)
    agent.step()
    agent.step()
    assert live_version(folder) == 4
    assert said.count("Triton was started without [5], which are looked at again") == 1
    host = read_host(folder)
    assert host is not None
    assert (host.live, host.ready) == (4, [4])
    assert not list(folder.glob("left-out-*"))
    agent.stopping.set()
    agent.run()


def test_a_version_on_whose_way_triton_went_away_is_tried_once_more(
    record: Record, wanted: Wanted, two: Two
) -> None:
    class Away(FolderSource):
        def bring(self, version: int) -> None:
            raise UnreachableError("one:1: loading denoiser: connection refused")

    source = Away(record.release, shared=False)
    bringing = Work(record, wanted, cast(list[Server], two.servers), source).bringing
    for revision in (1, 2):
        wanted.note(Rollout(revision=revision, live=2))
        bringing.bring(2)
        assert record.state.refused_at.get("2") in (None, revision - 1), "it is tried once more"
        assert record.state.loading is None
        bringing.bring(2)
        assert record.state.refused_at == {"2": revision}
        assert record.state.problems["2"].startswith("twice Triton did not answer while it was loaded")


def test_what_cannot_be_fetched_now_is_tried_again_unasked(record: Record, wanted: Wanted, two: Two) -> None:
    class Busy(FolderSource):
        def bring(self, version: int) -> None:
            raise SourceError("another fetch is at work: wait for it", retry_after=60.0)

    bringing = Work(
        record, wanted, cast(list[Server], two.servers), Busy(record.release, shared=False)
    ).bringing
    wanted.note(Rollout(revision=1, live=2))
    bringing.bring(2)
    assert record.state.refused_at == {}
    assert record.state.problems == {"2": "another fetch is at work: wait for it"}
    assert 50.0 < wanted._retry_at[2] - time.monotonic() <= 60.0
    assert wanted.missing() == []
    wanted.note(Rollout(revision=2, live=2))
    assert wanted.missing() == [2], "and sooner when it is promoted again"


def test_an_agent_goes_on_where_the_file_live_is_garbled(record: Record, said: list[str]) -> None:
    folder = record.release
    record.state.ready, record.state.live = [1, 2], 1
    record.save()
    (folder / "live").write_text("one\n")
    # Nothing listens there.
    agent = Agent(folder, ["127.0.0.1:9"], FolderSource(folder, shared=False), report=said.append)
    agent.step()
    garbled = f"{folder}/live names no version: write the number of the live one into it"
    assert said[-1] == f"what shall be live cannot be read, so nothing is changed: {garbled}"
    (folder / "rollout.json").write_bytes(encode(Rollout(revision=1, live=1, previous=2)))
    agent.step()
    assert live_version(folder) == 1
    agent.stopping.set()
    agent.run()


def test_a_full_disk_ends_no_agent(record: Record, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = record.release
    record.state.ready, record.state.live = [1, 2], 1
    make_live(folder, 1)
    record.save()
    (folder / ROLLOUT).write_bytes(encode(Rollout(revision=1, live=2, previous=1)))
    # Nothing listens there.
    agent = Agent(folder, ["127.0.0.1:9"], FolderSource(folder, shared=False), report=said.append)

    def full(release: Path, version: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("export.releases.agent.agent.make_live", full)
        agent.step()
    assert live_version(folder) == 1
    assert any(line.startswith("what shall be live cannot be written here: ") for line in said)
    agent.step()
    assert live_version(folder) == 2
    agent.stopping.set()
    agent.run()
