"""What a place of releases does, whatever keeps its files.

A place holds the versions of one bundle, whole or not at all, and the rollout document that every host follows::

    PlaceError                 one sentence that says what to do
    ├─ VersionMissingError     it is not there (yet)
    ├─ VersionTakenError       another version has this number there
    ├─ DamagedError            bytes are not those that the manifest names
    ├─ PlaceBusyError          somebody else is at work there: the same call may succeed later
    └─ UnreachableError        nobody answers, or not in time: the same call may succeed later
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from export.releases.rollout import Rollout, Rollouts

HOSTS = "hosts"
"""hosts/<name>.json is what the agent of each host says of it."""

NO_DOCUMENT = "none"
"""The tag of a rollout document that is not there."""


class PlaceError(Exception):
    """A place cannot do what it was asked; the message is one sentence."""


class VersionMissingError(PlaceError):
    """The place does not have that version."""


class VersionTakenError(PlaceError):
    """The place has another version under that number; a published version is never changed."""


class DamagedError(PlaceError):
    """A file's bytes are not those that its manifest names."""


class PlaceBusyError(PlaceError):
    """Somebody else is at work there; the same call may succeed later."""


class UnreachableError(PlaceError):
    """The place does not answer, or not in time; the same call may succeed later."""


@dataclass(frozen=True)
class Part:
    """One file of a version."""

    path: str
    """In the release folder, such as models/denoiser/3/model.onnx."""
    sha256: str
    bytes: int


class Place(Protocol):
    """Every method raises UnreachableError, and PlaceError when the place refuses."""

    name: str
    """As the operator wrote it."""

    @property
    def rollouts(self) -> Rollouts:
        """Its rollout document."""

    def poll(self, tag: str) -> tuple[Rollout, str] | None:
        """The rollout document, and a tag to ask with the next time; None = it is still the one with ``tag``.

        Any document is unlike the tag "". Raises RolloutError when what is there is no rollout document.
        """

    def versions(self) -> list[int]:
        """Those that are there, ascending."""

    def manifest(self, version: int) -> bytes:
        """The files.json of a version. Raises VersionMissingError."""

    def has(self, part: Part) -> bool:
        """Whether a file with these bytes is there, so that it need not be stored."""

    def store(self, part: Part, file: Path) -> None:
        """Keep ``file`` as ``part``, whole or not at all. What is there already is not replaced."""

    def read(self, part: Part, start: int = 0) -> AbstractContextManager[Iterator[bytes]]:
        """The part's bytes from ``start`` (< its size) on, in pieces. Raises DamagedError when its size differs or it
        is gone; whether the bytes are right is for the reader to check."""

    def commit(self, version: int, manifest: bytes, release: bytes, by: str) -> None:
        """Make a version visible, whose parts are all stored: its files.json, its release.json, and a checked.json that
        says who compared all of them with the manifest (``by``, in words). Called again with the same bytes it
        completes what was interrupted. Raises VersionTakenError when others are there."""

    def tell(self, host: str, document: bytes) -> None:
        """Leave a host's host.json where operators look for it."""
