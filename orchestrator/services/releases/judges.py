"""Ends a trial as soon as the pictures say so: the release goes live, or is withdrawn."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from orchestrator.domain.codes import FailureCode
from orchestrator.domain.comparing import OUTAGES
from orchestrator.domain.judging import judge
from orchestrator.domain.releases import Canary, NotPossible, Rollout, promoted, said_by, taken_back
from orchestrator.ports import (
    UNAVAILABLE,
    AnotherWriter,
    CanaryStore,
    InferenceError,
    Judged,
    Noted,
    Rollouts,
    Unavailable,
)
from orchestrator.services.releases.following import FollowedRollouts
from orchestrator.telemetry import metrics

OUTAGE_SECONDS = 30.0
"""What goes away within so many seconds, of whichever server, is one outage: a network that is cut takes several. It is
noticed in all requests within some ten seconds, and a server that crashed takes longer to come back."""

_log = logging.getLogger(__name__)


def is_fault(error: InferenceError) -> bool:
    """Whether a release may be to blame: not where the host has not got it, nor where no server could be asked."""
    if error.code == FailureCode.RELEASE_NOT_HERE:
        return False
    return error.code != UNAVAILABLE or bool(error.server)


def outage_at(at: float) -> str:
    """The name of the outage of this time, UNIX seconds."""
    return f"outage:{int(at // OUTAGE_SECONDS)}"


class Judge:
    """Any number of processes may judge the same trial: of those that come to a decision one writes it."""

    def __init__(
        self,
        rollouts: Rollouts,
        following: FollowedRollouts,
        canaries: CanaryStore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rollouts, self._following, self._canaries = rollouts, following, canaries
        self._clock = clock
        self._deciding: set[asyncio.Task[None]] = set()

    async def note(self, canary: Canary, live: int, noted: Noted) -> None:
        """Note what was measured, and look. An outage is logged, and what was measured is lost: no job waits for it."""
        try:
            if noted.outage:
                await self._canaries.note(canary, live, Noted(id=noted.outage, sums={OUTAGES: 1.0}))
            await self._canaries.note(canary, live, noted)
            await self._look(canary, live)
        except Unavailable as error:
            _log.warning("a picture of the trial of version %d is not counted: %s", canary.version, error)
        except Exception:
            _log.exception("the trial of version %d could not be judged", canary.version)

    async def _look(self, canary: Canary, live: int) -> None:
        trial = await self._canaries.trial(canary, live)
        if trial is None or (trial.judged is not None and trial.judged.decision != "undecided"):
            return
        judgement = judge(trial.sums, trial.units)
        if judgement.decision == "running":
            return
        found = Judged(decision=judgement.decision, reason=judgement.reason, at=self._clock())
        # A worker that stops now first writes down what it has done.
        deciding = asyncio.create_task(self._decide(canary, live, found))
        self._deciding.add(deciding)
        deciding.add_done_callback(self._deciding.discard)
        await asyncio.shield(deciding)

    async def _decide(self, canary: Canary, live: int, found: Judged) -> None:
        judged = found if found.decision == "undecided" else await self._carry_out(canary, found)
        if judged is not None and await self._canaries.judged(canary, live, judged):
            metrics.CANARY_DECISIONS.labels(judged.decision).inc()
            _log.warning(
                "the trial of version %d: %s: %s",
                canary.version,
                judged.decision.replace("_", " "),
                judged.reason,
            )

    async def _carry_out(self, canary: Canary, judged: Judged) -> Judged | None:
        """Write it into the rollout. Returns what became of it; None: somebody else may have ended the trial."""
        now = await self._rollouts.read()
        if now.canary is None or now.canary.id != canary.id:
            self._following.seen(now)
            return None
        try:
            following = await self._next(now, canary, judged)
        except NotPossible as error:
            reason = f"{judged.reason} But: {error}."
            return Judged(decision="undecided", reason=reason, at=judged.at)
        try:
            await self._rollouts.write(following)
        except AnotherWriter as error:
            _log.info("the trial of version %d is looked at again: %s", canary.version, error)
            return None
        self._following.seen(following)
        return judged

    async def _next(self, now: Rollout, canary: Canary, judged: Judged) -> Rollout:
        by = said_by(canary, judged.reason)
        if judged.decision == "roll_back":
            return taken_back(now, by, judged.at)
        for version in await self._rollouts.versions():
            if version.version == canary.version:
                return promoted(now, version, by, judged.at)
        raise NotPossible(f"version {canary.version} is not there any more")
