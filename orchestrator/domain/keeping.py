"""How long the photos and pictures of jobs are kept. The API says so, and retention deletes, by what is here."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from orchestrator.domain.job import TERMINAL, Job, JobState


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the end of a job. Nothing outlasts the job's record, without which nobody knows whose it is."""

    record: int
    photo: int | None = None
    """None: as long as the record."""
    result: int | None = None
    """None: as long as the record."""

    @property
    def photos(self) -> int:
        """For photos, masks and references."""
        return self.record if self.photo is None else min(self.record, self.photo)

    @property
    def pictures(self) -> int:
        """For what was made of them."""
        return self.record if self.result is None else min(self.record, self.result)

    @property
    def both(self) -> int:
        """For as long as there are both, to be compared."""
        return min(self.photos, self.pictures)


def kept_since(job: Job, children: Sequence[Job]) -> float | None:
    """UNIX seconds from which the times of a job's photo and pictures count: its end, or when it was last unmarked as a
    favourite. None: they do not count, because it has not ended or is a favourite, as is a child that has its photo
    from it; or it has none, as jobs that failed or were cancelled.

    ``children`` are the records of a parent's children. A parent that has ended in any way counts: one of its children
    may have been completed.
    """
    ended = job.status in (TERMINAL if job.children else {JobState.COMPLETED})
    if not ended or job.favourite or any(child.favourite for child in children):
        return None
    return job.updated_at


def expires_at(job: Job, children: Sequence[Job], times: Times) -> float | None:
    """UNIX seconds until which a job's pictures are there at least; soon afterwards they are deleted. None: it has none
    yet or at all, or they are kept until somebody unmarks or erases them."""
    if job.children and not any(child.status is JobState.COMPLETED for child in job.children):
        return None
    since = kept_since(job, children)
    return None if since is None else since + times.pictures
