"""The names of everything that a store keeps in Redis."""

from __future__ import annotations

from typing import NamedTuple

GROUP = "workers"
"""The queue's consumer group."""

PARKED = "parked"
"""The consumer that owns the entries of all jobs that wait. No worker has this name, so a worker that gave one back no
longer holds its lease."""

_STORED_AS = {"reservation": "claim"}
"""Keys whose stored name is older than the field: processes of two versions must use the same keys."""

_PREFIXES = 25
"""How many of the keys are prefixes."""


class Keys(NamedTuple):
    """Keys by purpose. The last twenty-five are prefixes. The Lua scripts have each under its name in capitals."""

    queue: str
    """Stream: an entry {job} for every job that has not ended."""
    waiting: str
    """Sorted set: ids of jobs that no worker runs, by order of submission."""
    delayed: str
    """Sorted set: ids of jobs that were given back, by the time (ms) from which they may begin again."""
    declined: str
    """Sorted set: ids of waiting jobs that some kind of worker declined, by when (ms) that first happened."""
    cleanup: str
    """Sorted set: ids of failed and cancelled jobs whose objects have not been deleted, by when (ms) they are to be."""
    dead: str
    """Stream: dead letters {job, code, detail, attempts}."""
    stats: str
    """Hash: ``order`` and ``moment`` (of the last submission), ``virtual`` (time, see turns.lua) and measurements:
    ``mean_seconds`` of a job, ``ends`` within ``span`` seconds, and ``since`` (see ``measure_end`` in common.lua). Also
    ``grace_until`` (ms): until then no lease counts as run out, because no worker could renew its own."""
    workers: str
    """Sorted set: names of workers, by when (ms) they last looked for a job or renewed a lease."""
    turns: str
    """Sorted set: owners whose next waiting job has normal priority, by their tags (see turns.lua)."""
    hurried: str
    """Sorted set: owners whose next waiting job has high priority, by their tags."""
    spent: str
    """Sorted set: owners without waiting jobs whose tags are later than the virtual time."""
    work: str
    """Hash: the work of each owner's waiting jobs together, in virtual time."""
    deadlines: str
    """Sorted set: ids of jobs that have not ended, by when (ms) they are cancelled."""
    api_keys: str
    """Sorted set: ids of API keys, by when (s) they were made."""
    stored: str
    """Hash: job id -> {owner, bytes, objects} of the pictures that count for the owner, as JSON."""
    outbox: str
    """Stream: {id, to, event} that older versions wrote for the operator's systems; it is moved to lanes."""
    lanes: str
    """Sorted set: receivers for whom something waits to be sent, by when (ms) to look at them (lua/shared/post.lua)."""
    expiring: str
    """Sorted set: id and owner of each job whose record expires, by when (ms) it does."""
    trees: str
    """Sorted set: ids of parents that have not ended, by when (ms) they were last compared with their children."""
    since: str
    """Hash: name of a worker -> when (ms) it was first heard of."""
    lately_failed: str
    """List: ids of the jobs that failed last, the newest first (lua/shared/levels.lua)."""
    errands: str
    """List: what the API has workers do while a request waits, as JSON."""
    canaries: str
    """Sorted set: ids of trials of releases, by when (ms) they began."""
    report: str
    """+ name: list, what became of an errand, as JSON."""
    ready: str
    """+ owner: sorted set, ids of its waiting jobs that were never begun, in their order."""
    job: str
    """+ id: hash, the job record."""
    events: str
    """+ id: stream, the job's events."""
    done: str
    """+ nonce: what a call did, so that a repetition of it by the client library changes nothing."""
    reservation: str
    """+ name: the owner of the reservation, or ``used``."""
    photo: str
    """+ digest: the id of the photo with this digest."""
    once: str
    """+ name: hash, a request that is done once: its ``fingerprint`` and ``answer``, and the try that does it."""
    api_key: str
    """+ id: hash, an API key: its members, each as JSON."""
    ticket: str
    """+ SHA-256 of its text: a ticket, as JSON."""
    rate: str
    """+ whose and which: hash, the requests of a rate limit by the time slot (lua/callers/take_rates.lua)."""
    reserved: str
    """+ owner: hash, job id -> what an unfinished job has reserved, as JSON (lua/shared/quota.lua)."""
    account: str
    """+ owner and day or month, or ``storage``: hash, what is used and reserved; + ``service`` and month: of all."""
    usage: str
    """+ day: set of owners with ended jobs; + day and owner: hash, how many jobs of each kind, and what they used."""
    own_styles: str
    """+ owner: hash, name -> a style of the owner's own, as JSON."""
    listed: str
    """+ owner: sorted set, ids of its jobs that are part of no other, by when (microseconds) they were made."""
    favourites: str
    """+ owner: sorted set, ids of its favourites among all jobs, by the same."""
    lane: str
    """+ receiver: sorted set, ids of what waits to be sent to it, by when (ms) it is to be tried."""
    busy: str
    """+ receiver: sorted set, ids of what is being sent to it now, by when (ms) its sender counts as dead."""
    delivery: str
    """+ receiver and id: hash, what is to be sent and how often it was tried."""
    sent: str
    """+ receiver: list, what was sent last or given up, the newest first, as JSON."""
    endpoint: str
    """+ receiver: hash, an endpoint: its members, each as JSON; and, of every receiver, ``failing`` (since when, ms),
    ``succeeded`` (last, ms) and ``pause_until`` (ms)."""
    endpoints: str
    """+ owner: hash, the owner's endpoints: id -> the events that it wants, separated by spaces; none if disabled."""
    levels: str
    """+ day: hash, how many jobs ended how, and how long they took (lua/shared/levels.lua)."""

    canary: str
    """+ id: hash, a trial of a release; + id and what: pairs, and whose turn it is (lua/releases/note_trial.lua)."""

    @classmethod
    def under(cls, prefix: str) -> Keys:
        """The keys of a store. Every key begins with ``prefix``."""
        names = [_STORED_AS.get(field, field) for field in cls._fields]
        return cls(
            *(f"{prefix}{name}" for name in names[:-_PREFIXES]),
            *(f"{prefix}{name}:" for name in names[-_PREFIXES:]),
        )
