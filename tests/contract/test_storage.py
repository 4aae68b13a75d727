"""The storage port's contract, held against every adapter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from measuring.s3_server import S3Server
from orchestrator.adapters.opening import open_storage
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.ports import ObjectExists, ObjectNotFound, ObjectTooLarge, Storage
from orchestrator.settings import load_settings
from tests.support.fakes import MemoryStorage

REAL = os.environ.get("REROOM_TEST_R2") == "1"
"""Whether to hold the contract against a real bucket too, the one that the R2_ variables name. Only keys under a prefix
of the test's own are touched."""


@pytest.fixture(params=["local", "s3", "memory", *(["r2"] if REAL else [])])
async def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Storage]:
    match request.param:
        case "local":
            yield LocalStorage(tmp_path / "storage", UrlSigner(b"0123456789abcdef", "http://localhost:1"))
        case "memory":
            yield MemoryStorage()
        case "s3":
            server: S3Server = request.getfixturevalue("s3")
            async with server.open(server.bucket(), prefix="in/here/") as storage:
                yield storage
        case "r2":
            monkeypatch.setenv("REROOM_SIGNING_KEY", "not used with a bucket")
            monkeypatch.setenv("REROOM_S3_PREFIX", f"reroom-test-{uuid.uuid4().hex}/")
            async with open_storage(load_settings()) as storage:
                yield storage
                for key in [found async for found in storage.older("a/", -60)]:
                    await storage.delete_prefix(f"{key.split('/')[0]}/")


async def test_gives_back_what_was_put(storage: Storage) -> None:
    await storage.put("uploads/a/original.jpg", b"\0\xffdata", "image/jpeg")
    assert await storage.get("uploads/a/original.jpg") == b"\0\xffdata"


async def test_overwrites(storage: Storage) -> None:
    for data in (b"first", b"2"):
        await storage.put("a/b", data, "image/jpeg")
    assert await storage.get("a/b") == b"2"
    assert (await storage.stats()).objects == 1


async def test_keeps_what_is_there_when_it_may_not_overwrite(storage: Storage) -> None:
    await storage.put("a/b", b"first", "image/jpeg", overwrite=False)
    with pytest.raises(ObjectExists):
        await storage.put("a/b", b"second", "image/jpeg", overwrite=False)
    assert await storage.get("a/b") == b"first"
    # As a write is repeated whose answer was lost.
    await storage.put("a/b", b"first", "image/jpeg", overwrite=False)
    await storage.delete_prefix("a/")
    await storage.put("a/b", b"second", "image/jpeg", overwrite=False)
    assert await storage.get("a/b") == b"second"


async def test_of_several_that_may_not_overwrite_one_wins(storage: Storage) -> None:
    writing = [storage.put("a/b", bytes([n]) * 10_000, "image/jpeg", overwrite=False) for n in range(8)]
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
    assert len(winners) == 1
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [ObjectExists] * 7
    assert await storage.get("a/b") == bytes(winners) * 10_000


async def test_a_reader_may_bound_what_it_takes(storage: Storage) -> None:
    await storage.put("a/b", bytes(1000), "image/jpeg")
    assert len(await storage.get("a/b", limit=1000)) == 1000
    with pytest.raises(ObjectTooLarge):
        await storage.get("a/b", limit=999)


async def test_a_reader_learns_the_size_before_the_bytes_come(storage: Storage) -> None:
    class Refused(Exception):
        pass

    def refuse(count: int) -> None:
        raise Refused

    await storage.put("a/b", bytes(1000), "image/jpeg")
    heard: list[int] = []
    assert len(await storage.get("a/b", limit=2000, count_bytes=heard.append)) == 1000
    assert heard == [1000]
    with pytest.raises(Refused):
        await storage.get("a/b", count_bytes=refuse)
    with pytest.raises(ObjectTooLarge):
        await storage.get("a/b", limit=999, count_bytes=refuse)
    with pytest.raises(ObjectNotFound):
        await storage.get("a/none", count_bytes=refuse)


@pytest.mark.parametrize("key", ["a/none", "a", "a/b/c"])
async def test_a_missing_object_is_not_found(storage: Storage, key: str) -> None:
    await storage.put("a/b", b"x", "image/jpeg")
    with pytest.raises(ObjectNotFound):
        await storage.get(key)


