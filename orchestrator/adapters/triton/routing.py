"""Which of several servers a request goes to, and when: two policies, and the line in which requests wait.

A server takes the jobs that it runs in turns, a step each: its denoiser's queue is first come, first served, and a job
puts its next step there when it has the last one. So two jobs that run together delay each other by as many turns as
the shorter one has left. Jobs whose steps have the same shape go through one run of the network instead, where that
is cheaper.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.domain.cost import Work

PATIENCE = 1.5
"""How much more than to wait it may cost to begin at once. Waiting costs more than the job's own wait, since others may
queue behind it. Chosen in a simulation with made-up step times, with other seeds than those of benchmarks.load."""

PHOTOS = 256
"""How many photos' ids are remembered for each server."""


@dataclass(eq=False)
class Job:
    """A request as the routing sees it."""

    work: Work
    photo_id: str | None = None
    waits: bool = True
    """Whether it may wait for a better moment to begin."""
    done: int = 0
    """Steps that it has taken."""
    ending: bool = False
    """Whether all steps are taken: what is left then computes beside the steps of others, and blocks nothing."""
    overtaken: float = 0.0
    """The cost of the jobs that came later and began sooner."""

    @property
    def turns(self) -> int:
        """Turns that it still takes: its steps, and one for the rest."""
        return 0 if self.ending else max(0, self.work.steps - self.done) + 1

    @property
    def left(self) -> float:
        """The cost of these turns."""
        return 0.0 if self.ending else max(0, self.work.steps - self.done) * self.work.step + self.work.rest


@dataclass(eq=False)
class Load:
    """What one server runs for this process."""

    jobs: list[Job] = field(default_factory=list)
    _photos: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """The ids that came last, which it may have kept the parts of."""

    @property
    def left(self) -> float:
        return sum(job.left for job in self.jobs)

    def begin(self, job: Job) -> None:
        self.jobs.append(job)
        if job.photo_id:
            self._photos[job.photo_id] = None
            self._photos.move_to_end(job.photo_id)
            if len(self._photos) > PHOTOS:
                self._photos.popitem(last=False)

    def end(self, job: Job) -> None:
        self.jobs.remove(job)

    def has_seen(self, job: Job) -> bool:
        return job.photo_id in self._photos

    def delay(self, job: Job) -> float:
        """What it costs to begin ``job`` here now: by how much it and the jobs that run would delay each other, all
        together, less what is spared where the photo is known."""
        turns, total = job.turns, 0.0
        meets = sum(_can_share(job, other) for other in self.jobs) < job.work.most
        for other in self.jobs:
            together = min(turns, other.turns)
            if together:
                cost = together * (job.left / turns + other.left / other.turns)
                total += cost * (1.0 - job.work.shared if meets and _can_share(job, other) else 1.0)
        return total - (job.work.seen if self.has_seen(job) else 0.0)


Policy = Callable[[Job, Sequence[Load]], Load | None]
"""Which of at least one server a job begins at now; None = it waits until something has changed."""


def least_requests(job: Job, loads: Sequence[Load]) -> Load:
    """The server with the fewest requests, at once; equals are chosen at random, so that several processes do not all
    begin with the first. Envoy's and gRPC's policies of that name count in the same way."""
    return min(loads, key=lambda load: (len(load.jobs), random.random()))


def least_delay(job: Job, loads: Sequence[Load]) -> Load | None:
    """The server where the job and those that run delay each other least; it waits where that would cost more than
    until a server has nothing left to do.

    So a short job begins beside long ones, long ones follow one another, and jobs that gain by a common batch meet."""
    best = min(loads, key=lambda load: (load.delay(job), random.random()))
    wait = min(load.left for load in loads)
    return best if best.delay(job) <= PATIENCE * wait else None


class Line:
    """The jobs that no server has begun, in the order in which they came.

    One that could begin overtakes those that wait, until those that overtook one job cost as much as that job: then
    none does, so that each begins at last.
    """

    def __init__(self) -> None:
        self.waiting: list[Job] = []

    def join(self, job: Job) -> None:
        self.waiting.append(job)

    def leave(self, job: Job) -> None:
        """It has begun, or nobody wants it any more."""
        if job in self.waiting:
            self.waiting.remove(job)

    def begin(self, policy: Policy, loads: Sequence[Load]) -> Iterator[tuple[Job, Load]]:
        """Each job that begins now, with its server, whose load has it already. Without servers none does."""
        while loads and (found := self._next(policy, loads)):
            job, load = found
            self.waiting.remove(job)
            load.begin(job)
            yield found

    def _next(self, policy: Policy, loads: Sequence[Load]) -> tuple[Job, Load] | None:
        for place, job in enumerate(self.waiting):
            if load := policy(job, loads):
                for other in self.waiting[:place]:
                    other.overtaken += job.work.cost
                return job, load
            if job.overtaken >= job.work.cost:
                return None
        return None


def _can_share(job: Job, other: Job) -> bool:
    return bool(job.work.shape) and job.work.shape == other.work.shape and not other.ending
