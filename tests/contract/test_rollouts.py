"""The contract of Rollouts, held against every adapter, and what the folder does beside it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from measuring.s3_server import CREDENTIALS, S3Server
from orchestrator.adapters.releases.folder import AGENT_LOCK, FolderRollouts
from orchestrator.adapters.releases.objects import ObjectRollouts, open_rollouts
from orchestrator.domain.releases import (
    Canary,
    NotPossible,
    ReleaseVersion,
    Rollout,
    promoted,
    taken_back,
    tried,
)
from orchestrator.ports import AnotherWriter, Rollouts, Unavailable
from orchestrator.settings import load_settings

REAL = os.environ.get("REROOM_TEST_R2") == "1"
"""As in test_storage.py."""
FIFTH = ReleaseVersion(version=5, release="dollhouse-5", verified=True)


@dataclass
class Place:
    """Where releases lie, and what makes a file there."""

    rollouts: Rollouts
    put: Callable[[str, bytes], Awaitable[None]]
    get: Callable[[str], Awaitable[bytes]]


@pytest.fixture(params=["folder", "s3", *(["r2"] if REAL else [])])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    if request.param == "folder":
        yield a_folder(tmp_path)
        return
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3")
        where = {"endpoint": server.url, "region": "auto", "bucket": server.bucket(), **CREDENTIALS}
    else:
        monkeypatch.setenv("REROOM_SIGNING_KEY", "not used with a bucket")
        settings = load_settings()
        assert settings.r2_secret_access_key is not None
        where = {
            "endpoint": str(settings.r2_endpoint_url),
            "region": settings.s3_region,
            "bucket": str(settings.r2_bucket_name),
            "access_key": str(settings.r2_access_key_id),
            "secret_key": settings.r2_secret_access_key.get_secret_value(),
        }
    async with open_rollouts(prefix=f"test-{uuid.uuid4().hex}/rooms/", **where) as rollouts:
        yield on_objects(rollouts)
        for name in await rollouts._names(""):
            await rollouts._client.delete_object(Bucket=rollouts._bucket, Key=f"{rollouts._prefix}{name}")


def a_folder(root: Path) -> Place:
    async def put(name: str, content: bytes) -> None:
        file = root / (name.replace("hosts/here", "host"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    async def get(name: str) -> bytes:
        return (root / name).read_bytes()

    return Place(FolderRollouts(root), put, get)


def on_objects(rollouts: ObjectRollouts) -> Place:
    async def put(name: str, content: bytes) -> None:
        await rollouts._client.put_object(
            Bucket=rollouts._bucket, Key=f"{rollouts._prefix}{name}", Body=content
        )

    async def get(name: str) -> bytes:
        content, _ = await rollouts._get(name)
        assert content is not None
        return content

    return Place(rollouts, put, get)


async def test_a_place_without_a_document_has_what_is_live(place: Place) -> None:
    assert await place.rollouts.read() == Rollout()
    await place.put("live", b"4\n")
    assert await place.rollouts.read() == Rollout(live=4)


async def test_what_was_written_is_read(place: Place) -> None:
    await place.put("live", b"4\n")
    first = tried(await place.rollouts.read(), FIFTH, "shadow", 0.25, "me", 1_800_000_000.0)
    await place.rollouts.write(first)
    assert await place.rollouts.read() == first
    assert first.canary is not None
    assert (first.revision, first.live, first.canary.version) == (1, 4, 5)
    second = promoted(first, FIFTH, "me", 1_800_000_060.0)
    await place.rollouts.write(second)
    found = json.loads(await place.get("rollout.json"))
    assert found == {
        "format": 1, "revision": 2, "live": 5, "previous": 4, "withdrawn": [], "changed": "2027-01-15T08:01:00Z",
        "by": "me", "canary": None,
    }  # fmt: skip


async def test_of_two_writers_one_is_told(place: Place) -> None:
    await place.put("live", b"4\n")
    before = await place.rollouts.read()
    mine = promoted(before, FIFTH, "me", 1.0)
    other = tried(before, FIFTH, "share", 0.5, "another", 2.0)
    await place.rollouts.write(other)
    with pytest.raises(AnotherWriter, match="by another"):
        await place.rollouts.write(mine)
    assert await place.rollouts.read() == other
    # A write whose answer was lost is repeated.
    await place.rollouts.write(other)
    assert (await place.rollouts.read()).revision == 1


async def test_of_many_writers_at_once_one_wins(place: Place) -> None:
    await place.put("live", b"4\n")
    before = await place.rollouts.read()
    for _ in range(2):
        asked = [msgspec.structs.replace(before, revision=before.revision + 1, by=str(n)) for n in range(6)]
        ends = await asyncio.gather(*map(place.rollouts.write, asked), return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["AnotherWriter"] * 5 + ["NoneType"]
        before = await place.rollouts.read()
        assert ends[int(before.by)] is None


async def test_members_of_other_versions_stay(place: Place) -> None:
    await place.put("rollout.json", b'{"format": 1, "revision": 3, "live": 4, "later": {"a": 1}}')
    before = await place.rollouts.read()
    await place.rollouts.write(promoted(before, FIFTH, "me", 1.0))
    assert json.loads(await place.get("rollout.json"))["later"] == {"a": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"live": "five"}',
        b'{"format": 2, "live": 5}',
        b'{"by": "\xff"}',
        b'{"later": "\xff"}',
        b"\xff",
    ],
)
async def test_a_document_that_cannot_be_understood_is_left_alone(place: Place, content: bytes) -> None:
    await place.put("rollout.json", content)
    with pytest.raises(Unavailable, match=r"rollout\.json"):
        await place.rollouts.read()
    with pytest.raises(Unavailable, match=r"rollout\.json"):
        await place.rollouts.write(Rollout(revision=1, live=5))
    assert await place.get("rollout.json") == content


async def test_the_versions_that_were_published(place: Place) -> None:
    for number in (10, 9):
        await place.put(f"versions/{number}/release.json", b'{"release": "rooms-%d"}' % number)
    budgets = {"cpu": {"draft": 2.0, "standard": 4.0}, "gpu": {"": 0.5}, "Tesla T4": {"": 0.8}}
    said = {"release": "rooms-11", "targets": ["gpu"], "budgets": budgets, "more": 1}
    await place.put("versions/11/release.json", json.dumps(said).encode())
    await place.put("versions/11/checked.json", b"{}")
    await place.put("versions/12/release.json", b"not JSON")
    await place.put("versions/13/release.json", b'{"release": "rooms-\xff"}')
    await place.put("versions/draft/release.json", b"{}")
    versions = await place.rollouts.versions()
    assert [(each.version, each.release, each.verified) for each in versions] == [
        (9, "rooms-9", False), (10, "rooms-10", False), (11, "rooms-11", True)
    ]  # fmt: skip
    last = versions[-1]
    cpu, cuda = frozenset({"cpu"}), frozenset({"cuda", "cpu"})
    assert [last.budget("standard", each) for each in (cpu, cuda, frozenset[str]())] == [4.0, 4.0, 4.0]
    assert [last.budget("best", each) for each in (cpu, frozenset({"cuda"}))] == [None, 0.8]
    assert [last.fits(each) for each in (cpu, cuda, frozenset[str]())] == [False, True, True]
    assert versions[0].fits(cpu)


async def test_what_a_host_says(place: Place) -> None:
    assert await place.rollouts.hosts() == []
    said = {"live": 4, "ready": [4, 5], "loading": None, "problems": {"6": "too large"}, "memory": {"a": 1}}
    await place.put("hosts/here.json", json.dumps(said).encode())
    (host,) = await place.rollouts.hosts()
    assert (host.name, host.live, host.ready, host.problems) == ("here", 4, [4, 5], {"6": "too large"})
    await place.put("hosts/here.json", b'{"live": "\xff"}')
    assert await place.rollouts.hosts() == []


async def test_a_folder_without_an_agent_says_itself_what_is_live(tmp_path: Path) -> None:
    place = a_folder(tmp_path)
    await place.put("live", b"4\n")
    await place.rollouts.write(Rollout(revision=1, live=5))
    assert await place.get("live") == b"5\n"
    with open(tmp_path / AGENT_LOCK, "w") as held:  # noqa: ASYNC230
        fcntl.flock(held, fcntl.LOCK_EX)
        await place.rollouts.write(Rollout(revision=2, live=6))
        assert await place.get("live") == b"5\n", "the agent says so when its Triton is ready"
    assert {*os.listdir(tmp_path)} == {
        "live", "rollout.json", "rollout.lock", AGENT_LOCK
    }  # fmt: skip


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    for call in (FolderRollouts(tmp_path / "none").read, FolderRollouts(tmp_path / "none").versions):
        with pytest.raises(Unavailable):
            await call()


def test_what_is_refused() -> None:
    live = Rollout(revision=1, live=4, previous=3, withdrawn=[2])
    unverified = ReleaseVersion(version=6, release="x-6", verified=False)
    second = ReleaseVersion(version=2, release="x-2", verified=True)
    trying = tried(live, FIFTH, "share", 0.1, "me", 1.0)
    refusals: dict[str, Callable[[], Rollout]] = {
        "not verified": lambda: promoted(live, unverified, "me", 1.0),
        "is withdrawn": lambda: promoted(live, second, "me", 1.0),
        "is live already": lambda: tried(promoted(live, FIFTH, "me", 1.0), FIFTH, "share", 0.1, "me", 1.0),
        "5 is on trial: promote it": lambda: tried(trying, FIFTH, "share", 0.1, "me", 1.0),
        "version 5 is on trial: promote": lambda: promoted(
            trying, msgspec.structs.replace(unverified, verified=True), "me", 1.0
        ),
        "nothing to compare with": lambda: tried(Rollout(), FIFTH, "share", 0.1, "me", 1.0),
        "no version before": lambda: taken_back(Rollout(live=4), "me", 1.0),
        "live before, is withdrawn": lambda: taken_back(
            msgspec.structs.replace(live, withdrawn=[3]), "me", 1.0
        ),
    }
    for sentence, call in refusals.items():
        with pytest.raises(NotPossible, match=sentence):
            call()


def test_a_rollback_takes_back_the_newest_change() -> None:
    live = Rollout(revision=1, live=4, previous=3)
    after_trial = taken_back(tried(live, FIFTH, "shadow", 1.0, "me", 1.0), "me", 1.0)
    assert (after_trial.live, after_trial.canary, after_trial.withdrawn) == (4, None, [5])
    after_promotion = taken_back(promoted(live, FIFTH, "me", 1.0), "me", 1.0)
    assert (after_promotion.live, after_promotion.previous, after_promotion.withdrawn) == (4, None, [5])


def test_shares_are_sticky_and_independent() -> None:
    from orchestrator.domain.releases import within_share

    def inside(canary_id: str, share: float) -> set[int]:
        canary = Canary(version=5, mode="share", share=share, since="", id=canary_id)
        return {number for number in range(4000) if within_share(canary, f"key-{number}")}

    assert inside("c-1", 0.2) == inside("c-1", 0.2)
    assert inside("c-1", 0.2) < inside("c-1", 0.5)
    assert abs(len(inside("c-1", 0.2)) - 800) < 120
    assert abs(len(inside("c-1", 0.2) & inside("c-2", 0.2)) - 160) < 60
    assert len(inside("c-1", 1.0)) == 4000
