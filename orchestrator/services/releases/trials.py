"""What trials of releases mean for a user's job: which release makes its picture, and what that says of the release."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

from orchestrator.domain.codes import FailureCode
from orchestrator.domain.comparing import Measured, arm_sums, measured, tried_sums
from orchestrator.domain.job import Job
from orchestrator.domain.releases import Canary, Rollout, trial_of, version_of, within_share
from orchestrator.ports import UNAVAILABLE, InferenceError, Noted
from orchestrator.services.releases.following import FollowedRollouts
from orchestrator.services.releases.judges import Judge, is_fault, outage_at
from orchestrator.services.releases.shadows import Shadows, Twin
from reroom.triton import RestyleRequest, Result

_CANCELLED = "cancelled"

_log = logging.getLogger(__name__)


class Trials:
    """``judge`` and ``shadows`` are None where there are no rollouts."""

    def __init__(
        self,
        following: FollowedRollouts | None = None,
        judge: Judge | None = None,
        shadows: Shadows | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._following = following or FollowedRollouts(None)
        self._judge, self._shadows, self._clock = judge, shadows, clock

    async def begin(self, job: Job) -> TrialOfJob:
        """Choose the release of an attempt: that of an earlier one goes before a trial's."""
        now = await self._following.now()
        canary, chosen = trial_of(now, "share"), None
        if job.release is not None and job.release not in now.withdrawn:
            chosen = job.release
        elif canary is not None and within_share(canary, unit_of(job)):
            chosen = canary.version
        on_trial = canary is not None and chosen == canary.version
        if on_trial and job.outages:
            # It may have been the release that brought the server down.
            chosen, on_trial = None, False
        return TrialOfJob(job, now, chosen, on_trial, self._judge, self._shadows, self._clock)


class TrialOfJob:
    """Of one attempt."""

    def __init__(
        self,
        job: Job,
        now: Rollout,
        chosen: int | None,
        on_trial: bool,
        judge: Judge | None,
        shadows: Shadows | None,
        clock: Callable[[], float],
    ) -> None:
        self._job, self._now, self._judge, self._shadows = job, now, judge, shadows
        self._clock = clock
        self.release = chosen
        """The version to ask for; None: whichever is live at the host."""
        self._on_trial = on_trial
        self._failure: str | None = None
        self._outage = ""
        self._made: tuple[RestyleRequest, Result] | None = None

    def goes_on_without(self, error: InferenceError) -> bool:
        """Whether the live release is to make the picture instead. A release on trial fails no user's job."""
        if self.release is None or error.code == _CANCELLED:
            return False
        if not self._on_trial and error.code != FailureCode.RELEASE_NOT_HERE:
            return False
        _log.warning(
            "job %s: version %d does not make its picture, so the live one does: %s: %s",
            self._job.id, self.release, error.code, error.detail,
        )  # fmt: skip
        if self._on_trial and is_fault(error):
            self._failure, self._outage = error.code, outage_at(self._clock())
        self.release, self._on_trial = None, False
        return True

    def made(self, asked: RestyleRequest, result: Result) -> None:
        self._made = asked, result

    async def completed(self) -> None:
        """The job is committed, and nobody waits for what is noted now."""
        if self._made is None or self._judge is None:
            return
        asked, result = self._made
        version, share, shadow = (
            version_of(result.release),
            trial_of(self._now, "share"),
            trial_of(self._now, "shadow"),
        )
        if share is not None:
            await self._note(self._judge, share, measured(result), version)
            if version == share.version:
                self._offer(share, asked, result)
        if shadow is not None and version == self._now.live and within_share(shadow, self._job.id):
            self._offer(shadow, asked, result)

    async def cut_off(self) -> None:
        """The models went away, for the live release too, and the job was given back. A later attempt does without the
        release on trial, so that what it did is told now or never."""
        share = trial_of(self._now, "share")
        if self._judge is not None and share is not None and self._failure is not None:
            await self._judge.note(share, self._now.live, self._failed(UNAVAILABLE))

    async def _note(self, judge: Judge, canary: Canary, made: Measured, version: int | None) -> None:
        live = self._now.live
        if self._failure is not None:
            noted = self._failed(self._failure)
        elif version == canary.version:
            sums = tried_sums(None) | arm_sums("canary", made)
            noted = Noted(id=f"{self._job.id}:made", sums=sums, unit=unit_of(self._job))
        elif version == live:
            noted = Noted(id=f"{self._job.id}:made", sums=arm_sums("live", made))
        else:
            return
        await judge.note(canary, live, noted)

    def _failed(self, code: str) -> Noted:
        return Noted(
            id=f"{self._job.id}:failed",
            sums=tried_sums(code),
            unit=unit_of(self._job),
            outage=self._outage if code == UNAVAILABLE else "",
        )

    def _offer(self, canary: Canary, asked: RestyleRequest, result: Result) -> None:
        if self._shadows is not None:
            # Nothing is to be reused: then both would not do the same work.
            again = msgspec.structs.replace(
                asked, release=None, seed=result.seed, photo_id=None, preview_every=0
            )
            self._shadows.offer(Twin(canary, self._now.live, self._job, again))


def unit_of(job: Job) -> str:
    """Whose pictures are all made by the same release during a trial: a key's, or without one those of a submission."""
    return job.owner or job.parent or job.id
