"""Releases in a folder: on one machine, or on a disk that several share."""

from __future__ import annotations

import asyncio
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from orchestrator.adapters.releases import document
from orchestrator.adapters.releases.document import (
    CHECKED,
    HOST,
    HOSTS,
    LIVE,
    LOCK,
    RELEASE,
    ROLLOUT,
    VERSIONS,
)
from orchestrator.domain.releases import ReleaseVersion, Rollout
from orchestrator.ports.errors import Unavailable
from orchestrator.ports.rollouts import HostState, Rollouts

AGENT_LOCK = "agent.lock"
"""The agent beside the Triton of this folder holds it while it runs."""

T = TypeVar("T")


class FolderRollouts(Rollouts):
    """``root`` is a release folder, such as ``releases/dollhouse``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def read(self) -> Rollout:
        return await self._run(lambda: document.read_document(self._content(ROLLOUT), self._content(LIVE)))

    async def write(self, rollout: Rollout) -> None:
        await self._run(lambda: self._write(rollout))

    async def versions(self) -> list[ReleaseVersion]:
        return await self._run(self._versions)

    async def hosts(self) -> list[HostState]:
        return await self._run(self._hosts)

    def _hosts(self) -> list[HostState]:
        """Several that share this folder tell it there; the agent of this host's own folder, in one file."""
        files = sorted((self._root / HOSTS).glob("*.json"))
        said = {file.stem: self._content(f"{HOSTS}/{file.name}") for file in files} or {
            "here": self._content(HOST)
        }
        found = [document.host(name, content) for name, content in said.items() if content is not None]
        return [each for each in found if each is not None]

    def _content(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            if not self._root.is_dir():
                raise
            return None

    def _write(self, rollout: Rollout) -> None:
        with _locked(self._root / LOCK):
            content = document.next_document(rollout, self._content(ROLLOUT), self._content(LIVE))
            if content is not None:
                _replace(self._root / ROLLOUT, content)
                self._take_live(rollout)

    def _take_live(self, rollout: Rollout) -> None:
        """Say what is live, where no agent does so once its Triton is ready for it."""
        text = f"{rollout.live}\n".encode()
        if rollout.live and not _held(self._root / AGENT_LOCK) and self._content(LIVE) != text:
            _replace(self._root / LIVE, text)

    def _versions(self) -> list[ReleaseVersion]:
        folder = self._root / VERSIONS
        numbers = sorted(int(each.name) for each in folder.iterdir() if each.name.isdecimal())
        found = [
            document.version(
                number,
                self._content(f"{VERSIONS}/{number}/{RELEASE}"),
                (folder / str(number) / CHECKED).is_file(),
            )
            for number in numbers
        ]
        return [each for each in found if each is not None]

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise Unavailable(f"{self._root}: {error.strerror or error}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock that everybody takes who writes the document."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _held(path: Path) -> bool:
    """Whether a process holds this lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _replace(path: Path, content: bytes) -> None:
    """A reader gets the old file or the new one, also after a power cut."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        temporary.unlink(missing_ok=True)
