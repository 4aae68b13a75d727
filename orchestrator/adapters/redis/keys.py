"""The names of everything that a store keeps in Redis."""

from __future__ import annotations

from typing import NamedTuple

PARKED = "parked"
"""The consumer that owns entries which were given back. No worker has this name, so a worker's fence fails at once."""


class Keys(NamedTuple):
    """Keys by purpose, in the order in which the Lua scripts get them. The last four are prefixes."""

    queue: str
    """Stream: an entry {job} for every job that has not ended."""
    waiting: str
    """Sorted set: ids of jobs that no worker runs, by order of submission."""
    delayed: str
    """Sorted set: ids of jobs that were given back, by the time (ms) from which they may begin again."""
    declined: str
    """Sorted set: ids of waiting jobs that some kind of worker does not understand, by when (ms) that first showed."""
    cleanup: str
    """Sorted set: ids of jobs that ended without a picture, whose objects are yet to be deleted, by their end (ms)."""
    dead: str
    """Stream: dead letters {job, code, detail, attempts}."""
    stats: str
    """Hash: order (last order of submission), and what was measured: mean_seconds of a job, ends in span seconds, since
    (see common.lua)."""
    workers: str
    """Sorted set: names of workers, by when (ms) they were last heard of."""
    job: str
    """+ id: hash, the job record."""
    events: str
    """+ id: stream, the job's events."""
    done: str
    """+ nonce: what a call did, so that the client's silent repetition of it changes nothing."""

    reservation: str
    """+ name: who has reserved it, or ``used``."""

    @classmethod
    def under(cls, prefix: str) -> Keys:
        return cls(
            *(f"{prefix}{name}" for name in cls._fields[:-4]),
            *(f"{prefix}{name}:" for name in cls._fields[-4:]),
        )
