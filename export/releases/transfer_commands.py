"""``python -m export release push`` and ``fetch``: options are those that export.releases.commands declares."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from export.releases.durable import write_whole
from export.releases.folder import agent_runs, live_version, make_live, versions
from export.releases.places.folder import FolderPlace
from export.releases.places.opening import open_place
from export.releases.places.port import PlaceError, UnreachableError
from export.releases.rollout import LOCK, ROLLOUT, Rollout, encode, locked
from export.releases.transfer import Moved, Report, fetch, push

PLACE_VARIABLE = "REROOM_RELEASES_AT"
"""The place, where none is named; the service's workers read the same variable."""


def push_command(options: argparse.Namespace, release: Path) -> int:
    """Bring ``options.version``, None = the newest, to ``options.place``."""
    version = options.version or max(versions(release), default=0)
    if not version:
        raise PlaceError(f"there is no version in {release}: export it first")
    moved = push(FolderPlace(release), open_place(options.place), version, _say)
    print(f"{release.name}-{version} is in {options.place}; {_travelled(moved)}")
    return 0


def fetch_command(options: argparse.Namespace, release: Path) -> int:
    """Bring ``options.version``, None = the live one, from ``options.place``; and with ``make_live`` serve it."""
    if options.make_live and agent_runs(release):
        raise PlaceError(f"an agent decides what is live in {release}: leave --make-live out")
    try:
        moved, rollout = _fetch(options.place, release, options.version, _say)
    except UnreachableError as error:
        if not options.make_live or not (live := live_version(release)):
            raise
        print(f"warning: {error}; this host goes on with {release.name}-{live}", file=sys.stderr)
        return 0
    if options.make_live:
        with locked(release / LOCK):
            if options.version is None:
                write_whole(release / ROLLOUT, encode(rollout))
            make_live(release, moved.version)
    print(
        f"{release.name}-{moved.version} is here"
        + (", and live when Triton starts" if options.make_live else "")
        + f"; {_travelled(moved)}"
    )
    return 0


def prune_command(options: argparse.Namespace, release: Path, in_use: set[int]) -> int:
    """Remove versions from ``options.at``."""
    place = open_place(options.at)
    if isinstance(place, FolderPlace):
        raise PlaceError(f"{options.at} is a folder: name it in place of {release.name}, without --at")
    from export.releases.places.pruning import prune_place
    from export.releases.places.s3 import S3Place

    assert isinstance(place, S3Place)
    done = prune_place(
        place,
        options.versions,
        keep=options.keep,
        newest=options.newest,
        in_use=in_use,
        dry_run=options.dry_run,
    )
    for version, reason in sorted(done.kept.items()):
        print(f"{release.name}-{version} stays: {reason}")
    names = ", ".join(f"{release.name}-{version}" for version in done.versions) or "no version"
    verb = "would remove" if options.dry_run else "removed"
    print(
        f"{verb} {names} from {options.at}, and {done.files} files, {done.bytes / 1e6:.1f} MB, that are a day old"
    )
    return 0


def _fetch(name: str, release: Path, version: int | None, report: Report) -> tuple[Moved, Rollout]:
    place = open_place(name)
    found = place.poll("")
    assert found is not None, "only an unchanged document is None"
    rollout, _ = found
    wanted = version or rollout.live
    if not wanted:
        raise PlaceError(
            f"{place.name} says of no version that it shall be live: promote one, or name a version"
        )
    return fetch(place, FolderPlace(release), wanted, report), rollout


def _travelled(moved: Moved) -> str:
    return (
        f"{moved.files} files, {moved.bytes / 1e6:.1f} MB, travelled"
        if moved.files
        else "nothing was missing"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
