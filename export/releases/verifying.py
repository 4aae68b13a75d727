"""Whether every file of a version is what was published: not a byte differs, none is missing and none is too much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from export.releases.checksums import (
    CHECKED,
    MANIFEST,
    ReleaseDamaged,
    damage,
    file_facts,
    first_damage,
    manifest_bytes,
    read_checked,
    read_manifest,
    write_checked,
)
from export.releases.device import this_device
from export.releases.durable import write_whole
from export.releases.folder import (
    BUNDLE_RENEWED,
    PROFILE,
    graph_places,
    named_places,
    version_folder,
    versions,
)

ADDED = (CHECKED, PROFILE, BUNDLE_RENEWED, "training.json")
"""Names of files that may be added to a version after it was published."""

PRUNED = ".pruned-"
"""What the name of a version's folder begins with while its graphs are being removed."""


@dataclass(frozen=True)
class Verdict:
    """What was found; a line each, which begins with the file."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is no fault."""


def verify_version(release: Path, version: int, by: str) -> Verdict:
    """Read every file of ``version``; when all are as published, note so in its checked.json."""
    try:
        expected = read_manifest(release, version)
    except ReleaseDamaged as error:
        return Verdict([str(error)])
    wrong = ((path, damage(release / path, digest)) for path, digest in expected.items())
    problems = [f"{path} {problem}" for path, problem in wrong if problem]
    notes = []
    if has_manifest(release, version):
        problems += [f"{path} is no file of {release.name}-{version}" for path in _surplus(release, version)]
    else:
        notes.append(
            f"{release.name}-{version} was published before there were manifests: its graphs were compared with "
            "release.json, and nothing says how its other files must be (--seal says that they are right as they are)"
        )
    if not problems:
        try:
            write_checked(release, version, expected, by, this_device())
        except OSError as error:
            notes.append(f"that {release.name}-{version} is whole could not be noted: {error}")
    return Verdict(problems, notes)


def seal(release: Path, version: int) -> None:
    """Write the manifest of a version that has none, of its files as they are. Raises ReleaseDamaged, OSError."""
    expected = read_manifest(release, version)
    problem = first_damage(release, expected, expected, {})
    if problem:
        raise ReleaseDamaged(problem)
    write_manifest(release, release, version)


def write_manifest(release: Path, target: Path, version: int) -> None:
    """Write the manifest of a version that lies in ``release`` and is to be published in ``target``, or is.

    A model that is in ``target`` keeps the configuration that it has there.
    """
    folder = version_folder(release, version)
    document = json.loads((folder / "release.json").read_bytes())
    files = {
        f"versions/{version}/{file.name}": file
        for file in folder.iterdir()
        if file.name not in {*ADDED, MANIFEST} and not file.name.startswith(".")
    }
    for model, number in graph_places(document).values():
        config = f"models/{model}/config.pbtxt"
        files[config] = next(
            file for file in (target / config, release / config) if file.is_file() or file == release / config
        )
        for file in (release / "models" / model / str(number)).iterdir():
            files[f"models/{model}/{number}/{file.name}"] = file
    content = manifest_bytes(document["release"], {path: file_facts(file) for path, file in files.items()})
    write_whole(folder / MANIFEST, content)


def has_manifest(release: Path, version: int) -> bool:
    """Whether something says how every file of the version must be."""
    return (version_folder(release, version) / MANIFEST).is_file()


def unverified(release: Path, version: int) -> str | None:
    """Why a version does not count as verified on this machine, to follow its name; None = it does.

    A file is read only where it looks otherwise than when it was verified.
    """
    try:
        expected = read_manifest(release, version)
    except ReleaseDamaged as error:
        return f"is damaged: {error}"
    stamps = read_checked(release, version).get("stamps", {})
    if not expected.keys() <= stamps.keys():
        return "has not been verified on this machine"
    found = first_damage(release, expected, expected, stamps)
    return None if found is None else f"is damaged: {found}"


def _surplus(release: Path, version: int) -> Iterator[str]:
    """Paths of files that the version has and its manifest does not."""
    expected = {
        *read_manifest(release, version),
        *(f"versions/{version}/{name}" for name in (*ADDED, MANIFEST)),
    }
    graphs = {(release / path).parent for path in expected if path.count("/") == 3}
    for place in (version_folder(release, version), *sorted(graphs)):
        for file in sorted(place.rglob("*")):
            path = str(file.relative_to(release))
            if path not in expected and not file.is_dir() and not _temporary(file):
                yield path


def _temporary(file: Path) -> bool:
    """Whether it is what a killed process was about to put in the place of an added file."""
    return any(file.name.startswith(f".{name}.") for name in ADDED)


def verify_rest(release: Path) -> Verdict:
    """What of the folder ``release`` belongs to no version."""
    found = versions(release)
    try:
        named, newest = named_places(release), max(found, default=0)
    except ReleaseDamaged:
        return Verdict(
            notes=["what belongs to no version cannot be said as long as not every release.json is whole"]
        )
    models = {model for model, _ in named}
    verdict = Verdict()
    for model in sorted((release / "models").glob("*")):
        numbers = [item for item in model.iterdir() if item.name.isdecimal()] if model.is_dir() else []
        unnamed = [item for item in numbers if (model.name, int(item.name)) not in named]
        for item in unnamed:
            if int(item.name) > newest or list(release.glob(f"versions/{PRUNED}*")):
                verdict.notes.append(
                    f"models/{model.name}/{item.name} was left by an export or a prune that was stopped, and does no "
                    "harm: the same command completes it"
                )
            else:
                verdict.problems.append(f"models/{model.name}/{item.name} belongs to no version")
        known = {"config.pbtxt"} if model.name in models or unnamed else set()
        others = [model] if not model.is_dir() else [item for item in model.iterdir() if item not in numbers]
        verdict.problems.extend(
            f"{item.relative_to(release)} belongs to no version"
            for item in sorted(others)
            if item.name not in known
        )
    for folder in sorted((release / "versions").glob("*")):
        if folder.name.isdecimal() and int(folder.name) not in found:
            verdict.problems.append(f"versions/{folder.name}/release.json is missing")
        elif not folder.name.isdecimal() and not folder.name.startswith(PRUNED):
            verdict.problems.append(f"versions/{folder.name} is no version")
    return verdict
