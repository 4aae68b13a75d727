"""What a watcher of a job is sent, over the WebSocket and as server-sent events alike."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from orchestrator.api.responses.messages import (
    ConnectedMessage,
    Message,
    SnapshotMessage,
    event_message,
)
from orchestrator.api.responses.presenters import Presenter, StatusData
from orchestrator.domain.events import EventRecord, seq_key
from orchestrator.domain.job import TERMINAL
from orchestrator.domain.keys import Caller
from orchestrator.services.jobs import JobService
from orchestrator.services.keys import KeyService

RIGHTS_SECONDS = 10.0
"""How often the key of a watcher is looked at again."""
SEQ_PATTERN = "^[0-9]{1,18}(-[0-9]{1,18})?$"
BAD_AFTER = "after must be a seq of this job, or 0"


class KeyEnded(Exception):
    """The watcher's key was revoked or has expired meanwhile."""


class Watch:
    """One watcher of a job."""

    def __init__(
        self, job_id: str, caller: Caller, jobs: JobService, keys: KeyService, presenter: Presenter
    ) -> None:
        self._job_id, self._caller = job_id, caller
        self._jobs, self._keys, self._presenter = jobs, keys, presenter

    async def check_rights(self) -> None:
        """Raises KeyEnded, Unavailable."""
        if not await self._keys.lives(self._caller):
            raise KeyEnded("this key was revoked or has expired")

    async def is_over(self, after: str) -> bool:
        """Whether the job has ended and has no event after that one. Raises JobNotFound, Unavailable."""
        job = await self._jobs.find(self._job_id, self._caller)
        return job.status in TERMINAL and seq_key(after) >= seq_key(job.last_seq)

    async def has_more(self, after: str) -> bool:
        """Whether events after that one are there or may come: those of a job that has ended expire before it does.
        Raises JobNotFound, Unavailable."""
        job = await self._jobs.find(self._job_id, self._caller)
        if job.status not in TERMINAL:
            return True
        async with aclosing(self._jobs.events(job, after)) as events:
            return await anext(events, None) is not None

    async def messages(self, after: str | None) -> AsyncGenerator[Message, None]:
        """``connected``, a snapshot, then the events after ``after`` (None: from now on) until the terminal one.

        Raises JobNotFound, also when the job is erased meanwhile, Unavailable and KeyEnded.
        """
        jobs = self._jobs
        view = await jobs.status(self._job_id, self._caller)
        yield ConnectedMessage(job_id=self._job_id)
        data = await self._presenter.status(view)
        yield SnapshotMessage(job_id=self._job_id, seq=view.job.last_seq, data=data)
        start = view.job.last_seq if after is None else after
        if view.job.status in TERMINAL and seq_key(start) >= seq_key(view.job.last_seq):
            return
        async with aclosing(jobs.events(view.job, start)) as events:
            async for record in events:
                if message := await self._message(record):
                    yield message
        # The events end after the terminal one, or because the job was erased, which raises JobNotFound here.
        await jobs.status(self._job_id, self._caller)

    async def _message(self, record: EventRecord) -> Message | None:
        async def status(job_id: str) -> StatusData:
            # The links of this message outlive the connection.
            await self.check_rights()
            return await self._presenter.status(await self._jobs.status(job_id, self._caller))

        return await event_message(self._job_id, record, status)


def is_foreign(origin: str | None, origins: Sequence[str]) -> bool:
    """Whether a page of this origin may not watch. Programs other than browsers send no Origin."""
    return origin is not None and not {"*", origin} & {*origins}


def seq_of(text: str) -> str | None:
    """The stream id that a client names; None when it is none."""
    if not re.fullmatch(SEQ_PATTERN.strip("^$"), text):
        return None
    ms, n = seq_key(text)
    return f"{ms}-{n}"
