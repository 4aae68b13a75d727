"""The rollout as of the last half second, and as it last was while its place cannot be reached."""

from __future__ import annotations

import asyncio
import logging
import time

from orchestrator.domain.releases import Rollout
from orchestrator.ports import Rollouts, Unavailable

EVERY = 0.5
"""Seconds for which a rollout that was read is good."""
PATIENCE = 0.5
"""Seconds that a caller waits for a newer one than the last; of the first one, FIRST."""
FIRST = 2.0

_log = logging.getLogger(__name__)


class FollowedRollouts:
    """Belongs to one event loop. Without ``rollouts`` there are none: nothing is on trial, and what the hosts call live
    makes all pictures."""

    def __init__(self, rollouts: Rollouts | None) -> None:
        self._rollouts = rollouts
        self._last: Rollout | None = None
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._outage = ""

    @property
    def known(self) -> bool:
        """Whether there are rollouts at all."""
        return self._rollouts is not None

    async def now(self) -> Rollout:
        """Never raises: while nothing could be read, nothing is on trial."""
        if self._rollouts is None:
            return Rollout()
        if time.monotonic() - self._read_at >= EVERY:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read(self._rollouts))
            # Not cancelled with its caller: others wait for it too.
            await asyncio.wait([self._reading], timeout=FIRST if self._last is None else PATIENCE)
        return self._last or Rollout()

    def seen(self, rollout: Rollout) -> None:
        """What was just written."""
        self._last, self._read_at = rollout, time.monotonic()

    async def _read(self, rollouts: Rollouts) -> None:
        try:
            self.seen(await rollouts.read())
            if self._outage:
                _log.info("the rollout can be read again")
            self._outage = ""
        except Unavailable as error:
            if not self._outage:
                _log.warning("the rollout cannot be read, so the last known one is followed: %s", error)
            self._outage = str(error)
            self._read_at = time.monotonic()
        except Exception:
            _log.exception("the rollout cannot be read, so the last known one is followed")
            self._read_at = time.monotonic()
        finally:
            self._reading = None
