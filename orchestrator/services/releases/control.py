"""What an administrator does with releases: look, promote, try, and go back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from orchestrator.domain.judging import Judgement, judge
from orchestrator.domain.releases import (
    Mode,
    NotPossible,
    ReleaseVersion,
    Rollout,
    promoted,
    reason_of,
    taken_back,
    tried,
)
from orchestrator.ports import (
    CanaryStore,
    HostState,
    Inference,
    JobStore,
    Judged,
    ObjectNotFound,
    Pair,
    Rollouts,
    Storage,
    Trial,
    Unavailable,
)

MOST_PICTURE_BYTES = 512 * 1024
"""Of a picture in a report."""


class NoReleases(Exception):
    """The service does not know where releases lie."""


class ReleaseNotFound(Exception):
    """No release of that number was published, or no release was on trial; the message says which, in one sentence."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    rollout: Rollout
    versions: list[ReleaseVersion]
    hosts: list[HostState]
    in_use: list[int]
    """The versions that jobs which wait or run are pinned to."""
    trial: Trial | None
    """That runs, or that was the last one."""
    judgement: Judgement | None
    """Of that trial."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Of a trial, with its pictures."""

    trial: Trial
    judgement: Judgement
    running: bool
    pictures: dict[str, bytes]
    """JPEGs by their storage keys; those that were erased meanwhile are left out."""


class ReleaseControl:
    """``rollouts`` is None where the service does not know where releases lie: then every change raises NoReleases.
    Everything raises Unavailable."""

    def __init__(
        self,
        rollouts: Rollouts | None,
        canaries: CanaryStore,
        store: JobStore,
        storage: Storage,
        inference: Inference,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rollouts, self._canaries, self._store, self._storage = rollouts, canaries, store, storage
        self._inference, self._clock = inference, clock

    async def overview(self) -> Overview | None:
        """None: this service does not know where its releases lie."""
        rollouts = self._rollouts
        if rollouts is None:
            return None
        rollout = await rollouts.read()
        trial = await self._trial(rollout)
        return Overview(
            rollout=rollout,
            versions=await rollouts.versions(),
            hosts=await rollouts.hosts(),
            in_use=await self._store.releases_in_use(),
            trial=trial,
            judgement=None if trial is None else judge(trial.sums, trial.units),
        )

    async def promote(self, version: int, by: str) -> Rollout:
        """The version goes live. Raises ReleaseNotFound, NotPossible, AnotherWriter."""
        found = await self._version(version)
        return await self._change(lambda now: promoted(now, found, by, self._clock()))

    async def try_out(self, version: int, mode: Mode, share: float, by: str) -> Rollout:
        """The version goes on trial. Raises ReleaseNotFound, NotPossible, AnotherWriter."""
        found = await self._version(version)
        return await self._change(lambda now: tried(now, found, mode, share, by, self._clock()))

    async def roll_back(self, by: str) -> Rollout:
        """The newest change is taken back. Raises NotPossible, AnotherWriter."""
        return await self._change(lambda now: taken_back(now, by, self._clock()))

    async def report(self) -> Report:
        """Of the trial that runs, or of the last one. Raises ReleaseNotFound."""
        rollout = await self._place().read()
        trial = await self._trial(rollout)
        if trial is None:
            raise ReleaseNotFound("no release was on trial in the last weeks")
        keys = {key for pair in shown(trial) for key in pair.pictures.values()}
        pictures = {key: data for key in sorted(keys) if (data := await self._picture(key)) is not None}
        return Report(
            trial=trial,
            judgement=judge(trial.sums, trial.units),
            running=rollout.canary is not None and rollout.canary.id == trial.canary.id,
            pictures=pictures,
        )

    async def _trial(self, rollout: Rollout) -> Trial | None:
        if rollout.canary is None:
            return await self._last(rollout)
        # One that has just begun has measured nothing.
        begun = Trial(canary=rollout.canary, live=rollout.live)
        return await self._canaries.trial(rollout.canary, rollout.live) or begun

    async def _last(self, rollout: Rollout) -> Trial | None:
        trial = await self._canaries.last()
        if trial is None or (trial.judged is not None and trial.judged.decision != "undecided"):
            return trial
        reason = reason_of(rollout, trial.canary)
        if reason is None:
            return trial
        # The process that ended it died before it could tell.
        won = rollout.live == trial.canary.version
        judged = Judged(decision="promote" if won else "roll_back", reason=reason, at=self._clock())
        await self._canaries.judged(trial.canary, trial.live, judged)
        return msgspec.structs.replace(trial, judged=judged)

    async def _version(self, number: int) -> ReleaseVersion:
        versions = await self._place().versions()
        for version in versions:
            if version.version == number:
                await self._check_hardware(version)
                return version
        there = ", ".join(str(each.version) for each in versions) or "none"
        raise ReleaseNotFound(f"there is no version {number}; published are: {there}")

    async def _check_hardware(self, version: ReleaseVersion) -> None:
        """Raises NotPossible for a release of other hardware than the models run on, as far as they say."""
        with suppress(Unavailable):
            await self._inference.ping()
        devices = self._inference.devices()
        if not version.fits(devices):
            raise NotPossible(
                f"version {version.version} was made for {', '.join(version.targets)}, and the models run on "
                f"{', '.join(sorted(devices))}: export it for that"
            )

    async def _change(self, change: Callable[[Rollout], Rollout]) -> Rollout:
        rollouts = self._place()
        now = await rollouts.read()
        following = change(now)
        if following != now:
            await rollouts.write(following)
        return following

    async def _picture(self, key: str) -> bytes | None:
        try:
            return await self._storage.get(key, limit=MOST_PICTURE_BYTES)
        except ObjectNotFound:
            return None

    def _place(self) -> Rollouts:
        if self._rollouts is None:
            raise NoReleases
        return self._rollouts


SHOWN = 6
"""How many pairs a report shows of the worst, and of the newest."""


def shown(trial: Trial) -> list[Pair]:
    """The pairs of a report: the worst, then the newest of the others."""
    worst = trial.worst[:SHOWN]
    jobs = {pair.job_id for pair in worst}
    return [*worst, *[pair for pair in trial.newest if pair.job_id not in jobs][:SHOWN]]
