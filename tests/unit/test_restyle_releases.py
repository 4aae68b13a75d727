"""Which release a request gets: restyle's reading of ``live``, ``host.json`` and ``rollout.json``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from export.releases.folder import make_live
from restyle.release import Release
from restyle.releases import HOST, ROLLOUT, NotHere, Releases
from tests.conftest import RELEASE
from tests.support.releases import read_document, write_document


class Host:
    """A folder with versions 1, 2 and 3 of `tiny`, of which 1 is live; ``said`` are the warnings."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()
        self.opened: list[int] = []
        document = read_document(RELEASE)
        for version in (3, 2, 1):
            write_document(folder, document | {"release": f"tiny-{version}"}, version)
        self.releases: Releases[str] = Releases(folder, self._build, self.said.append)

    def _build(self, release: Release) -> str:
        self.opened.append(release.version)
        return f"pipeline of {release.name}"

    def tell(self, name: str, **members: Any) -> None:
        new = self.folder / "new"
        new.write_text(json.dumps(members))
        new.rename(self.folder / name)

    async def served(self, asked: int = 0) -> str:
        async with self.releases.using(asked) as held:
            assert held.served == f"pipeline of {held.release.name}"
            return held.release.name


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


async def test_the_next_request_gets_what_has_gone_live_and_back(host: Host) -> None:
    assert await host.served() == "tiny-1"
    make_live(host.folder, 2)
    assert await host.served() == "tiny-2"
    make_live(host.folder, 1)
    assert await host.served() == "tiny-1"
    assert host.opened == [1, 2]


async def test_a_request_may_name_what_is_ready_and_what_is_tried_only_as_such(host: Host) -> None:
    host.tell(HOST, ready=[1, 2], loading=3)
    assert await host.served(2) == "tiny-2"
    with pytest.raises(NotHere, match="release 3 is not served here, where these are: 1, 2"):
        await host.served(3)
    assert await host.served(-3) == "tiny-3"
    with pytest.raises(NotHere, match="release 9 "):
        await host.served(-9)


async def test_without_an_agent_a_request_may_name_what_was_there_at_the_start(host: Host) -> None:
    assert host.releases.versions == [1, 2, 3]
    write_document(host.folder, read_document(RELEASE), 4)
    make_live(host.folder, 1)
    with pytest.raises(NotHere, match="release 4"):
        await host.served(4)


async def test_what_was_withdrawn_is_refused(host: Host) -> None:
    host.tell(ROLLOUT, withdrawn=[2])
    for asked in (2, -2):
        with pytest.raises(NotHere, match="release 2 was withdrawn"):
            await host.served(asked)
    assert host.releases.versions == [1, 3]
    host.tell(ROLLOUT, withdrawn=[])
    assert await host.served(2) == "tiny-2"


async def test_what_is_to_be_live_and_is_not_loaded_does_not_replace_what_is(host: Host) -> None:
    host.tell(HOST, ready=[1])
    make_live(host.folder, 2)
    assert [await host.served() for _ in range(3)] == ["tiny-1"] * 3
    assert host.said == [
        "version 2 is to be live, and 1 goes on: its graphs are not loaded here; restart Triton, or its agent"
    ]
    host.tell(HOST, ready=[1, 2])
    assert await host.served() == "tiny-2"


async def test_a_release_that_cannot_be_read_does_not_replace_what_is_live(host: Host) -> None:
    (host.folder / "versions" / "2" / "release.json").write_text("{")
    make_live(host.folder, 2)
    assert await host.served() == "tiny-1"
    assert "is not a release that this program knows" in host.said[0]
    with pytest.raises(NotHere, match="release 2 cannot be served"):
        await host.served(2)


@pytest.mark.parametrize("content", ["", "two", "{"])
async def test_files_that_are_no_sense_change_nothing(host: Host, content: str) -> None:
    for name in ("live", HOST, ROLLOUT):
        (host.folder / name).write_text(content)
    assert await host.served() == "tiny-1"


async def test_requests_are_counted_while_they_run_and_keep_their_release(host: Host) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def run() -> str:
        async with host.releases.using(0) as held:
            entered.set()
            await leave.wait()
            return held.release.name

    running = asyncio.create_task(run())
    await entered.wait()
    make_live(host.folder, 2)
    assert await host.served() == "tiny-2"
    assert host.releases.running == {1: 1}
    leave.set()
    assert await running == "tiny-1"
    assert host.releases.running == {}


async def test_what_nobody_can_ask_for_any_more_is_closed(host: Host) -> None:
    host.tell(HOST, ready=[1, 2])
    await host.served(2)
    host.tell(HOST, ready=[1, 3])
    await host.served(3)
    host.tell(HOST, ready=[1, 2])
    await host.served(2)
    assert host.opened == [1, 2, 3, 2]
