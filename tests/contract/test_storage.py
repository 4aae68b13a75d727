"""The storage port's contract, held against every adapter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.ports import ObjectNotFound, Storage, Unavailable
from orchestrator.storage.local import LEFTOVER_SECONDS, LocalStorage
from orchestrator.storage.signing import UrlSigner


def local(folder: Path) -> Storage:
    return LocalStorage(folder / "storage", UrlSigner(b"0123456789abcdef", "http://localhost:1"))


ADAPTERS: dict[str, Callable[[Path], Storage]] = {"local": local}


@pytest.fixture(params=ADAPTERS)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return ADAPTERS[request.param](tmp_path)


async def test_gives_back_what_was_put(storage: Storage) -> None:
    await storage.put("uploads/a/original.jpg", b"\0\xffdata", "image/jpeg")
    assert await storage.get("uploads/a/original.jpg") == b"\0\xffdata"


async def test_overwrites(storage: Storage) -> None:
    for data in (b"first", b"2"):
        await storage.put("a/b", data, "image/jpeg")
    assert await storage.get("a/b") == b"2"
    assert (await storage.stats()).objects == 1


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
        "",
        "/",
        "a//b",
        "/a",
        "a/",
        "..",
        "a/../b",
        ".",
        "a/./b",
        "a\\b",
        "a b",
        "a\0",
        "a\n",
        "ä",
        "~",
        "%2e",
        "...",
    ],
)
async def test_refuses_what_is_no_key(storage: Storage, key: str) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.put(key, b"x", "image/jpeg")
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.get(key)
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.url(key, 60)
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.delete_prefix(key + "/")


async def test_a_prefix_ends_with_a_slash(storage: Storage) -> None:
    with pytest.raises(ValueError, match="slash"):
        await storage.delete_prefix("results/j")


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


async def test_a_url_is_absolute_and_names_the_key(storage: Storage) -> None:
    url = await storage.url("results/j/1/transformed.jpg", 60)
    assert url.startswith("http")
    assert "results/j/1/transformed.jpg?" in url


def test_local_disk_leaves_no_temporary_file(tmp_path: Path) -> None:
    storage = local(tmp_path)
    asyncio.run(storage.put("a/b", b"x", "image/jpeg"))
    asyncio.run(storage.ping())
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["b"]


def test_local_disk_forgets_old_unfinished_writes_when_opened(tmp_path: Path) -> None:
    incoming = tmp_path / "storage" / "incoming"
    incoming.mkdir(parents=True)
    for name in ("old", "new"):
        (incoming / name).touch()
    old = time.time() - LEFTOVER_SECONDS - 1
    os.utime(incoming / "old", (old, old))
    local(tmp_path)
    assert [path.name for path in incoming.iterdir()] == ["new"]


async def test_local_disk_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    storage = local(in_the_way(tmp_path))
    with pytest.raises(Unavailable):
        await storage.ping()
    with pytest.raises(Unavailable):
        await storage.put("a/b", b"x", "image/jpeg")


def in_the_way(folder: Path) -> Path:
    """The folder, with a file where the storage's folder should be."""
    (folder / "storage").write_text("in the way")
    return folder
