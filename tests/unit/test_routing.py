"""Which Triton a job goes to, and when: the policies and the line, without servers."""

from __future__ import annotations

import dataclasses
import random

import msgspec
import pytest

from orchestrator.adapters.triton.routing import Job, Line, Load, Policy, least_delay, least_requests
from orchestrator.domain.cost import Work

LONG = Work(steps=20, step=2.0, rest=3.0, seen=0.8, shape="a", most=8)
SHORT = Work(steps=4, step=1.0, rest=1.0, seen=0.8, shape="b", most=8)


def a_job(work: Work = LONG, photo_id: str | None = None, done: int = 0, **changes: float | str) -> Job:
    return Job(msgspec.structs.replace(work, **changes), photo_id, done=done)


def loads(*jobs: list[Job]) -> list[Load]:
    return [Load(list(each)) for each in jobs]


def begun(line: Line, servers: list[Load], policy: Policy = least_delay) -> list[tuple[Job, int]]:
    return [(job, servers.index(load)) for job, load in line.begin(policy, servers)]


def test_least_requests_counts() -> None:
    servers = loads([a_job(LONG)], [a_job(SHORT), a_job(SHORT)])
    assert least_requests(a_job(), servers) is servers[0]


def test_an_idle_server_comes_first() -> None:
    servers = loads([a_job(SHORT)], [])
    assert least_delay(a_job(LONG), servers) is servers[1]


def test_a_long_job_waits_behind_long_ones_and_a_short_one_begins_beside_the_one_with_least_to_do() -> None:
    servers = loads([a_job(LONG)], [a_job(LONG, step=1.5)])
    assert least_delay(a_job(LONG), servers) is None
    assert least_delay(a_job(SHORT), servers) is servers[1]


def test_a_long_job_begins_when_the_other_is_nearly_done() -> None:
    assert least_delay(a_job(LONG), loads([a_job(LONG)], [a_job(LONG, done=20)])) is None
    finishing = a_job(LONG, done=20)
    finishing.ending = True
    servers = loads([a_job(LONG)], [finishing])
    assert least_delay(a_job(LONG), servers) is servers[1], "what is decoded blocks nothing"


def test_jobs_that_gain_by_a_batch_meet() -> None:
    """As long as both servers are busy: an idle one is never passed over."""
    other, same = a_job(LONG, shape="other"), a_job(LONG)
    job = a_job(LONG, shared=0.6)
    servers = loads([other], [same])
    assert least_delay(job, servers) is servers[1]
    assert least_delay(a_job(LONG, shared=0.0), servers) is None
    full = loads([other], [a_job(LONG, most=1), a_job(LONG, most=1)])
    assert least_delay(a_job(LONG, shared=0.6, most=1), full) is None
    idle = loads([same], [])
    assert least_delay(job, idle) is idle[1]


def test_of_equals_the_one_that_knows_the_photo() -> None:
    servers = loads([], [])
    first = a_job(SHORT, "p")
    servers[1].begin(first)
    servers[1].end(first)
    for seed in range(8):
        random.seed(seed)
        assert least_delay(a_job(SHORT, "p"), servers) is servers[1]
    busy = loads([], [a_job(LONG)])
    busy[1].begin(a_job(SHORT, "p"))
    assert least_delay(a_job(LONG, "p"), busy) is busy[0], "not for the price of a queue"
    assert {least_delay(a_job(SHORT, "q"), servers) is servers[0] for _ in range(64)} == {True, False}


def test_the_line_is_first_come_first_served_among_equals() -> None:
    line, servers = Line(), loads([], [])
    jobs = [a_job(LONG) for _ in range(4)]
    for job in jobs:
        line.join(job)
    assert [job for job, _ in begun(line, servers)] == jobs[:2]
    assert line.waiting == jobs[2:]
    servers[0].jobs.clear()
    assert begun(line, servers) == [(jobs[2], 0)]


def test_short_jobs_overtake_a_long_one_until_they_cost_as_much_as_it() -> None:
    line, servers = Line(), loads([a_job(LONG)], [a_job(LONG)])
    waits = a_job(LONG)
    line.join(waits)
    passed = 0
    for _ in range(100):
        short = a_job(SHORT)
        line.join(short)
        for job, place in begun(line, servers):
            assert job is not waits
            servers[place].jobs.remove(job)  # ends at once
            passed += 1
        line.leave(short)
    assert passed == pytest.approx(waits.work.cost / SHORT.cost, abs=1)


def test_without_servers_none_begins() -> None:
    line = Line()
    line.join(a_job())
    assert begun(line, []) == []
    line.leave(line.waiting[0])
    assert line.waiting == []


def test_a_job_that_has_taken_more_steps_than_was_thought_still_has_an_end() -> None:
    job = dataclasses.replace(a_job(SHORT), done=9)
    assert (job.turns, job.left) == (1, SHORT.rest)
