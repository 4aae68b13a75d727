"""Removes versions that nothing needs any more. A kill at any moment leaves a folder that works; a rerun completes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from export.releases.changes import RefusedError, known_version
from export.releases.durable import move
from export.releases.folder import documents, graph_places, live_version, named_places, version_folder
from export.releases.host import HOST, versions_held
from export.releases.places.port import HOSTS
from export.releases.rollout import Rollout, RolloutError
from export.releases.staging import staging_folder
from export.releases.verifying import PRUNED

BUNDLES = Path(__file__).parents[1] / "bundles"

Place = tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """What is removed, and what is not."""

    versions: list[int]
    places: list[Place]
    """Graphs that no other version has: (model, its version)."""
    freed: int
    """Bytes, of files that have no other name elsewhere."""
    kept: dict[int, str]
    """Why each other version stays."""


def plan(
    release: Path,
    rollout: Rollout,
    versions: Collection[int] = (),
    *,
    keep: Collection[int] = (),
    newest: int = 2,
    in_use: Collection[int] = (),
) -> Plan:
    """What pruning removes: of ``versions``, or else of all but the ``newest``, those that nothing needs.

    ``in_use`` are those that waiting or running jobs began with. Raises RefusedError when one of ``versions`` is
    needed, ReleaseError when there is none such.
    """
    found = documents(release)
    reasons = needed(release, rollout, keep, in_use)
    for version in versions:
        known_version(release, version)
        if version in reasons:
            raise RefusedError(f"{release.name}-{version} is not removed: {reasons[version]}")
    if versions:
        removed = sorted(set(versions))
    else:
        for version in [number for number in found if number not in rollout.withdrawn][:newest]:
            reasons.setdefault(version, f"it is one of the newest {newest}")
        for version in found:
            if version > rollout.live and version not in rollout.withdrawn:
                reasons.setdefault(version, "it is newer than what is live")
        removed = sorted(set(found) - set(reasons))
    staying = [document for number, document in found.items() if number not in removed]
    stay = {place for document in staying for place in graph_places(document).values()}
    places = sorted({place for number in removed for place in graph_places(found[number]).values()} - stay)
    folders = [release / "models" / model / str(number) for model, number in places]
    folders += [version_folder(release, number) for number in removed]
    freed = sum(_freed(folder) for folder in folders)
    return Plan(
        removed, places, freed, {number: reasons.get(number, "") for number in found if number not in removed}
    )


def needed(
    release: Path, rollout: Rollout, keep: Collection[int] = (), in_use: Collection[int] = ()
) -> dict[int, str]:
    """Versions that must stay, and why."""
    found = dict.fromkeys(_weights_of(release.name), "the weights of its bundle are read from its graphs")
    found |= dict.fromkeys(keep, "--keep names it")
    found |= dict.fromkeys(in_use, "jobs that are not finished began with it")
    said = {file: f"{HOSTS}/{file.name} says that it is there" for file in (release / HOSTS).glob("*.json")}
    for file, reason in {**said, release / HOST: "this host's Triton holds it"}.items():
        # There is none without an agent, and that of a host which ends is removed.
        with suppress(FileNotFoundError):
            found |= dict.fromkeys(versions_held(file.read_bytes()), reason)
    if rollout.canary is not None:
        found[rollout.canary.version] = "it is on trial"
    if rollout.previous is not None:
        found[rollout.previous] = "a rollback goes to it"
    found |= dict.fromkeys((live_version(release), rollout.live), "it is live")
    return found


def prune(release: Path, planned: Plan) -> None:
    """Remove what is planned, and what a prune that was stopped left. Raises BlockingIOError while the folder is being
    published into, OSError."""
    with staging_folder(release.parent, release.name) as staging:
        # What a stopped prune left goes first: a version of the same number may have been published since.
        _remove_pruned(release, staging / "left")
        for version in planned.versions:
            folder = version_folder(release, version)
            # From here on the version is not there, and its graphs are nobody's.
            move(folder, folder.with_name(f"{PRUNED}{version}"))
        _remove_pruned(release, staging / "planned")


def _remove_pruned(release: Path, aside: Path) -> None:
    """Move the versions that are being removed, and the graphs that only they have, to the new folder ``aside``."""
    aside.mkdir()
    left = sorted((release / "versions").glob(f"{PRUNED}*"))
    named = named_places(release)
    places = {
        place
        for folder in left
        for place in graph_places(json.loads((folder / "release.json").read_bytes())).values()
    }
    for model, number in sorted(places - named):
        _remove_graph(release / "models" / model, number, aside)
    for folder in left:
        move(folder, aside / folder.name)


def _remove_graph(model: Path, number: int, aside: Path) -> None:
    folder = model / str(number)
    if not folder.is_dir():
        return
    # A model without versions is one that Triton does not load.
    alone = all(other == folder for other in model.iterdir() if other.is_dir())
    move(*((model, aside / model.name) if alone else (folder, aside / f"{model.name}-{number}")))


def jobs_in_use(api: str, token: str, timeout: float = 10.0) -> set[int]:
    """Versions that jobs of a service which are not finished began with, asked of its API with a key for admins.

    Raises RolloutError: nothing should be removed then.
    """
    request = urllib.request.Request(
        f"{api.rstrip('/')}/admin/releases", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            document = json.load(response)
        return {int(version) for version in document["data"]["in_use"]}
    except (OSError, urllib.error.URLError, ValueError, KeyError, TypeError) as error:
        raise RolloutError(
            f"{api} does not say which releases its jobs began with ({error}): nothing was removed"
        ) from error


def _weights_of(bundle: str) -> set[int]:
    """Versions whose graphs hold the weights that the bundle's folder leaves out."""
    facts = [json.loads(file.read_bytes()) for file in BUNDLES.glob("*/*/weights.json")]
    return {int(each["version"]) for each in facts if each.get("release") == bundle}


def _freed(folder: Path) -> int:
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    return sum(found.st_size for found in files if found.st_nlink == 1)
