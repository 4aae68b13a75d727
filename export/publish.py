"""Publishes a release for Triton and `restyle`; a reader always finds every file that the live version names.

::

    releases/<bundle>/
        live                               the number of the version that is live, as text
        versions/<n>/release.json          the parts of version n; it never changes
        versions/<n>/tokenizer.json
        versions/<n>/report.html           for people, also as report.md; in figures proof.json
        versions/<n>/profile.json          added at any time: how long its graphs take on the device at hand
    models/<model>/config.pbtxt        a Triton model repository of its own; all its versions are served, so that
        models/<model>/<n>/model.onnx      a release runs its own graphs while the next one arrives; a graph that a
                                           version has in common with an earlier one keeps the earlier number

The switch is atomic: ``live`` is replaced in one rename, after everything that it points to is in place. To go back,
write the earlier number into ``live`` in the same way (:func:`make_live`) and restart the server.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from export.contract import Sizes, graph_specs
from export.seats import DEFAULT_HINTS
from export.spec import ModelSpec

LIVE = "live"

BUNDLE_FILE = "bundle.toml"
"""Beside release.json: the bundle's file as it was, so that a later change of it is noticed."""

REPORTS = ("proof.json", "report.md", "report.html")
"""Names of a version's files that say what the exporting machine measured."""

PROFILE = "profile.json"
"""Name of a version's file that says how long its graphs take on one device; `restyle` passes it on. No export writes
it, and a release works without it."""


def live_version(release: Path) -> int:
    """The version of the folder ``release`` that is live, 0 = none."""
    pointer = release / LIVE
    return int(pointer.read_text()) if pointer.is_file() else 0


def live_document(release: Path) -> Path:
    """The release.json of the live version. Raises FileNotFoundError when there is none."""
    version = live_version(release)
    if not version:
        raise FileNotFoundError(f"there is no release in {release}: export it first")
    return release / "versions" / str(version) / "release.json"


def documents(release: Path) -> dict[int, dict[str, Any]]:
    """release.json of every version, the newest first."""
    files = {int(file.parent.name): file for file in release.glob("versions/*/release.json")}
    return {version: json.loads(files[version].read_text()) for version in sorted(files, reverse=True)}


def graph_file(release: Path, document: Mapping[str, Any], model: str) -> Path:
    """The file of the graph ``model`` of the version that ``document``, its release.json, describes."""
    return release / "models" / model / str(document["models"][model]["version"]) / "model.onnx"


def release_sizes(document: Mapping[str, Any]) -> Sizes:
    """The sizes of the networks of the version that ``document``, its release.json, describes."""
    return msgspec.convert(document["sizes"], Sizes)


def release_specs(document: Mapping[str, Any]) -> dict[str, ModelSpec]:
    """The specs of that version's graphs, by name."""
    return graph_specs(release_sizes(document), document.get("hints", DEFAULT_HINTS), document["models"])


def next_version(release: Path) -> int:
    """The number after the newest version's."""
    return max(documents(release), default=0) + 1


def make_live(release: Path, version: int) -> None:
    """Make ``version``, which must be there, the live version of the folder ``release``."""
    new = release / f".{LIVE}.new"
    new.write_text(f"{version}\n")
    os.replace(new, release / LIVE)


def add_profile(release: Path, document: Mapping[str, Any]) -> Path:
    """Write the profile of the live version of the folder ``release``, or replace it at once; returns the file.

    A server that runs goes on with what it read when it started. Raises FileNotFoundError when there is no version.
    """
    file = live_document(release).with_name(PROFILE)
    new = file.with_name(f".{PROFILE}.new")
    new.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(new, file)
    return file


def check_unpublished(target: Path, version: int) -> None:
    """Raises FileExistsError when ``target`` has that version already."""
    if (target / "versions" / str(version)).exists():
        raise FileExistsError(
            f"{target} has a version {version} already; a published version is never changed"
        )


@contextmanager
def staging_folder(releases: Path, bundle: str) -> Iterator[Path]:
    """An empty folder in ``releases`` in which the next version of ``bundle`` is laid out; it is removed at the end.

    What a killed export left there is removed first. Raises BlockingIOError while another export of the bundle has it.
    """
    folder = releases / f".{bundle}"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        # The kernel gives the lock up when the process ends, however that comes about.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise BlockingIOError(
            f"another export of {bundle} into {releases} is at work: wait for it"
        ) from error
    try:
        for item in folder.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def publish(staging: Path, target: Path, version: int) -> None:
    """Move ``staging`` (models/, versions/) into ``target`` and make ``version`` live as the last step.

    Files that an interrupted attempt at the same version left are replaced.
    """
    for folder in (staging / "models").iterdir():
        live = target / "models" / folder.name
        live.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(live / str(version), ignore_errors=True)
        for item in folder.iterdir():
            # Graphs that an earlier version published are there already.
            if item.is_file() or item.name == str(version):
                os.replace(item, live / item.name)
    versions = target / "versions"
    versions.mkdir(exist_ok=True)
    os.replace(staging / "versions" / str(version), versions / str(version))
    make_live(target, version)
