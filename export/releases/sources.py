"""Where an agent learns what shall be live, and gets it from."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Protocol

from export.releases.durable import write_whole
from export.releases.rollout import Rollout, read_rollout

HOSTS = "hosts"
"""In a place that several hosts follow: hosts/<name>.json is the host.json of each."""


class Source(Protocol):
    """A folder, or an object storage."""

    def rollout(self) -> Rollout:
        """The document as it is; cheap enough for ten calls a second. Raises RolloutError, OSError."""

    def bring(self, version: int) -> None:
        """Make ``version`` lie whole in the host's folder. Raises OSError, or another error with one sentence."""

    def tell(self, name: str, document: bytes) -> None:
        """Leave a host's ``host.json`` where operators look for it. Raises nothing."""


class FolderSource:
    """A release folder, the host's own or one that it follows."""

    def __init__(self, folder: Path, *, shared: bool) -> None:
        self.folder, self._shared = folder, shared

    def rollout(self) -> Rollout:
        """See Source."""
        return read_rollout(self.folder)

    def bring(self, version: int) -> None:
        """See Source. The host's folder has links to this one."""
        if not (self.folder / "versions" / str(version) / "release.json").is_file():
            raise FileNotFoundError(f"there is no version {version} in {self.folder}")

    def tell(self, name: str, document: bytes) -> None:
        """See Source. Into the host's own folder the agent writes itself."""
        if self._shared:
            # A folder of an image cannot be written.
            with suppress(OSError):
                (self.folder / HOSTS).mkdir(exist_ok=True)
                write_whole(self.folder / HOSTS / f"{name}.json", document)
