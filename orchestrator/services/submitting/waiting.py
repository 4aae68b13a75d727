"""Requests that wait for the end of their job. The photo is stored by then, so one costs as much as a watcher."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

from orchestrator.domain.job import TERMINAL
from orchestrator.domain.keys import Caller
from orchestrator.ports import JobNotFound, Unavailable
from orchestrator.services.jobs import JobService, JobView

SHARE = 4
"""One caller may have this fraction, a quarter, of the places."""

log = logging.getLogger(__name__)


class Waiting:
    """At most ``at_once`` requests wait in this process, each for at most ``seconds``."""

    def __init__(self, jobs: JobService, *, seconds: float, at_once: int) -> None:
        self._jobs, self.seconds, self._at_once = jobs, seconds, at_once
        self._places: Counter[str] = Counter()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[bool]:
        """Whether there is a place for a request of the caller, which it holds in the block."""
        owner = caller.owner
        if self._places.total() >= self._at_once or self._places[owner] >= max(1, self._at_once // SHARE):
            yield False
            return
        self._places[owner] += 1
        try:
            yield True
        finally:
            self._places[owner] -= 1
            if not self._places[owner]:
                del self._places[owner]

    async def ended(self, job_id: str, caller: Caller) -> JobView | None:
        """The job once it has ended; None when that cannot be learnt: it was erased, or the store does not answer."""
        try:
            view = await self._jobs.status(job_id, caller)
            if view.job.status not in TERMINAL:
                async with aclosing(self._jobs.events(view.job, view.job.last_seq)) as events:
                    async for _ in events:
                        pass
                view = await self._jobs.status(job_id, caller)
            return view if view.job.status in TERMINAL else None
        except (JobNotFound, Unavailable) as error:
            log.info("job %s: a request stops waiting for it: %s", job_id, error)
            return None
