"""Removes versions from a bucket that nobody needs any more, and files that no version names.

A version vanishes with its release.json, which goes first; its files.json goes last, so that a removal that was stopped
is completed by the next one. Files go when they are unnamed and a day old: younger ones may belong to a push that goes
on. Do not prune while somebody pushes all the same: between a look and a removal there is a moment.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from export.releases.checksums import MANIFEST
from export.releases.host import versions_held
from export.releases.places.parts import parts_of
from export.releases.places.port import HOSTS, PlaceError
from export.releases.places.s3 import FILES, S3Place

AGE = timedelta(days=1)
"""What is younger may be part of something unfinished."""


@dataclass(frozen=True)
class Removed:
    """What was removed, or would be."""

    versions: list[int]
    kept: dict[int, str]
    """Why each other version stays."""
    files: int
    bytes: int


def prune_place(
    place: S3Place,
    versions: Collection[int] = (),
    *,
    keep: Collection[int] = (),
    newest: int = 2,
    in_use: Collection[int] = (),
    dry_run: bool = False,
    now: datetime | None = None,
) -> Removed:
    """Remove ``versions``, or else all but the ``newest``, that nothing needs. ``in_use`` are those of unfinished jobs.

    Raises PlaceError when one of ``versions`` is needed or not there, RolloutError, UnreachableError.
    """
    there = place.versions()
    reasons = _needed(place, keep, in_use)
    for version in versions:
        if version not in there:
            raise PlaceError(f"{place.name} has no version {version}")
        if version in reasons:
            raise PlaceError(f"version {version} is not removed from {place.name}: {reasons[version]}")
    removed = sorted(set(versions) or _spare(place, there, reasons, newest))
    if not dry_run:
        for version in removed:
            place.remove_version(version)
    oldest = (now or datetime.now(UTC)) - AGE
    half = {number for number, begun in place.unfinished().items() if begun < oldest}
    spare = _unnamed(place, {*removed, *half}, oldest)
    if not dry_run:
        for version in half:
            place.remove_version(version)
        for key in spare:
            if set(place.versions()) - set(there):
                raise PlaceError(f"somebody pushes to {place.name}: run it again when that is done")
            place.remove(key)
    kept = {number: reasons.get(number, "it was not named") for number in there if number not in removed}
    return Removed(removed, kept, len(spare), sum(spare.values()))


def _needed(place: S3Place, keep: Collection[int], in_use: Collection[int]) -> dict[int, str]:
    rollout = place.rollouts.read()
    found = dict.fromkeys(keep, "--keep names it")
    found |= dict.fromkeys(in_use, "jobs that are not finished began with it")
    for host in place.names(f"{HOSTS}/"):
        found |= dict.fromkeys(versions_held(place.get(host)), f"{host} says that it is there")
    if rollout.canary is not None:
        found[rollout.canary.version] = "it is on trial"
    if rollout.previous is not None:
        found[rollout.previous] = "a rollback goes to it"
    return found | {rollout.live: "it is live"}


def _spare(place: S3Place, there: list[int], reasons: dict[int, str], newest: int) -> set[int]:
    """Those that need not stay; why the others do is added to ``reasons``."""
    rollout = place.rollouts.read()
    sound = [number for number in reversed(there) if number not in rollout.withdrawn]
    for number in sound[:newest]:
        reasons.setdefault(number, f"it is one of the newest {newest}")
    for number in sound:
        if number > rollout.live:
            reasons.setdefault(number, "it is newer than what is live")
    return set(there) - reasons.keys()


def _unnamed(place: S3Place, removed: Collection[int], oldest: datetime) -> dict[str, int]:
    """Bytes of each old file, by its path, that no manifest names but those of versions that are ``removed``."""
    staying = {*place.versions(), *place.unfinished()} - set(removed)
    named = {
        part.sha256
        for number in staying
        for part in parts_of(place.manifest(number), number, f"{place.name}/versions/{number}/{MANIFEST}")
    }
    return {
        path: size
        for path, size, changed in place.objects(f"{FILES}/")
        if path.removeprefix(f"{FILES}/") not in named and changed < oldest
    }