async def test_deletes_what_is_under_a_prefix_only(storage: Storage) -> None:
    for key in ("results/j/1/a.jpg", "results/j/2/b.jpg", "results/jj/1/a.jpg", "uploads/j/o.jpg"):
        await storage.put(key, b"x", "image/jpeg")
    assert await storage.delete_prefix("results/j/") == 2
    assert await storage.delete_prefix("results/j/") == 0
    assert (await storage.stats()).objects == 2
    with pytest.raises(ObjectNotFound):
        await storage.get("results/j/1/a.jpg")
    await storage.put("results/j/3/a.jpg", b"x", "image/jpeg")


@pytest.mark.parametrize(
    "key",
    [
        "", "/", "a//b", "/a", "a/", "..", "a/../b", ".", "a/./b", "a\\b", "a b", "a\0", "a\n", "ä", "~",
        "%2e", "...",
    ],
)  # fmt: skip
async def test_refuses_what_is_no_key(storage: Storage, key: str) -> None:
    for call in (
        storage.put(key, b"x", "image/jpeg"),
        storage.get(key),
        storage.url(key, 60),
        storage.upload_link(key, content_type="image/jpeg", size=1, expires_in=60),
        storage.delete_prefix(key + "/"),
        anext(storage.older(key + "/", 0)),
    ):
        with pytest.raises(ValueError, match="not a storage key"):
            await call


async def test_a_prefix_ends_with_a_slash(storage: Storage) -> None:
    with pytest.raises(ValueError, match="slash"):
        await storage.delete_prefix("results/j")
    with pytest.raises(ValueError, match="slash"):
        await anext(storage.older("results/j", 0))


async def test_lists_what_is_old(storage: Storage) -> None:
    for key in ("a/j/1.jpg", "a/j/k/2.jpg", "aa/3.jpg", "b/4.jpg"):
        await storage.put(key, b"x", "image/jpeg")
    assert sorted([key async for key in storage.older("a/", -60)]) == ["a/j/1.jpg", "a/j/k/2.jpg"]
    assert [key async for key in storage.older("a/", 60)] == []
    assert [key async for key in storage.older("none/", -60)] == []


async def test_stats_count_objects_and_bytes(storage: Storage) -> None:
    assert (await storage.stats()).objects == 0
    await storage.put("a/1", b"12345", "image/jpeg")
    await storage.put("b/2", b"123", "image/jpeg")
    stats = await storage.stats()
    assert (stats.objects, stats.bytes) == (2, 8)


async def test_readers_never_see_half_an_object(storage: Storage) -> None:
    versions = [bytes([n]) * 500_000 for n in range(8)]
    await storage.put("a/b", versions[0], "image/jpeg")
    writing = [asyncio.create_task(storage.put("a/b", data, "image/jpeg")) for data in versions]
    for _ in range(20):
        assert await storage.get("a/b") in versions
    await asyncio.gather(*writing)


async def test_puts_and_deletes_at_once_neither_fail_nor_leave_rubbish(storage: Storage) -> None:
    for _ in range(10):
        puts = [storage.put(f"a/{n}/x", b"x", "image/jpeg") for n in range(8)]
        await asyncio.gather(*puts, *(storage.delete_prefix("a/") for _ in range(4)))
    await storage.delete_prefix("a/")
    assert (await storage.stats()).objects == 0


@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_cancelled_put_does_nothing_after_it_ended(storage: Storage, cancels: int) -> None:
    puts = [asyncio.create_task(storage.put(f"a/{n}", bytes(4_000_000), "image/jpeg")) for n in range(8)]
    await asyncio.sleep(0.001)
    for put in puts * cancels:
        put.cancel()
        await asyncio.sleep(0)
    for put in puts:
        with contextlib.suppress(asyncio.CancelledError):
            await put
    await storage.delete_prefix("a/")
    await asyncio.sleep(0.3)
    assert (await storage.stats()).objects == 0


async def test_a_ping_leaves_nothing(storage: Storage) -> None:
    await storage.ping()
    assert (await storage.stats()).objects == 0


async def test_links_are_absolute_and_name_the_key(storage: Storage) -> None:
    url = await storage.url("results/j/1/transformed.jpg", 60)
    link = await storage.upload_link("incoming/j/photo", content_type="image/png", size=5, expires_in=60)
    for found, key in ((url, "results/j/1/transformed.jpg"), (link.url, "incoming/j/photo")):
        assert found.startswith("http")
        assert f"{key}?" in found
    assert link.headers["Content-Type"] == "image/png"
