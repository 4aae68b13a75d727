"""``python -m export release push`` and ``fetch``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from export.releases.durable import write_whole
from export.releases.folder import agent_runs, documents, live_version, make_live
from export.releases.places.folder import FolderPlace
from export.releases.places.opening import open_place
from export.releases.places.port import DamagedError, Place, PlaceError, UnreachableError
from export.releases.rollout import LOCK, ROLLOUT, Rollout, RolloutError, encode, locked
from export.releases.transfer import Moved, fetch, push

PLACE_VARIABLE = "REROOM_RELEASES_AT"
RELEASES = Path(__file__).parents[2] / "releases"
_PLACE = "s3://bucket/prefix, or a folder such as /mnt/releases/sd15"


def push_command(arguments: list[str]) -> int:
    """Bring a version of a folder to a place; returns 0 = it is there, 1 = a file is damaged, 2 = else."""
    parser = _parser(
        "push",
        "Bring a published version to where hosts fetch it from. It goes live only when it is promoted there.",
        "to",
    )
    parser.add_argument("--version", type=_version, help="which one (default: the newest)")
    options = parser.parse_args(arguments)
    try:
        source = FolderPlace(options.releases / options.bundle)
        version = options.version or max(documents(source.release), default=0)
        if not version:
            raise PlaceError(f"there is no version in {source.name}: export it first")
        moved = push(source, _place(options.place, "--to"), version, _say)
    except (PlaceError, RolloutError, OSError) as error:
        return _failed(error)
    _print_moved(moved, f"version {version} of {options.bundle} is in {options.place}")
    return 0


def fetch_command(arguments: list[str]) -> int:
    """Bring a version of a place to this host's folder; returns 0 = it is there, 1 = it is damaged, 2 = else."""
    parser = _parser(
        "fetch", "Bring a version to this host's folder, checked; what is live here is not touched.", "from"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=_version, help="which one")
    which.add_argument("--live", action="store_true", help="the one that is live at that place (the default)")
    parser.add_argument(
        "--make-live",
        action="store_true",
        help="then serve it here from Triton's next start, for a host without an agent; when the place does not answer "
        "and a version is live here already, go on with that",
    )
    options = parser.parse_args(arguments)
    host = FolderPlace(options.releases / options.bundle)
    try:
        if options.make_live and agent_runs(host.release):
            raise PlaceError(f"an agent decides what is live in {host.name}: leave --make-live out")
        place = _place(options.place, "--from")
        rollout = _rollout(place)
        version = options.version or rollout.live
        if not version:
            raise PlaceError(
                f"{place.name} says of no version that it is live: promote one, or name a --version"
            )
        moved = fetch(place, host, version, _say)
        if options.make_live:
            if not options.version:
                with locked(host.release / LOCK):
                    write_whole(host.release / ROLLOUT, encode(rollout))
            make_live(host.release, version)
    except UnreachableError as error:
        if options.make_live and (live := live_version(host.release)):
            print(f"warning: {error}; this host goes on with version {live}", file=sys.stderr)
            return 0
        return _failed(error)
    except (PlaceError, RolloutError, OSError) as error:
        return _failed(error)
    _print_moved(moved, f"version {version} is in {host.name}" + (", and live" if options.make_live else ""))
    return 0


def _parser(name: str, description: str, where: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m export release {name}",
        description=description,
        epilog="For a bucket: R2_ENDPOINT_URL, R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY, or AWS's own variables. Run "
        "it again after an interruption: it goes on from there.",
    )
    parser.add_argument("bundle", help="such as dollhouse")
    parser.add_argument(
        f"--{where}",
        dest="place",
        metavar="PLACE",
        default=os.environ.get(PLACE_VARIABLE, ""),
        help=f"{_PLACE} (default: {PLACE_VARIABLE})",
    )
    parser.add_argument(
        "--releases", type=Path, default=RELEASES, help="where this host's release folders are"
    )
    return parser


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def _place(name: str, option: str) -> Place:
    if not name:
        raise PlaceError(f"name the place with {option} or {PLACE_VARIABLE}: {_PLACE}")
    return open_place(name)


def _rollout(place: Place) -> Rollout:
    found = place.poll("")
    assert found is not None, "only an unchanged document is None"
    return found[0]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_moved(moved: Moved, done: str) -> None:
    how = (
        f"{moved.files} files, {moved.bytes / 1e6:.1f} MB, travelled"
        if moved.files
        else "nothing was missing"
    )
    print(f"{done}; {how}")


def _failed(error: Exception) -> int:
    print(_sentence(error), file=sys.stderr)
    return 1 if isinstance(error, DamagedError) else 2


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
