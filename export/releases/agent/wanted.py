"""Which versions this host shall have, and for which of them something is to be done now."""

from __future__ import annotations

import time

from export.releases.agent.record import Record
from export.releases.rollout import Rollout

LOOK_SECONDS = 0.1
"""How often the rollout is looked at, and whatever else is waited for."""

RETRY_SECONDS = 2.0
"""How long a version waits whose way was barred by something that passes, such as a Triton that restarts."""


class Wanted:
    """By the rollout that was noted last."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._versions: list[int] = []
        self._retry_at: dict[int, float] = {}
        self.rollout = Rollout()

    def note(self, rollout: Rollout) -> None:
        """From now on this one counts: the live version, the one on trial, and the one that a rollback goes to."""
        beside = [rollout.canary.version if rollout.canary else None, rollout.previous]
        versions = [version for version in (rollout.live, *beside) if version]
        self.rollout = rollout
        with self._record.lock:
            self._versions = [
                version
                for version in dict.fromkeys(versions)
                if version == rollout.live or version not in rollout.withdrawn
            ]
            self._retry_at = {}

    def __contains__(self, version: int) -> bool:
        with self._record.lock:
            return version in self._versions

    def wait(self, version: int, seconds: float = RETRY_SECONDS) -> None:
        """Nothing is done for it for a while, or until the rollout is changed."""
        self._retry_at[version] = time.monotonic() + seconds

    def missing(self) -> list[int]:
        """Those to bring now, the most urgent first."""
        with self._record.lock:
            ready = self._record.state.ready
            return [
                version
                for version in self._versions
                if version not in ready and not self._is_refused(version) and self._is_due(version)
            ]

    def surplus(self) -> list[int]:
        """Those to let go now. What is live stays until another one is, even if nobody wants it."""
        with self._record.lock:
            ready, live = list(self._record.state.ready), self._record.live
            if live not in ready:
                return []
            return [
                version
                for version in ready
                if version not in self._versions and version != live and self._is_due(version)
            ]

    def _is_refused(self, version: int) -> bool:
        """Whether it failed, and nobody has changed the rollout since."""
        return self._record.state.refused_at.get(str(version)) == self.rollout.revision

    def _is_due(self, version: int) -> bool:
        return self._retry_at.get(version, 0.0) <= time.monotonic()
