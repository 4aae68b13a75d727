"""What storage on local disk promises beyond its port's contract."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from orchestrator.adapters.storage import local as local_module
from orchestrator.adapters.storage.local import LEFTOVER_SECONDS, LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.ports import Unavailable


def local(folder: Path) -> LocalStorage:
    return LocalStorage(folder / "storage", UrlSigner(b"0123456789abcdef", "http://localhost:1"))


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


async def test_a_disk_that_is_almost_full_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = local(tmp_path)
    await storage.ping()
    monkeypatch.setattr(local_module, "LEAST_FREE", 2**60)
    with pytest.raises(Unavailable, match="are free"):
        await storage.ping()


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o377])
async def test_what_is_stored_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        storage = local(tmp_path / "data")
        await storage.put("jobs/one/photo.jpg", b"photo", "image/jpeg")
        await storage.ping()
    finally:
        os.umask(before)
    found = modes(tmp_path)
    assert found == {
        "data": 0o700, "data/storage": 0o700, "data/storage/incoming": 0o700, "data/storage/objects": 0o700,
        "data/storage/objects/jobs": 0o700, "data/storage/objects/jobs/one": 0o700,
        "data/storage/objects/jobs/one/photo.jpg": 0o600,
    }  # fmt: skip


async def test_what_an_older_version_left_open_is_closed(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    folder = root / "objects" / "jobs" / "one"
    folder.mkdir(parents=True)
    (folder / "photo.jpg").write_bytes(b"photo")
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    storage = local(tmp_path)
    assert await storage.get("jobs/one/photo.jpg") == b"photo"
    assert set(modes(root).values()) == {0o700, 0o600}
    # The folder itself is the operator's.
    assert root.stat().st_mode & 0o777 == 0o755
