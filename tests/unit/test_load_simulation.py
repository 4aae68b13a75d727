"""The simulation of Tritons under load, and the arithmetic of the benchmarks of profiles and load."""

from __future__ import annotations

import random

import pytest

from benchmarks.load import compared, described, simulated, with_saving
from benchmarks.load_simulation import Asked, Device, Outcome, Simulation, seconds_of, trace
from benchmarks.profile import a_bucket, another, batches_up_to, sizes_of
from orchestrator.adapters.triton.routing import least_delay, least_requests
from orchestrator.domain.cost import Kind, Profile, WorkTable

SIZE = (64, 64)
TABLE = WorkTable(
    buckets=[SIZE, (64, 128)],
    side=64,
    kinds={"best": Kind(steps=4, run=4, guided=4), "draft": Kind(steps=2, run=2, guided=0)},
    quality="best",
    max_batch=2,
    profile=Profile(
        batches=[1, 2],
        seconds={
            "perception": {"64x64": [1.0]},
            "denoiser guided": {"64x64": [2.0, 3.0]},
            "denoiser plain": {"64x64": [1.0, 1.5]},
            "vae_decoder": {"64x64": [1.0, 2.0]},
        },
    ),
)
DEVICE = Device(TABLE)
WORKS = {(kind, SIZE): TABLE.work(*SIZE, quality=kind) for kind in TABLE.kinds}


def ran(*arrivals: Asked, tritons: int = 1, jobs: int | None = None) -> Outcome:
    return Simulation(DEVICE, least_requests, WORKS, tritons=tritons, jobs=jobs).run(arrivals)


def test_a_job_alone_takes_the_sum_of_its_runs() -> None:
    outcome = ran(Asked(5.0, "best", SIZE))
    assert [(each.seconds, each.alone) for each in outcome.ended] == [(10.0, 10.0)]
    assert (outcome.samples, outcome.executions) == (4, 4)


def test_two_alike_share_their_batches() -> None:
    outcome = ran(Asked(0.0, "best", SIZE), Asked(0.0, "best", SIZE))
    # Seen one after the other: the first has taken a step alone when the second comes to its own.
    assert outcome.samples == 8
    assert outcome.executions < 8
    assert max(each.seconds for each in outcome.ended) < 20.0


def test_two_unlike_take_turns() -> None:
    outcome = ran(Asked(0.0, "best", SIZE), Asked(0.0, "draft", SIZE))
    seconds = {each.asked.quality: each.seconds for each in outcome.ended}
    assert outcome.executions == outcome.samples == 6
    assert seconds["best"] == 14.0, "all work of both"
    assert seconds["draft"] == pytest.approx(2 * 1 + 2 * 2 + 2 * 1 + 2 + 1, abs=3)


def test_a_second_triton_and_a_worker_with_one_job_at_a_time() -> None:
    both = Asked(0.0, "best", SIZE), Asked(0.0, "best", SIZE)
    assert [each.seconds for each in ran(*both, tritons=2).ended] == [10.0, 10.0]
    assert [each.seconds for each in ran(*both, jobs=1).ended] == [10.0, 20.0]


def test_every_job_ends_under_both_policies_and_the_arrivals_are_the_same() -> None:
    arrivals = trace(DEVICE, [SIZE], share=0.9, tritons=2, jobs=200, seed=3)
    assert arrivals == trace(DEVICE, [SIZE], share=0.9, tritons=2, jobs=200, seed=3)
    for policy in (least_requests, least_delay):
        random.seed(1)
        outcome = Simulation(DEVICE, policy, WORKS, workers=2).run(arrivals)
        assert sorted(each.asked.at for each in outcome.ended) == [each.at for each in arrivals]
        assert all(each.seconds >= each.alone * 0.99 for each in outcome.ended)
        assert outcome.samples == sum(TABLE.kinds[each.quality].run for each in arrivals)


def test_the_load_is_what_was_asked_for() -> None:
    arrivals = trace(DEVICE, [SIZE], share=0.7, tritons=2, jobs=4000, seed=0)
    assert sum(map(DEVICE.alone, arrivals)) / arrivals[-1].at / 2 == pytest.approx(0.7, rel=0.05)


def test_seconds_between_what_was_measured() -> None:
    assert TABLE.profile is not None
    guided = [seconds_of(TABLE.profile, "denoiser guided", SIZE, batch) for batch in (1, 2, 3)]
    assert guided == [2.0, 3.0, 4.0]
    assert seconds_of(TABLE.profile, "denoiser guided", (64, 128), 1) == 4.0
    saving = with_saving(TABLE, 0.25).profile
    assert saving is not None
    assert saving.seconds["denoiser guided"] == {"64x64": [2.0, 3.5]}


def test_both_policies_are_described_and_compared() -> None:
    found = simulated(TABLE, range(2))
    assert found["p99_gain"] == pytest.approx(
        found["policies"]["least_requests"]["p99"] / found["policies"]["cost_aware"]["p99"]
    )
    assert found == simulated(TABLE, range(2)), "nothing but the seed decides"
    one = described([ran(Asked(0.0, "draft", SIZE))])
    assert (one["p50"], one["slowdown"]["p99"], one["samples_per_execution"]) == (4.0, 1.0, 1.0)
    assert compared({"least_requests": one, "cost_aware": one})["p99_gain"] == 1.0


def test_what_a_profile_measures() -> None:
    assert [batches_up_to(most) for most in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
    assert sizes_of([[96, 160], [160, 96], [128, 128]]) == [(96, 160), (128, 128)]
    assert another([1, 2, 4], [1.0, 1.5, 2.5]) == pytest.approx(0.5)
    assert a_bucket("384x640") == (384, 640)
