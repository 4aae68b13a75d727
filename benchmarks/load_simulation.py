"""A discrete-event simulation of Tritons under mixed load, by a measured profile; :mod:`benchmarks.load` runs it.

A Triton is one device that runs one batch at a time. Each graph has a queue, first come, first served, as Triton's
dynamic batcher has: a batch is the oldest step and those that follow it in its queue while their shapes are the same,
up to the largest batch. The device takes the graph whose oldest step came first. A job's photo is looked at; it takes
its steps, one after the other; its picture is decoded. Left out: the 500 µs that a batch waits, what is computed
outside the graphs, and what is reused of a photo.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.adapters.triton.routing import Job, Line, Load, Policy
from orchestrator.domain.cost import Profile, Work, WorkTable, measured


@dataclass(frozen=True)
class Asked:
    """A job of a trace."""

    at: float
    """Seconds after the beginning."""
    quality: str
    size: tuple[int, int]
    """Height and width of its photo."""


@dataclass(frozen=True)
class Ended:
    asked: Asked
    seconds: float
    """From its arrival to its end."""
    alone: float
    """The seconds that it would take alone."""


@dataclass(frozen=True)
class Outcome:
    ended: list[Ended]
    samples: int
    """Steps of jobs."""
    executions: int
    """Runs of the denoisers."""


class Device:
    """How long graphs take on one Triton."""

    def __init__(self, table: WorkTable) -> None:
        assert table.profile is not None
        self.table, self._profile = table, table.profile

    def turns(self, asked: Asked) -> list[tuple[str, tuple[int, int]]]:
        """What is run for a job: names of the profile, and the bucket."""
        kind = self.table.kinds[asked.quality]
        bucket = self.table.bucket(*asked.size)
        guided = [measured(kind.denoiser, 2)] * kind.guided
        # The guided interval leaves the first steps out and the last; where it lies exactly changes little.
        others = [measured(kind.denoiser, 1)] * (kind.run - kind.guided)
        first = others[: len(others) // 2]
        names = ["perception", *first, *guided, *others[len(first) :], kind.decoder]
        return [(name, bucket) for name in names]

    def seconds(self, name: str, bucket: tuple[int, int], batch: int) -> float:
        """Of one run; between measured sizes of batches, and beyond them, on straight lines."""
        return seconds_of(self._profile, name, bucket, batch)

    def alone(self, asked: Asked) -> float:
        return sum(self.seconds(name, bucket, 1) for name, bucket in self.turns(asked))


def seconds_of(profile: Profile, name: str, bucket: tuple[int, int], batch: int) -> float:
    """Of a bucket that was not measured: those of the nearest area, in proportion."""
    area, found = bucket[0] * bucket[1], {}
    for each, times in profile.seconds[name].items():
        height, width = map(int, each.split("x"))
        found[height * width] = times
    nearest = min(found, key=lambda one: abs(one - area))
    times, scale = found[nearest], area / nearest
    batches = profile.batches[: len(times)]
    if batch in batches:
        return times[batches.index(batch)] * scale
    if len(times) == 1:
        return times[0] * batch * scale
    upper = next((place for place, size in enumerate(batches) if size > batch), len(batches) - 1)
    (less, more), (short, long) = batches[upper - 1 : upper + 1], times[upper - 1 : upper + 1]
    return (short + (long - short) * (batch - less) / (more - less)) * scale


def trace(
    device: Device, sizes: Sequence[tuple[int, int]], share: float, tritons: int, jobs: int, seed: int
) -> list[Asked]:
    """Poisson arrivals at ``share`` of what ``tritons`` can do without batches; sizes and qualities equally often."""
    draw = random.Random(seed)
    kinds = [(quality, size) for quality in sorted(device.table.kinds) for size in sizes]
    mean = sum(device.alone(Asked(0.0, *kind)) for kind in kinds) / len(kinds)
    at, found = 0.0, []
    for _ in range(jobs):
        at += draw.expovariate(share * tritons / mean)
        found.append(Asked(at, *draw.choice(kinds)))
    return found


@dataclass(eq=False)
class _Running:
    asked: Asked
    turns: list[tuple[str, tuple[int, int]]]
    job: Job
    worker: int
    place: int = 0
    """The turn that it takes or waits for."""
    number: int = 0
    """The order in which it came into its queue."""

    @property
    def turn(self) -> tuple[str, tuple[int, int]]:
        return self.turns[self.place]


@dataclass(eq=False)
class _Triton:
    queues: dict[str, deque[_Running]] = field(default_factory=dict)
    busy: bool = False

    def put(self, running: _Running, number: int) -> None:
        running.number = number
        self.queues.setdefault(running.turn[0].split()[0], deque()).append(running)

    def take(self, most: int) -> list[_Running]:
        """The next batch; nothing when there is none."""
        waiting = [queue for queue in self.queues.values() if queue]
        if not waiting:
            return []
        queue = min(waiting, key=lambda each: each[0].number)
        batch = [queue.popleft()]
        while queue and queue[0].turn == batch[0].turn and len(batch) < most:
            batch.append(queue.popleft())
        return batch


class Simulation:
    """``tritons`` equal devices, and ``workers`` that each see their own jobs only, of which each runs ``jobs``
    at once at most (None = any number); the others wait in a queue, first come, first served, as in Redis."""

    def __init__(
        self,
        device: Device,
        policy: Policy,
        works: Mapping[tuple[str, tuple[int, int]], Work],
        *,
        tritons: int = 2,
        workers: int = 1,
        jobs: int | None = None,
    ) -> None:
        self._device, self._policy, self._works, self._jobs = device, policy, works, jobs
        self._tritons = [_Triton() for _ in range(tritons)]
        self._loads = [[Load() for _ in range(tritons)] for _ in range(workers)]
        self._lines = [Line() for _ in range(workers)]
        self._running = [0] * workers
        self._queue: deque[Asked] = deque()
        self._numbers = itertools.count()
        self._of_job: dict[Job, _Running] = {}
        self._on: dict[Job, int] = {}
        self._samples = self._executions = 0

    def run(self, arrivals: Sequence[Asked]) -> Outcome:
        events: list[tuple[float, int, Asked | tuple[int, list[_Running]]]] = [
            (asked.at, next(self._numbers), asked) for asked in arrivals
        ]
        heapq.heapify(events)
        ended: list[Ended] = []
        while events:
            now = events[0][0]
            while events and events[0][0] == now:
                _, _, what = heapq.heappop(events)
                if isinstance(what, Asked):
                    self._queue.append(what)
                else:
                    triton, batch = what
                    self._tritons[triton].busy = False
                    ended += [
                        Ended(each.asked, now - each.asked.at, self._device.alone(each.asked))
                        for each in batch
                        if self._advance(triton, each)
                    ]
            self._admit()
            for number, triton_ in enumerate(self._tritons):
                if not triton_.busy and (batch := triton_.take(self._device.table.max_batch)):
                    triton_.busy = True
                    seconds = self._device.seconds(*batch[0].turn, len(batch))
                    if batch[0].turn[0].startswith("denoiser"):
                        self._samples += len(batch)
                        self._executions += 1
                    heapq.heappush(events, (now + seconds, next(self._numbers), (number, batch)))
        return Outcome(ended, self._samples, self._executions)

    def _advance(self, triton: int, running: _Running) -> bool:
        """A turn is over; whether it was the last one."""
        job = running.job
        if running.turn[0].startswith("denoiser"):
            job.done += 1
        running.place += 1
        if running.place == len(running.turns):
            self._loads[running.worker][triton].end(job)
            self._running[running.worker] -= 1
            del self._of_job[job], self._on[job]
            return True
        job.ending = running.place == len(running.turns) - 1
        self._tritons[triton].put(running, next(self._numbers))
        return False

    def _admit(self) -> None:
        """Workers claim jobs, and begin those for which it is time."""
        for worker in self._claims():
            asked = self._queue.popleft()
            job = Job(self._works[asked.quality, asked.size])
            self._of_job[job] = _Running(asked, self._device.turns(asked), job, worker)
            self._running[worker] += 1
            self._lines[worker].join(job)
        for line, loads in zip(self._lines, self._loads, strict=True):
            for job, load in line.begin(self._policy, loads):
                triton = next(number for number, each in enumerate(loads) if each is load)
                self._on[job] = triton
                self._tritons[triton].put(self._of_job[job], next(self._numbers))

    def _claims(self) -> Iterator[int]:
        """The worker that claims the next job, as long as one can."""
        while self._queue:
            worker = min(range(len(self._running)), key=self._running.__getitem__)
            if self._jobs is not None and self._running[worker] >= self._jobs:
                return
            yield worker
