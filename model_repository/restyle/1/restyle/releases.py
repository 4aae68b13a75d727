"""The releases that this host serves: the live one, and others beside it.

Files beside ``live`` say which. They are looked at for every request, so that a release goes live, or back, without a
restart:

    live          the version that requests get which name none
    host.json     {ready: [n], loading: n | null}, by the agent beside this Triton: the versions whose graphs are
                  loaded. Without an agent those count that were there when this process started
    rollout.json  {withdrawn: [n]}: versions that get no more requests, whoever asks

The agent is export/releases/agent; docs/releases.md tells the whole story.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from restyle.release import LIVE, Release, load_version, release_folder, version_in

HOST, ROLLOUT = "host.json", "rollout.json"

T = TypeVar("T")
Warn = Callable[[str], None]


class NotHere(Exception):
    """This host does not serve the release that a request names; the message is one sentence."""


@dataclass
class Held(Generic[T]):
    """A release that is open: what was built for it, and how many requests use it now."""

    release: Release
    served: T
    running: int = 0


@dataclass
class _File:
    """A small file, read again when it was replaced."""

    path: Path
    seen: tuple[int, ...] = ()
    content: bytes | None = None
    """None: there is none."""

    def read(self) -> bytes | None:
        try:
            stat = self.path.stat()
        except OSError:
            self.seen, self.content = (), None
            return None
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen != self.seen:
            try:
                self.content = self.path.read_bytes()
            except OSError:
                return self.content
            self.seen = seen
        return self.content


@dataclass
class _Told:
    """What a file of JSON said last."""

    file: _File
    of: bytes | None = None
    members: dict[str, Any] | None = None

    def read(self, warn: Warn) -> dict[str, Any] | None:
        """None: there is no such file. One that cannot be read changes nothing."""
        content = self.file.read()
        if content != self.of:
            self.of = content
            try:
                self.members = None if content is None else dict(json.loads(content))
            except (TypeError, ValueError) as error:
                warn(f"{self.file.path} is left out, since it is no JSON object: {error}")
        return self.members


@dataclass
class Releases(Generic[T]):
    """Releases by version, each opened when it is asked for, with what ``build`` makes of it. It belongs to one event
    loop."""

    folder: Path
    build: Callable[[Release], T]
    warn: Warn
    _held: dict[int, Held[T]] = field(default_factory=dict)
    _live: int = 0
    """The last one that could be opened."""
    _at_start: frozenset[int] = frozenset()
    _refused: str = ""
    """Why the version in ``live`` is not served."""

    def __post_init__(self) -> None:
        """Open the live one. Raises ValueError with one sentence when it is unusable."""
        self._pointer = _File(self.folder / LIVE)
        self._host, self._rollout = (_Told(_File(self.folder / name)) for name in (HOST, ROLLOUT))
        self._opening = asyncio.Lock()
        self._at_start = frozenset(_versions(self.folder))
        self._live = version_in(self.folder)
        self._held[self._live] = self._open(self._live)

    @property
    def versions(self) -> list[int]:
        """Those that a request may name."""
        host = self._host.read(self.warn)
        ready = self._at_start if host is None else {n for n in host.get("ready", ()) if isinstance(n, int)}
        return sorted((ready | {self._live}) - self._withdrawn())

    @property
    def running(self) -> dict[int, int]:
        """How many requests each version has now, without those that have none."""
        return {version: held.running for version, held in self._held.items() if held.running}

    @asynccontextmanager
    async def using(self, asked: int) -> AsyncIterator[Held[T]]:
        """The release that a request gets; it counts as running meanwhile. ``asked``: 0 = the live one; a negative
        number is for the agent, which tries a version before others may use it. Raises NotHere."""
        held = await self._named(asked) if asked else await self._newest()
        held.running += 1
        try:
            yield held
        finally:
            held.running -= 1

    async def _newest(self) -> Held[T]:
        version = self._told_live()
        if version != self._live:
            refused = ""
            try:
                if version not in self.versions:
                    raise ValueError("its graphs are not loaded here; restart Triton, or its agent")
                await self._held_or_opened(version)
                self._live = version
            except ValueError as error:
                refused = f"version {version} is to be live, and {self._live} goes on: {error}"
            if refused and refused != self._refused:
                self.warn(refused)
            self._refused = refused
        return self._held[self._live]

    async def _named(self, asked: int) -> Held[T]:
        version, tried = abs(asked), asked < 0
        if version in self._withdrawn():
            raise NotHere(f"release {version} was withdrawn")
        host = self._host.read(self.warn) or {}
        if version not in self.versions and not (tried and host.get("loading") == version):
            here = ", ".join(map(str, self.versions))
            raise NotHere(f"release {version} is not served here, where these are: {here}")
        try:
            return await self._held_or_opened(version)
        except ValueError as error:
            raise NotHere(f"release {version} cannot be served: {error}") from error

    async def _held_or_opened(self, version: int) -> Held[T]:
        """Raises ValueError."""
        if version not in self._held:
            async with self._opening:
                if version not in self._held:
                    # A tokenizer takes a tenth of a second to read, and other requests go on meanwhile.
                    opened = await asyncio.to_thread(self._open, version)
                    self._forget()
                    self._held[version] = opened
        return self._held[version]

    def _open(self, version: int) -> Held[T]:
        release = load_version(self.folder, version)
        return Held(release, self.build(release))

    def _forget(self) -> None:
        """Close those that nobody can ask for any more."""
        asked_for = {self._live, *self.versions}
        for version in [each for each, held in self._held.items() if not held.running]:
            if version not in asked_for:
                del self._held[version]

    def _withdrawn(self) -> set[int]:
        told = (self._rollout.read(self.warn) or {}).get("withdrawn")
        return {n for n in told if isinstance(n, int)} if isinstance(told, list) else set()

    def _told_live(self) -> int:
        try:
            return int(self._pointer.read() or b"")
        except ValueError:
            return self._live


def open_releases(build: Callable[[Release], T], warn: Warn) -> Releases[T]:
    """Those in the folder that REROOM_RELEASE names. Raises ValueError with one sentence."""
    return Releases(release_folder(), build, warn)


def _versions(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder / "versions")
    except OSError:
        return []
    return [int(name) for name in names if name.isdecimal()]
