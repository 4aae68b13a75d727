"""Releases as the administrator sees them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator.domain.comparing import Sums
from orchestrator.domain.judging import NAMES, Finding, Judgement
from orchestrator.domain.releases import Canary, Mode, ReleaseVersion, Rollout
from orchestrator.ports import HostState, Trial
from orchestrator.services.releases.control import Overview

REPORT = "/admin/releases/canary/report"

State = Literal["live", "previous", "canary", "withdrawn", "published"]


class VersionData(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    release: str
    """Its name, as results say it."""
    state: State
    verified: bool
    """Whether ``python -m export release verify`` has passed it: others cannot go live."""
    in_use: bool
    """Whether a job that waits or runs is pinned to it, so that it must not be removed."""
    targets: list[str]
    """The hardware that it was made for; none: any."""
    budgets: dict[str, dict[str, float]]
    """The most seconds of a picture, by hardware and quality."""


class FindingData(msgspec.Struct, frozen=True, kw_only=True):
    """What one test of a trial says: a mean gain (below 0 the version on trial is worse) or a rate, and between which
    values the truth is."""

    name: str
    title: str
    what: Literal["pairs", "groups", "rate"]
    n: int
    value: float
    low: float | None
    high: float | None
    margin: float
    """The loss, or the rate, from which on it is not promoted."""
    verdict: Literal["worse", "not_worse", "open"]
    required: bool
    """Whether a promotion waits for it."""


class TrialData(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    version: int
    live: int
    """What it is compared with."""
    mode: Mode
    share: Annotated[float, Meta(gt=0, le=1)]
    since: str
    running: bool
    decision: Literal["running", "promote", "roll_back", "undecided"]
    """What the figures say, or said when it ended by itself."""
    reason: str
    pairs: int
    """Photos that both versions have restyled."""
    made: dict[str, int]
    """Pictures that users got meanwhile: ``live``, ``canary``."""
    failures: dict[str, int]
    """Of the version on trial, by code."""
    findings: list[FindingData]
    report_url: str


class ReleasesData(msgspec.Struct, frozen=True, kw_only=True):
    revision: int
    """Of rollout.json; 0: there is none yet."""
    live: int | None
    previous: int | None
    """What a rollback goes to."""
    withdrawn: list[int]
    canary: Canary | None
    changed: str
    by: str
    versions: list[VersionData]
    hosts: list[HostState]
    in_use: list[int]
    """Versions that jobs which wait or run are pinned to."""
    trial: TrialData | UnsetType = UNSET
    """The one that runs, or the last one of the last weeks."""


class ReleasesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: ReleasesData | None
    """None: the service does not know where its releases lie."""


class RolloutAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted from now on."""

    success: bool = True
    data: Rollout


def releases_answer(overview: Overview | None) -> ReleasesAnswer:
    if overview is None:
        return ReleasesAnswer(data=None)
    rollout, trial = overview.rollout, overview.trial
    return ReleasesAnswer(
        data=ReleasesData(
            revision=rollout.revision,
            live=rollout.live or None,
            previous=rollout.previous,
            withdrawn=rollout.withdrawn,
            canary=rollout.canary,
            changed=rollout.changed,
            by=rollout.by,
            versions=[_version(each, rollout, overview.in_use) for each in overview.versions],
            hosts=overview.hosts,
            in_use=overview.in_use,
            trial=UNSET
            if trial is None or overview.judgement is None
            else _trial(trial, overview.judgement, rollout),
        )
    )


def _version(version: ReleaseVersion, rollout: Rollout, in_use: list[int]) -> VersionData:
    number = version.version
    state: State = "published"
    if number == rollout.live:
        state = "live"
    elif number in rollout.withdrawn:
        state = "withdrawn"
    elif rollout.canary is not None and number == rollout.canary.version:
        state = "canary"
    elif number == rollout.previous:
        state = "previous"
    return VersionData(
        version=number,
        release=version.release,
        state=state,
        verified=version.verified,
        in_use=number in in_use,
        targets=version.targets,
        budgets=version.budgets,
    )


def _trial(trial: Trial, judgement: Judgement, rollout: Rollout) -> TrialData:
    canary, judged = trial.canary, trial.judged
    return TrialData(
        id=canary.id,
        version=canary.version,
        live=trial.live,
        mode=canary.mode,
        share=canary.share,
        since=canary.since,
        running=rollout.canary is not None and rollout.canary.id == canary.id,
        decision=judgement.decision if judged is None else judged.decision,
        reason=judgement.reason if judged is None else judged.reason,
        pairs=judgement.pairs,
        made={arm: round(trial.sums.get(f"made:{arm}", 0)) for arm in ("live", "canary")},
        failures=failures(trial.sums),
        findings=[_finding(each) for each in judgement.findings],
        report_url=REPORT,
    )


def failures(sums: Sums) -> dict[str, int]:
    """Of the version on trial, by code."""
    return {name[5:]: round(number) for name, number in sorted(sums.items()) if name.startswith("code:")}


def _finding(finding: Finding) -> FindingData:
    return FindingData(title=NAMES[finding.name], **msgspec.structs.asdict(finding))
