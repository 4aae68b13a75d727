"""``python -m export release …``: lists, checks, publishes, switches and removes versions of a release."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from export.releases.changes import (
    ReleaseError,
    check_known,
    end_canary,
    known_version,
    promote,
    roll_back,
    start_canary,
)
from export.releases.checksums import ReleaseDamaged
from export.releases.device import this_device
from export.releases.folder import agent_runs, is_live, versions
from export.releases.places.opening import open_place
from export.releases.places.port import PlaceError
from export.releases.rollout import (
    FolderRollouts,
    Rollout,
    RolloutError,
    Rollouts,
    read_rollout,
    this_user,
)
from export.releases.transfer_commands import PLACE_VARIABLE, fetch_command, prune_command, push_command

ROOT = Path(__file__).parents[2]

Command = Callable[[argparse.Namespace, Path], int]


def main(arguments: list[str]) -> int:
    """Run one command; returns 0 = done, 1 = refused or not whole, 2 = wrong usage."""
    options = release_parser().parse_args(arguments)
    command: Command = options.command
    try:
        release = _folder(options)
        return command(options, release)
    except (ReleaseError, RolloutError, ReleaseDamaged, PlaceError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 2


def release_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(
        prog="python -m export release",
        description="The versions of a release: look at them, check, publish, switch, and remove them.",
        epilog="docs/releases.md tells a version's life.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, help_: str) -> argparse.ArgumentParser:
        each = commands.add_parser(name, help=help_, description=help_)
        each.add_argument(
            "bundle", help="a name in the folder of releases, such as tiny, or a path to its folder"
        )
        each.add_argument(
            "--releases",
            type=Path,
            default=Path(os.environ.get("REROOM_RELEASES") or ROOT / "releases"),
            help="where releases are published (releases)",
        )
        each.set_defaults(command=command)
        return each

    def change(name: str, command: Command, help_: str) -> argparse.ArgumentParser:
        each = add(name, command, help_)
        each.add_argument("--by", help="who asks, for the record (you, on this machine)")
        return each

    def at(
        each: argparse.ArgumentParser,
        what: str = "change what shall be live there, and nothing here: s3://bucket/prefix or a folder",
    ) -> None:
        each.add_argument("--at", metavar="PLACE", help=f"{what}, which several hosts follow")

    def place(each: argparse.ArgumentParser, option: str) -> None:
        each.add_argument(
            option,
            dest="place",
            metavar="PLACE",
            default=os.environ.get(PLACE_VARIABLE),
            required=not os.environ.get(PLACE_VARIABLE),
            help=f"s3://bucket/prefix, or a folder such as /mnt/releases/sd15 ({PLACE_VARIABLE})",
        )

    each = add("list", _list, "What versions there are, and which one is live.")
    each.add_argument("--json", action="store_true", help="for programs")
    each = add("show", _show, "All that a version pins: graphs, digests, sources, licences, figures.")
    each.add_argument("version", type=_number, nargs="?", help="the live one, if left out")
    each.add_argument("--json", action="store_true", help="for programs")
    each = add("diff", _diff, "What changed from one version to another, in words.")
    each.add_argument("before", type=_number)
    each.add_argument("after", type=_number)
    each.add_argument("--json", action="store_true", help="for programs")
    each = add("verify", _verify, "Read every file and compare it with what was published.")
    each.add_argument("version", type=_number, nargs="?", help="all, if left out")
    each.add_argument(
        "--seal", action="store_true", help="write the manifest of a version from before there were manifests"
    )
    each = add(
        "publish", _publish, "Publish a version that was made elsewhere, from a folder of releases there."
    )
    each.add_argument("source", type=Path, help="the other folder of the same bundle, such as artefact/tiny")
    each.add_argument("version", type=_number, nargs="?", help="its newest, if left out")
    each.add_argument("--promote", action="store_true", help="and make it live")
    each.add_argument("--device", help="what serves it: cpu or a GPU's name (what this machine has)")
    each.add_argument("--by", help="who asks, for the record (you, on this machine)")
    each = change(
        "promote", _promote, "Make a version live that was verified; the one before is kept for a rollback."
    )
    each.add_argument("version", type=_number)
    each.add_argument("--again", action="store_true", help="also if it was withdrawn")
    each.add_argument("--device", help="what serves it: cpu or a GPU's name (what this machine has)")
    at(each)
    each = change("canary", _canary, "Try a version on a share of the jobs beside the live one, or end that.")
    each.add_argument("version", type=_number, nargs="?")
    each.add_argument("--share", type=_share, default=0.1, help="of the jobs, above 0 and up to 1 (0.1)")
    each.add_argument(
        "--shadow", action="store_true", help="users get the live version's pictures, it is only compared"
    )
    each.add_argument("--end", action="store_true", help="end the trial, of VERSION if one is named")
    each.add_argument(
        "--withdraw", action="store_true", help="with --end: and give the version no jobs any more"
    )
    each.add_argument("--again", action="store_true", help="also if it was withdrawn")
    each.add_argument("--device", help="what serves it: cpu or a GPU's name (what this machine has)")
    at(each)
    each = change(
        "rollback", _rollback, "Take the newest change back: end the trial, or go back to the version before."
    )
    each.add_argument("--to", type=_number, help="another version than the one before")
    at(each)
    each = add(
        "push", push_command, "Bring a published version to where hosts fetch it from; it does not go live."
    )
    each.add_argument("version", type=_number, nargs="?", help="its newest, if left out")
    place(each, "--to")
    each = add(
        "fetch", fetch_command, "Bring a version to this host, checked; what is live here is not touched."
    )
    each.add_argument("version", type=_number, nargs="?", help="the one that is live there, if left out")
    place(each, "--from")
    each.add_argument(
        "--make-live",
        action="store_true",
        help="and live, on a host without an agent, before its Triton starts; while the place does not answer, what is "
        "live here stays so",
    )
    each = add("prune", _prune, "Remove versions that nothing needs any more.")
    each.add_argument("versions", type=_number, nargs="*", help="these; all but the newest, if left out")
    each.add_argument("--keep", type=_number, nargs="+", action="extend", default=[], help="never these")
    each.add_argument("--newest", type=int, default=2, help="how many to keep that were not withdrawn (2)")
    each.add_argument(
        "--api",
        help="the address of a service whose unfinished jobs are asked for (REROOM_ADMIN_TOKEN is its key)",
    )
    each.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    at(each, "remove them there: s3://bucket/prefix")
    return parser


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a version is a number from 1 on, not {text}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.0 < share <= 1.0:
        raise argparse.ArgumentTypeError(f"a share is above 0 and up to 1, not {text}")
    return share


def _folder(options: argparse.Namespace) -> Path:
    """The release folder that is meant, which need not be there where versions come from or are changed elsewhere.
    Raises ReleaseError."""
    given = Path(options.bundle)
    release = (given if len(given.parts) > 1 else options.releases / given).resolve()
    elsewhere = options.command in (_publish, fetch_command) or getattr(options, "at", None)
    if not elsewhere and not (release / "versions").is_dir():
        there = sorted(folder.parent.name for folder in release.parent.glob("[!.]*/versions"))
        raise ReleaseError(
            f"there is no release in {release}: {', '.join(there)} can be named"
            if there
            else f"there is no release in {release.parent}: export one first, or name another folder with --releases"
        )
    return release


def _list(options: argparse.Namespace, release: Path) -> int:
    from export.releases.shown import list_lines, listed

    facts = listed(release, read_rollout(release))
    print(json.dumps(facts, indent=1) if options.json else "\n".join(list_lines(facts)))
    return 0


def _show(options: argparse.Namespace, release: Path) -> int:
    from export.releases.shown import show_lines, shown

    rollout = read_rollout(release)
    version = options.version or rollout.live
    if not version:
        raise ReleaseError(f"nothing of {release.name} is live: name a version")
    facts = shown(release, rollout, known_version(release, version))
    print(json.dumps(facts, indent=1) if options.json else "\n".join(show_lines(facts)))
    return 0


def _diff(options: argparse.Namespace, release: Path) -> int:
    from export.releases.difference import differences

    before, after = (known_version(release, version) for version in (options.before, options.after))
    found = differences(release, before, after)
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    if not found:
        print(f"{after['release']} is {before['release']} under another number")
    for heading, lines in found.items():
        print(heading, *(f"  {line}" for line in lines), sep="\n")
    return 0


def _verify(options: argparse.Namespace, release: Path) -> int:
    from export.releases.verifying import has_manifest, seal, verify_rest, verify_version

    chosen = sorted(versions(release)) if options.version is None else [options.version]
    problems = []
    for version in chosen:
        check_known(release, version)
        if options.seal and not has_manifest(release, version):
            seal(release, version)
        verdict = verify_version(release, version, options.by if "by" in options else this_user())
        problems += verdict.problems
        _say(verdict.notes)
        if not verdict.problems:
            print(f"{release.name}-{version} is whole")
    if options.version is None:
        rest = verify_rest(release)
        problems += rest.problems
        _say(rest.notes)
    for problem in problems:
        print(release / problem, file=sys.stderr)
    if problems:
        print(
            "put back what was published (from a copy, or with `python -m export release publish`); until then no "
            "server loads a damaged graph, and `rollback` goes to another version",
            file=sys.stderr,
        )
    return int(bool(problems))


def _publish(options: argparse.Namespace, release: Path) -> int:
    from export.releases.importing import publish_copy

    found = versions(options.source)
    if not found:
        raise ReleaseError(
            f"there is no release in {options.source}: name the folder of one bundle, with versions/"
        )
    version = options.version or max(found)
    name = f"{release.name}-{version}"
    new = publish_copy(options.source, version, release, options.by or this_user())
    print(f"published {name}" if new else f"{name} was published before")
    if options.promote:
        return _promote_version(options, release, version, again=False)
    live = read_rollout(release).live
    if live != version:
        print(
            f"{f'{release.name}-{live}' if live else 'nothing'} is live: {how_to_promote(release, version)}"
        )
    return 0


def how_to_promote(release: Path, version: int) -> str:
    """The command, in a sentence."""
    return f"`python -m export release promote {release.name} {version}` makes this one live"


def _promote(options: argparse.Namespace, release: Path) -> int:
    return _promote_version(options, release, options.version, options.again)


def _promote_version(options: argparse.Namespace, release: Path, version: int, again: bool) -> int:
    before = _rollouts(options, release).read().live
    device = options.device or this_device()
    rollout = promote(release, _rollouts(options, release), version, device, options.by, again)
    say_live(release, rollout, f"before {release.name}-{before}" if before and before != version else "")
    return 0


def _canary(options: argparse.Namespace, release: Path) -> int:
    rollouts = _rollouts(options, release)
    if options.withdraw and not options.end:
        raise ReleaseError("--withdraw goes with --end: give both to end the trial and withdraw its version")
    if options.end:
        end_canary(release, rollouts, options.by, options.withdraw, options.version)
        print(f"no version of {release.name} is on trial any more")
        return 0
    if options.version is None:
        raise ReleaseError("name the version to try, or --end")
    rollout = start_canary(
        release,
        rollouts,
        options.version,
        options.device or this_device(),
        share=options.share,
        shadow=options.shadow,
        by=options.by,
        again=options.again,
    )
    how = "is compared on" if options.shadow else "gets"
    print(
        f"{release.name}-{options.version} {how} {options.share:.3g} of the jobs beside {release.name}-{rollout.live}, "
        "as soon as the workers that read this folder (REROOM_RELEASES_AT) see it"
    )
    return 0


def _rollback(options: argparse.Namespace, release: Path) -> int:
    rollouts = _rollouts(options, release)
    before = rollouts.read()
    rollout = roll_back(release, rollouts, options.to, options.by)
    bad = sorted(set(rollout.withdrawn) - set(before.withdrawn))
    said = [f"{release.name}-{version} is withdrawn" for version in bad]
    if before.canary is not None and before.canary.version not in bad:
        said.append(f"{release.name}-{before.canary.version} is not on trial any more")
    say_live(release, rollout, ", ".join(said))
    return 0


def _rollouts(options: argparse.Namespace, release: Path) -> Rollouts:
    """Where it is said what shall be live: in the folder, or in the place that several hosts follow."""
    named = getattr(options, "at", None)
    return open_place(named).rollouts if named else FolderRollouts(release)


def say_live(release: Path, rollout: Rollout, more: str = "") -> None:
    """What shall be live, and whether this host has still to switch to it."""
    print(f"{release.name}-{rollout.live} is live" + (f", {more}" if more else ""))
    if agent_runs(release) and not is_live(release, rollout.live):
        print("this host's agent loads it, and switches when it is ready")


def _prune(options: argparse.Namespace, release: Path) -> int:
    from export.releases.pruning import jobs_in_use, plan, prune

    in_use = jobs_in_use(options.api, os.environ.get("REROOM_ADMIN_TOKEN", "")) if options.api else set[int]()
    if options.at:
        return prune_command(options, release, in_use)
    planned = plan(
        release,
        read_rollout(release),
        options.versions,
        keep=options.keep,
        newest=options.newest,
        in_use=in_use,
    )
    for version, reason in sorted(planned.kept.items()):
        print(f"{release.name}-{version} stays: {reason or 'it was not named'}")
    names = ", ".join(f"{release.name}-{version}" for version in planned.versions) or "nothing"
    if not options.dry_run:
        prune(release, planned)
    verb = "would remove" if options.dry_run else "removed"
    print(f"{verb} {names}: {len(planned.places)} graphs, {planned.freed / 1e6:.1f} MB")
    return 0


def _say(lines: list[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)
