"""Trials of releases from users' jobs to the end, over a real Redis, with a folder of releases and a scripted model."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.adapters.redis import RedisCanaryStore, RedisJobStore, RedisOutbox
from orchestrator.adapters.releases.folder import FolderRollouts
from orchestrator.api.responses.canary_report import report_page
from orchestrator.domain.job import Job, JobState
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.releases import Canary, Rollout, within_share
from orchestrator.domain.styles import STYLES
from orchestrator.ports import Trial, Unavailable
from orchestrator.services.cleaning import delete_pictures
from orchestrator.services.releases import following as following_module
from orchestrator.services.releases import shadows as shadows_module
from orchestrator.services.releases.control import ReleaseControl
from orchestrator.services.releases.following import FollowedRollouts
from orchestrator.services.releases.judges import Judge
from orchestrator.services.releases.shadows import MOST, Shadows
from orchestrator.services.releases.trials import Trials
from orchestrator.services.running import runner as runner_module
from orchestrator.services.running.runner import Runner
from stack.redis import RedisServer
from tests.support.api_server import photo as a_photo
from tests.support.fakes import MemoryStorage
from tests.support.jobs import a_job, claim, take_over
from tests.support.released import Ability, ReleasedInference

GOOD = Ability()


def make_releases(root: Path, live: int = 4) -> None:
    for number in (3, 4, 5, 6):
        folder = root / "versions" / str(number)
        folder.mkdir(parents=True)
        (folder / "release.json").write_text(json.dumps({"release": f"rooms-{number}"}))
        if number != 6:
            (folder / "checked.json").write_text("{}")
    (root / "live").write_text(f"{live}\n")


class Bench:
    """Everything of a worker but its loop."""

    def __init__(self, redis: RedisServer, root: Path, inference: ReleasedInference) -> None:
        prefix = f"{time.monotonic_ns()}:"
        self.store = RedisJobStore(redis.url, prefix=prefix)
        self.canaries = RedisCanaryStore(redis.url, prefix=prefix)
        self.outbox = RedisOutbox(redis.url, prefix=prefix)
        self.storage, self.rollouts, self.inference = MemoryStorage(), FolderRollouts(root), inference
        self.following = FollowedRollouts(self.rollouts)
        self.now = time.time()
        judge = self.judge = Judge(self.rollouts, self.following, self.canaries)
        self.shadows = Shadows(
            self.store,
            self.storage,
            inference,
            self.rollouts,
            self.following,
            self.canaries,
            judge,
            name="w",
            look=0.01,
            clock=self.clock,
        )
        self.trials = Trials(self.following, judge, self.shadows, clock=self.clock)
        self.runner = Runner(
            self.store,
            self.storage,
            inference,
            STYLES,
            lease_seconds=30,
            retry_delay=0.01,
            trials=self.trials,
        )
        self.control = ReleaseControl(self.rollouts, self.canaries, self.store, self.storage, inference)
        self.jobs = 0

    def clock(self) -> float:
        return self.now

    def serve_again(self, after: float) -> None:
        """The models are back, so many seconds after they went away."""
        self.now += after
        self.inference.ready = True

    async def start(self, mode: str, share: float = 1.0) -> Canary:
        wanted = await self.control.try_out(5, "share" if mode == "share" else "shadow", share, "a test")
        self.following.seen(wanted)
        assert wanted.canary is not None
        return wanted.canary

    async def run(self, owner: str = "") -> Job:
        """A job from its submission to its end."""
        self.jobs += 1
        job = a_job(owner=owner, preferences=Preferences(seed=self.jobs))
        self.storage.objects[job.original_key] = a_photo()
        await self.store.submit(job)
        await self.runner.run(await claim(self.store), asyncio.Event())
        return await self.store.get(job.id)

    async def run_through_outage(self, after: float) -> Job:
        """The same, where the models go away during the first attempt and come back after so many seconds."""
        job = await self.run()
        assert (job.status, job.outages, self.inference.ready) == (JobState.QUEUED, 1, False)
        self.serve_again(after)
        await self.runner.run(await take_over(self.store, "w"), asyncio.Event())
        return await self.store.get(job.id)

    async def run_pairs(self, most: int) -> None:
        """Jobs and what is made in their shadow, until the trial has ended or there were so many."""
        making = asyncio.create_task(self.shadows.run())
        try:
            for pairs in range(1, most + 1):
                await self.run()
                async with asyncio.timeout(20):
                    while (await self.rollouts.read()).canary is not None:
                        if (found := await self.canaries.last()) and found.sums.get("pairs", 0) >= pairs:
                            break
                        await asyncio.sleep(0.005)
                    else:
                        return
        finally:
            making.cancel()
            await asyncio.wait([making])
            await asyncio.gather(*self.judge._deciding)

    async def until_counted(self, name: str, number: int) -> None:
        """Until so much of it was noted."""
        async with asyncio.timeout(20):
            while not (found := await self.canaries.last()) or found.sums.get(name, 0) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def end(self) -> tuple[Rollout, Trial]:
        """What is wanted now, and the last trial, whose end the operator was told."""
        trial = await self.canaries.last()
        assert trial is not None
        assert trial.judged is not None
        events = [json.loads(each.fields["event"]) for each in await self.outbox.take(10, 10)]
        assert [event["decision"] for event in events] == [trial.judged.decision]
        return await self.rollouts.read(), trial


def release_of(job: Job) -> str:
    assert job.result is not None, job.error
    return str(job.result.metadata["release"])


@pytest.fixture
async def bench(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Bench]:
    make_releases(tmp_path)
    opened = Bench(redis, tmp_path, ReleasedInference({4: GOOD, 5: Ability()}, live=4))
    yield opened
    for each in (opened.store, opened.canaries, opened.outbox):
        await each.aclose()


async def test_a_good_release_in_the_shadow_is_promoted(bench: Bench) -> None:
    canary = await bench.start("shadow")
    first = await bench.run()
    assert release_of(first) == "rooms-4"
    assert bench.inference.asked == [None], "users' jobs name no release"
    await bench.run_pairs(150)
    wanted, trial = await bench.end()
    assert (wanted.live, wanted.previous, wanted.canary, wanted.withdrawn) == (5, 4, None, [])
    assert wanted.by.startswith(f"canary {canary.id}: It is not worse")
    assert trial.judged is not None
    assert "no loss beyond the margins" in trial.judged.reason
    pair = trial.newest[0]
    assert (pair.live.release, pair.canary.release) == ("rooms-4", "rooms-5")
    # The same photo, seed and wishes; nothing of the photo is reused, and nobody follows it.
    asked = [each for each in bench.inference.requests if each.release is not None]
    assert {each.release for each in asked[:2]} == {4, 5}
    assert asked[0].seed == asked[1].seed
    assert {(each.photo_id, each.preview_every) for each in asked} == {(None, 0)}
    usage = await bench.store.get(first.id)
    assert usage.result == first.result


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Ability(loss=0.08), "quality score: -0.0"),
        (Ability(slower=1.6), "speed: "),
        (Ability(failing=1.0), "failures: 100 % of 3 (model_error)"),
        (Ability(loss=0.4), "ruined pictures: 100 % of 3"),
        (Ability(unseen=3), "things seen in the photo: -3"),
    ],
    ids=["lower score", "slower", "failing", "ruined", "sees less"],
)
async def test_a_bad_release_in_the_shadow_is_rolled_back(bench: Bench, fault: Ability, reason: str) -> None:
    bench.inference.abilities[5] = fault
    await bench.start("shadow")
    await bench.run_pairs(60)
    wanted, trial = await bench.end()
    assert (wanted.live, wanted.previous, wanted.canary, wanted.withdrawn) == (4, None, None, [5])
    assert trial.judged is not None
    assert (trial.judged.decision, reason in trial.judged.reason) == ("roll_back", True), trial.judged
    made = await bench.run()
    assert release_of(made) == "rooms-4"


@pytest.mark.parametrize("chance", [0.0, 0.9], ids=["live first", "it first"])
async def test_a_release_in_the_shadow_that_crashes_the_only_server(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, chance: float
) -> None:
    monkeypatch.setattr("random.random", lambda: chance)
    bench.inference.abilities[5] = Ability(crashing=True)
    await bench.start("shadow")
    making = asyncio.create_task(bench.shadows.run())
    for crashes in (1, 2, 3):
        await bench.run()
        await bench.until_counted("code:unavailable", crashes)
        bench.serve_again(after=60)
    making.cancel()
    await asyncio.wait([making])
    await asyncio.gather(*bench.judge._deciding)
    wanted, trial = await bench.end()
    assert wanted.withdrawn == [5]
    assert trial.judged is not None
    assert trial.judged.reason == "It is worse: failures: 100 % of 3 (unavailable)."
    assert bench.inference.asked.count(5) == 3


async def test_no_pair_begins_while_the_models_are_away(bench: Bench) -> None:
    await bench.start("shadow")
    await bench.run()
    bench.inference.ready = False
    making = asyncio.create_task(bench.shadows.run())
    await asyncio.sleep(0.2)
    assert len(bench.shadows._waiting) == 1
    making.cancel()
    await asyncio.wait([making])
    trial = await bench.canaries.last()
    assert trial is None


async def test_the_newest_stay_when_a_pair_is_interrupted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.start("shadow")
    await bench.run()
    (_, _, twin) = bench.shadows._waiting[0]
    newer = [twin._replace(job=a_job()) for _ in range(MOST)]

    async def interrupted(pair: Coroutine[Any, Any, None]) -> None:
        pair.close()
        for each in newer:
            bench.shadows.offer(each)
        raise shadows_module._Interrupted

    monkeypatch.setattr(bench.shadows, "_while_idle", interrupted)
    await bench.shadows._next()
    assert [waits.job for _, _, waits in bench.shadows._waiting] == [each.job for each in newer]


async def test_over_its_latency_budget(bench: Bench, tmp_path: Path) -> None:
    said = {"release": "rooms-5", "budgets": {"cpu": {"": 2.5}, "gpu": {"": 0.1}}}
    (tmp_path / "versions" / "5" / "release.json").write_text(json.dumps(said))
    bench.inference.abilities[5] = Ability(slower=1.5)
    bench.inference.run_on = frozenset({"cpu"})
    await bench.start("shadow")
    await bench.run_pairs(20)
    _, trial = await bench.end()
    assert trial.judged is not None
    assert "pictures over the latency budget: 100 %" in trial.judged.reason


async def test_a_share_of_the_users_gets_its_pictures(bench: Bench) -> None:
    canary = await bench.start("share", 0.4)
    for key in ("a", "b", "c", "d", "e", "f"):
        made = {release_of(await bench.run(owner=key)) for _ in range(3)}
        assert made == {"rooms-5" if within_share(canary, key) else "rooms-4"}
    without_key = [await bench.run() for _ in range(12)]
    assert {release_of(job) for job in without_key} == {"rooms-4", "rooms-5"}
    for job in without_key:
        assert (release_of(job) == "rooms-5") == within_share(canary, job.id)
    trial = await bench.canaries.last()
    assert trial is not None
    assert trial.sums["made:canary"] + trial.sums["made:live"] == bench.jobs


async def test_a_failing_release_fails_no_users_job(bench: Bench) -> None:
    bench.inference.abilities[5] = Ability(failing=1.0, code="unavailable")
    await bench.start("share")
    jobs = []
    for _ in range(4):
        jobs.append(await bench.run())
        bench.now += 60
    assert [job.status for job in jobs] == [JobState.COMPLETED] * 4
    assert {release_of(job) for job in jobs} == {"rooms-4"}
    assert {job.attempts for job in jobs} == {1}
    assert bench.inference.asked == [5, None, 5, None, 5, None, None]
    wanted, trial = await bench.end()
    assert (wanted.withdrawn, trial.sums["code:unavailable"]) == ([5], 3)


async def test_a_release_that_crashes_the_only_server_is_rolled_back(bench: Bench) -> None:
    bench.inference.abilities[5] = Ability(crashing=True)
    await bench.start("share")
    jobs = [await bench.run_through_outage(after=60) for _ in range(3)]
    assert [(job.status, job.attempts, release_of(job)) for job in jobs] == [
        (JobState.COMPLETED, 1, "rooms-4")
    ] * 3
    wanted, trial = await bench.end()
    assert (wanted.live, wanted.withdrawn) == (4, [5])
    assert trial.judged is not None
    assert trial.judged.reason == "It is worse: failures: 100 % of 3 (unavailable)."
    assert bench.inference.asked == [5, None] * 3


async def test_one_outage_ends_no_trial(bench: Bench) -> None:
    """However many pictures of the release it cuts off."""
    bench.inference.abilities[5] = Ability(crashing=True)
    await bench.start("share")
    for _ in range(8):
        await bench.run_through_outage(after=0)
    trial = await bench.canaries.last()
    assert trial is not None
    assert (trial.judged, trial.sums["code:unavailable"], trial.sums["outages"]) == (None, 8, 1)


async def test_models_that_were_away_before_are_no_fault_of_it(bench: Bench) -> None:
    await bench.start("share")
    bench.inference.ready = False
    assert (await bench.run()).outages == 1
    assert await bench.canaries.last() is None


async def test_an_outage_of_something_else_is_no_fault_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "OUTAGE_PATIENCE", 0.0)
    await bench.start("share")
    job = a_job()
    bench.storage.objects[job.original_key] = a_photo()
    await bench.store.submit(job)
    bench.storage.outages = 1_000
    await bench.runner.run(await claim(bench.store), asyncio.Event())
    assert (await bench.store.get(job.id)).outages == 1
    assert await bench.canaries.last() is None


async def test_a_host_without_the_release_is_no_fault_of_it(bench: Bench) -> None:
    del bench.inference.abilities[5]
    await bench.start("share")
    for _ in range(4):
        assert release_of(await bench.run()) == "rooms-4"
    trial = await bench.canaries.last()
    assert trial is not None
    assert (trial.judged, trial.sums.get("event:failed:n")) == (None, None)


async def test_what_both_fail_at_is_the_users_own(bench: Bench) -> None:
    bench.inference.abilities = {4: Ability(failing=1.0, code="structure_lost"), 5: Ability(failing=1.0)}
    await bench.start("share")
    for _ in range(4):
        await bench.run()
    assert await bench.canaries.last() is None


async def test_a_pinned_job_stays_unless_its_release_is_withdrawn(bench: Bench) -> None:
    await bench.start("share")
    job = a_job()

    def pinned(version: int, **changes: int) -> Job:
        return msgspec.structs.replace(job, release=version, **changes)

    assert (await bench.trials.begin(job)).release == 5
    assert (await bench.trials.begin(pinned(3))).release == 3
    assert (await bench.trials.begin(pinned(5, outages=1))).release is None
    bench.following.seen(await bench.control.roll_back("a test"))
    assert (await bench.trials.begin(pinned(5))).release is None
    assert (await bench.trials.begin(job)).release is None


async def test_users_jobs_go_first(bench: Bench) -> None:
    await bench.start("shadow")
    await bench.run()
    waiting = a_job()
    await bench.store.submit(waiting)
    making = asyncio.create_task(bench.shadows.run())
    await asyncio.sleep(0.2)
    assert bench.inference.asked == [None]
    await bench.store.cancel(waiting.id)
    async with asyncio.timeout(20):
        while len(bench.inference.asked) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    making.cancel()
    await asyncio.wait([making])


async def test_an_erased_job_is_not_restyled_again(bench: Bench) -> None:
    await bench.start("shadow")
    job = await bench.run()
    await bench.store.erase(job.id)
    making = asyncio.create_task(bench.shadows.run())
    async with asyncio.timeout(20):
        while bench.shadows._waiting:  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0.01)
    making.cancel()
    await asyncio.wait([making])
    assert bench.inference.asked == [None]


async def test_the_report_shows_pairs_and_loses_what_is_erased(bench: Bench) -> None:
    await bench.start("shadow")
    await bench.run_pairs(3)
    report = await bench.control.report()
    page = report_page(report)
    assert page.count("data:image/jpeg;base64,") == 9
    assert "The trial runs" in page
    assert "<script" not in page
    erased = report.trial.newest[0].job_id
    await delete_pictures(bench.storage, erased)
    page = report_page(await bench.control.report())
    assert (page.count("data:image/jpeg;base64,"), page.count(">erased<")) == (6, 3)


async def test_an_outage_of_the_place_keeps_the_last_rollout(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_module, "EVERY", 0.0)
    await bench.start("share")

    async def away() -> Rollout:
        raise Unavailable("the place is away")

    monkeypatch.setattr(bench.rollouts, "read", away)
    assert release_of(await bench.run()) == "rooms-5"
    fresh = FollowedRollouts(bench.rollouts)
    assert await fresh.now() == Rollout()


async def test_a_trial_whose_judge_died_is_told_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.inference.abilities[5] = Ability(failing=1.0)
    await bench.start("share")

    async def dies(*_: object) -> bool:
        raise Unavailable("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(bench.canaries, "judged", dies)
        for _ in range(3):
            await bench.run()
    assert (await bench.rollouts.read()).withdrawn == [5]
    overview = await bench.control.overview()
    assert overview is not None
    assert overview.trial is not None
    _, trial = await bench.end()
    assert trial.judged == overview.trial.judged
    assert trial.judged is not None
    assert trial.judged.reason == "It is worse: failures: 100 % of 3 (model_error)."
