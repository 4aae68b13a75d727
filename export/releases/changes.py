"""Promotes, tries and rolls back versions: changes of ``rollout.json``.

``release`` is the folder at hand, in which versions were verified; ``rollouts`` has the document, in the same folder or
where several hosts follow it.

::

    ReleaseError            a sentence for people: what was asked for is not done, and nothing was changed
    └── RefusedError        it would not be safe
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from export.releases.device import fits
from export.releases.folder import document_of, versions
from export.releases.rollout import Canary, Rollout, Rollouts, changed, now
from export.releases.verifying import unverified


class ReleaseError(Exception):
    """What was asked for cannot be done; the message is one sentence, and nothing was changed."""


class RefusedError(ReleaseError):
    """It would not be safe."""


def promote(
    release: Path, rollouts: Rollouts, version: int, device: str, by: str | None = None, again: bool = False
) -> Rollout:
    """Make ``version`` live; returns the document as it then is. A trial of it ends.

    One that is live already gets a new revision, at which the hosts that refused it try again. ``device`` is what
    serves it (:func:`export.releases.device.this_device`); ``again`` allows one that was withdrawn. Raises
    ReleaseError; RolloutConflictError when somebody else changed the document meanwhile.
    """
    before = rollouts.read()
    if before.live == version:
        _check_among(rollouts.versions(), release.name, version)
        return rollouts.write(changed(before, by), before.revision)
    check_may_serve(release, before, version, device, again)
    _check_no_other_trial(release, before, version)
    new = changed(
        before,
        by,
        live=version,
        previous=before.live or before.previous,
        withdrawn=[other for other in before.withdrawn if other != version],
        canary=None,
    )
    return rollouts.write(new, before.revision)


def start_canary(
    release: Path,
    rollouts: Rollouts,
    version: int,
    device: str,
    *,
    share: float,
    shadow: bool,
    by: str | None = None,
    again: bool = False,
) -> Rollout:
    """Try ``version`` on a share of the jobs, 0 < share ≤ 1, beside the live one. Raises as :func:`promote`."""
    before = rollouts.read()
    if not before.live or before.live == version:
        raise ReleaseError(
            f"{release.name}-{version} is live: there is nothing to compare it with"
            if before.live
            else f"nothing of {release.name} is live yet: promote a version first"
        )
    _check_no_other_trial(release, before)
    check_may_serve(release, before, version, device, again)
    canary = Canary(
        version=version,
        mode="shadow" if shadow else "share",
        share=share,
        since=now(),
        id=f"c-{secrets.token_hex(6)}",
    )
    withdrawn = [other for other in before.withdrawn if other != version]
    return rollouts.write(changed(before, by, canary=canary, withdrawn=withdrawn), before.revision)


def end_canary(
    release: Path,
    rollouts: Rollouts,
    by: str | None = None,
    withdraw: bool = False,
    version: int | None = None,
) -> Rollout:
    """End the trial; with ``withdraw`` its version gets no jobs any more, also not those that began with it.

    ``version`` is the one that the caller takes for the one on trial, None = whichever it is. Raises ReleaseError,
    RolloutConflictError.
    """
    before = rollouts.read()
    if before.canary is None:
        raise ReleaseError(f"no version of {release.name} is on trial")
    if version not in (None, before.canary.version):
        raise ReleaseError(
            f"{release.name}-{version} is not on trial, but {release.name}-{before.canary.version} is: name that one, "
            "or none, to end its trial"
        )
    withdrawn = _with(before.withdrawn, before.canary.version) if withdraw else before.withdrawn
    return rollouts.write(changed(before, by, canary=None, withdrawn=withdrawn), before.revision)


def roll_back(release: Path, rollouts: Rollouts, to: int | None = None, by: str | None = None) -> Rollout:
    """Take the newest change back: a trial ends, or else the previous version (or ``to``) becomes live again.

    What was on trial, or live, is withdrawn. With ``to`` a trial ends too, and its version is not withdrawn. No server
    is asked, and no graph is read. One that was stopped half-way is completed. Raises ReleaseError,
    RolloutConflictError.
    """
    before = rollouts.read()
    if before.canary is not None and to is None:
        return end_canary(release, rollouts, by, withdraw=True)
    target = before.previous if to is None else to
    if target in (None, before.live) and rollouts.follow():
        return before
    there = rollouts.versions()
    others = _others(there, before)
    if target is None:
        raise ReleaseError(f"nothing says what {release.name}-{before.live} is to go back to{others}")
    if target == before.live:
        raise ReleaseError(f"{release.name}-{target} is live already")
    if to is None and target in before.withdrawn:
        raise RefusedError(f"{release.name}-{target}, which was live before, is withdrawn{others}")
    _check_among(there, release.name, target)
    missing = rollouts.first_missing(target)
    if missing:
        raise RefusedError(f"{release.name}-{target} cannot be served, {missing}{others}")
    withdrawn = _with((other for other in before.withdrawn if other != target), before.live)
    new = changed(before, by, live=target, previous=None, withdrawn=withdrawn, canary=None)
    return rollouts.write(new, before.revision)


def known_version(release: Path, version: int) -> dict[str, Any]:
    """release.json of a version. Raises ReleaseError when there is none, ReleaseDamaged."""
    check_known(release, version)
    return document_of(release, version)


def check_known(release: Path, version: int) -> None:
    """Raises ReleaseError when there is no such version."""
    _check_among(versions(release), release.name, version)


def _check_among(there: list[int], bundle: str, version: int) -> None:
    if version not in there:
        published = ", ".join(map(str, sorted(there))) or "none"
        raise ReleaseError(f"there is no version {version} of {bundle}; published: {published}")


def check_may_serve(release: Path, rollout: Rollout, version: int, device: str, again: bool = False) -> None:
    """Raises ReleaseError when ``version`` may not get jobs on ``device``."""
    document = known_version(release, version)
    name = f"{release.name}-{version}"
    if version in rollout.withdrawn and not again:
        raise RefusedError(
            f"{name} was withdrawn: publish a mended version, or give --again if it was not to blame"
        )
    reason = unverified(release, version)
    if reason:
        raise RefusedError(f"{name} {reason}: `python -m export release verify {release.name} {version}`")
    targets = document.get("targets", [])
    if not fits(targets, device):
        raise RefusedError(
            f"{name} was made for {', '.join(targets)}, and this is for {device}: export it for that, or name what "
            "serves it with --device"
        )
    # Late: it imports numpy, which takes a tenth of a second, and a rollback has no use for it.
    from export.releases.specs import other_tensors

    odd = other_tensors(release, document)
    if odd:
        raise RefusedError(
            f"{name} cannot be loaded beside other versions, since {odd} has the tensors of another one: export it "
            "again, which gives the graph a name of its own"
        )


def _check_no_other_trial(release: Path, rollout: Rollout, version: int | None = None) -> None:
    """What is live does not change beneath a trial, which compares with it, and nothing else is tried meanwhile.
    ``version`` is the one whose own trial is no hindrance. The service has the same rule:
    tests/contract/test_rollout_rules.py. Raises ReleaseError."""
    canary = rollout.canary
    if canary is not None and canary.version != version:
        raise ReleaseError(
            f"{release.name}-{canary.version} is on trial, since {canary.since}: promote it, or end the trial with "
            f"`python -m export release canary {release.name} --end`, first"
        )


def _with(versions: Iterable[int], version: int) -> list[int]:
    return sorted({*versions, version})


def _others(there: list[int], rollout: Rollout) -> str:
    """What to do where a rollback has no way to go, after a sentence."""
    left = [number for number in there if number not in {rollout.live, *rollout.withdrawn}]
    if not left:
        return ", and no other version is published that was not withdrawn"
    return f": name it with --to ({', '.join(map(str, left))} can be)"
