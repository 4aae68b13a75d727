"""Which version of the models makes pictures, as the operator wants it: the document ``rollout.json``.

The same document lies in the release folder of every host, or in the object storage. The export's command line, the
agents beside the Tritons and this service read and change it; they share its format, and no code. A change is a
compare-and-swap: who has read revision r writes r + 1, unless somebody else has done so meanwhile.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from datetime import UTC, datetime
from typing import Literal

import msgspec

FORMAT = 1
CPU, CUDA = "cpu", "cuda"
"""What networks run on, as the models say it."""

Mode = Literal["share", "shadow"]


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """A version on trial beside the live one."""

    version: int
    mode: Mode
    """``share``: users get its pictures. ``shadow``: they get the live version's, and it makes the same again."""
    share: float
    """Of the jobs, above 0 and at most 1."""
    since: str
    """RFC 3339, UTC."""
    id: str
    """Names this trial: who is in its share, and what it has measured."""


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    revision: int = 0
    """0: there is no document yet."""
    live: int = 0
    """0: none."""
    previous: int | None = None
    """What a rollback goes to."""
    withdrawn: list[int] = []
    """These get no new jobs, whoever asks."""
    changed: str = ""
    """When, RFC 3339 in UTC."""
    by: str = ""
    """Who or what changed it."""
    canary: Canary | None = None


class ReleaseVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that was published."""

    version: int
    release: str
    """Its name, such as dollhouse-5."""
    verified: bool
    """Whether ``verify`` has passed it."""
    targets: list[str] = []
    """The hardware that it was made for: ``cpu``, ``gpu``, or names of GPUs; [] = any."""
    budgets: dict[str, dict[str, float]] = {}
    """By hardware, as in ``targets``, and by tier ("" where there are none): the most seconds of the models that a
    picture may take."""

    def fits(self, devices: frozenset[str]) -> bool:
        """Whether it was made for hosts whose networks run on these, cpu or cuda; no device: it is not known."""
        if not self.targets or not devices:
            return True
        return any(target != CPU for target in self.targets) if CUDA in devices else CPU in self.targets

    def budget(self, tier: str, devices: frozenset[str]) -> float | None:
        """The budget of a tier on hosts whose networks run on these, the largest of several; None without one."""
        found = [
            seconds
            for hardware, tiers in self.budgets.items()
            if not devices or (CPU if hardware == CPU else CUDA) in devices
            for seconds in [tiers.get(tier, tiers.get(""))]
            if seconds is not None
        ]
        return max(found, default=None)


class NotPossible(Exception):
    """The rollout cannot be changed like this; the message is one sentence that says why, and what to do."""


def promoted(now: Rollout, version: ReleaseVersion, by: str, at: float) -> Rollout:
    """The version goes live; a trial of it ends. One that is live already gets a new revision, at which the hosts that
    refused it try again. ``at`` is UNIX seconds, here and below. Raises NotPossible."""
    if version.version == now.live:
        return _changed(now, by, at)
    _check(now, version)
    _check_no_other_trial(now, version)
    return _changed(now, by, at, live=version.version, previous=now.live or now.previous, canary=None)


def tried(now: Rollout, version: ReleaseVersion, mode: Mode, share: float, by: str, at: float) -> Rollout:
    """The version goes on trial. Raises NotPossible."""
    _check_no_other_trial(now)
    if not now.live:
        raise NotPossible("no version is live, so there is nothing to compare with: promote one first")
    if version.version == now.live:
        raise NotPossible(f"version {version.version} is live already: there is nothing to compare it with")
    _check(now, version)
    canary = Canary(
        version=version.version,
        mode=mode,
        share=share,
        since=rfc3339(at),
        id=f"c-{secrets.token_hex(6)}",
    )
    return _changed(now, by, at, canary=canary)


def taken_back(now: Rollout, by: str, at: float) -> Rollout:
    """The newest change is taken back: a version on trial, or else the live one, for the one before. What is taken back
    is withdrawn. Raises NotPossible."""
    if now.canary is not None:
        return _changed(now, by, at, canary=None, withdrawn=_with(now.withdrawn, now.canary.version))
    if now.previous is None or now.previous == now.live:
        raise NotPossible("there is no version before the live one to go back to: promote another instead")
    if now.previous in now.withdrawn:
        raise NotPossible(
            f"version {now.previous}, which was live before, is withdrawn: promote another instead"
        )
    return _changed(now, by, at, live=now.previous, previous=None, withdrawn=_with(now.withdrawn, now.live))


def trial_of(now: Rollout, mode: Mode) -> Canary | None:
    """The trial that runs, if it is of this kind."""
    canary = now.canary
    if canary is None or canary.mode != mode or canary.version in now.withdrawn:
        return None
    return canary


def within_share(canary: Canary, unit: str) -> bool:
    """Whether the unit is in the share of this trial; the shares of two trials are independent of each other."""
    digest = hashlib.sha256(f"{canary.id}\n{unit}".encode()).digest()
    return int.from_bytes(digest[:8]) < canary.share * 2**64


def said_by(canary: Canary, reason: str) -> str:
    """Who changed a rollout that a trial ended by itself."""
    return f"canary {canary.id}: {reason}"


def reason_of(now: Rollout, canary: Canary) -> str | None:
    """Why the trial ended by itself; None where it did not, or something else was changed since."""
    begin = said_by(canary, "")
    return now.by.removeprefix(begin) if now.by.startswith(begin) else None


def version_of(release: str) -> int | None:
    """5 for dollhouse-5; None for a name without a number."""
    found = re.search(r"-(\d{1,9})$", release)
    return int(found[1]) if found else None


def rfc3339(seconds: float) -> str:
    """UNIX seconds as 2026-11-27T03:00:00Z."""
    return datetime.fromtimestamp(math.floor(seconds), UTC).isoformat().replace("+00:00", "Z")


def _check(now: Rollout, version: ReleaseVersion) -> None:
    if version.version in now.withdrawn:
        raise NotPossible(f"version {version.version} is withdrawn: publish it again under another number")
    if not version.verified:
        raise NotPossible(
            f"version {version.version} is not verified: run `python -m export release verify` on it first"
        )


def _check_no_other_trial(now: Rollout, version: ReleaseVersion | None = None) -> None:
    """What is live does not change beneath a trial, which compares with it, and nothing else is tried meanwhile.
    ``version`` is the one whose own trial is no hindrance. The export has the same rule:
    tests/contract/test_rollout_rules.py. Raises NotPossible."""
    if now.canary is not None and (version is None or now.canary.version != version.version):
        raise NotPossible(
            f"version {now.canary.version} is on trial: promote it, or take it back by a rollback, first"
        )


def _with(withdrawn: list[int], version: int) -> list[int]:
    return sorted({*withdrawn, version})


def _changed(now: Rollout, by: str, at: float, **members: object) -> Rollout:
    return msgspec.structs.replace(
        now, format=FORMAT, revision=now.revision + 1, by=by, changed=rfc3339(at), **members
    )
