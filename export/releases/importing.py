"""Publishes a version that was made elsewhere: on a machine with the weights, or by a CI, as a folder of releases."""

from __future__ import annotations

import shutil
from pathlib import Path

from export.releases.changes import RefusedError, ReleaseError, known_version
from export.releases.checksums import (
    MANIFEST,
    ReleaseDamaged,
    damage,
    identity,
    read_manifest,
    write_checked,
)
from export.releases.device import this_device
from export.releases.folder import named_places, version_folder
from export.releases.publishing import publish
from export.releases.staging import staging_folder
from export.releases.verifying import has_manifest, unverified, verify_version


def publish_copy(source: Path, version: int, target: Path, by: str) -> bool:
    """Publish version ``version`` of the release folder ``source`` in ``target``; False = it was there before.

    It keeps its number, and does not become live. Raises ReleaseError, ReleaseDamaged when a file is not what was
    published, OSError when there is too little room. Then nothing has changed, and another call begins anew.
    """
    document = known_version(source, version)
    if document["bundle"] != target.name:
        raise ReleaseError(f"{source} is a release of {document['bundle']}, not of {target.name}")
    if not has_manifest(source, version):
        raise ReleaseError(
            f"{source.name}-{version} has no manifest: write it with `python -m export release verify {source} "
            f"{version} --seal`"
        )
    if version_folder(target, version).exists():
        if identity(source, version) != identity(target, version):
            raise RefusedError(
                f"{target} has another version {version}, and a published version is never changed: export this one "
                "under a later number (--version)"
            )
        _finish(target, version, by)
        return False
    expected = read_manifest(source, version)
    with staging_folder(target.parent, target.name) as staging:
        named = named_places(target)
        for path, digest in expected.items():
            there = target / path
            if _published(path, named):
                _check_same(there, path, digest, target, version)
            else:
                _copy(source, path, digest, staging)
        (staging / "models").mkdir(exist_ok=True)
        _copy_file(source / f"versions/{version}/{MANIFEST}", staging / f"versions/{version}/{MANIFEST}")
        publish(staging, target, version, live=False)
        write_checked(target, version, expected, by, this_device())
    return True


def _finish(target: Path, version: int, by: str) -> None:
    """What a call that was killed after its last rename did not do."""
    if unverified(target, version):
        verdict = verify_version(target, version, by)
        if verdict.problems:
            raise ReleaseDamaged(f"{target / verdict.problems[0]}: put it back, as it was published")


def _published(path: str, named: set[tuple[str, int]]) -> bool:
    """Whether a version that is published has a file at ``path``."""
    match path.split("/"):
        case ["models", model, "config.pbtxt"]:
            return any(model == other for other, _ in named)
        case ["models", model, number, *_]:
            return (model, int(number)) in named
    return False


def _check_same(file: Path, path: str, digest: str, target: Path, version: int) -> None:
    if damage(file, digest):
        raise RefusedError(
            f"{target} has another {path} than {target.name}-{version}, and what is published is never changed: "
            "export this one from the releases that are there"
        )


def _copy(source: Path, path: str, digest: str, staging: Path) -> None:
    _copy_file(source / path, staging / path)
    problem = damage(staging / path, digest)
    if problem:
        raise ReleaseDamaged(f"{source / path} {problem}")


def _copy_file(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, place)
    except FileNotFoundError as error:
        raise ReleaseDamaged(f"{source} is missing") from error
