"""What a release folder holds: the names of its files, and which version is which."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from export.releases.checksums import ReleaseDamaged
from export.releases.durable import write_whole

LIVE = "live"

AGENT_LOCK = "agent.lock"
"""Locked by the agent beside this host's Triton as long as it runs: then only it changes what is live here."""

BUNDLE_FILE = "bundle.toml"
"""Beside release.json: the bundle's file as it was, so that a later change of it is noticed."""

BUNDLE_RENEWED = "bundle.renewed.toml"
"""Beside it: the bundle's file of a later export that found nothing changed but its words."""

REPORTS = ("proof.json", "report.md", "report.html")
"""Names of a version's files that say what the exporting machine measured."""

PROFILE = "profile.json"
"""Name of a version's file that says how long its graphs take on one device; `restyle` passes it on. No export writes
it, and a release works without it."""


def live_version(release: Path) -> int:
    """The version of the folder ``release`` that is live, 0 = none. Raises ReleaseDamaged when nobody can tell."""
    pointer = release / LIVE
    try:
        return int(pointer.read_text()) if pointer.is_file() else 0
    except ValueError as error:
        raise ReleaseDamaged(
            f"{pointer} names no version: write the number of the live one into it"
        ) from error


def is_live(release: Path, version: int) -> bool:
    """Whether the folder's pointer names ``version``; one that is garbled names none."""
    with suppress(ReleaseDamaged):
        return live_version(release) == version
    return False


def live_document(release: Path) -> Path:
    """The release.json of the live version. Raises FileNotFoundError when there is none, ReleaseDamaged."""
    version = live_version(release)
    if not version:
        raise FileNotFoundError(f"there is no release in {release}: export it first")
    return version_folder(release, version) / "release.json"


def version_folder(release: Path, version: int) -> Path:
    """Where the files of a version are that are not graphs."""
    return release / "versions" / str(version)


def versions(release: Path) -> list[int]:
    """The numbers of all versions, the newest first."""
    names = (file.parent.name for file in release.glob("versions/[1-9]*/release.json"))
    # A copy beside them, such as 4.bak, is none.
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def document_of(release: Path, version: int) -> dict[str, Any]:
    """release.json of a version that is there. Raises ReleaseDamaged."""
    file = version_folder(release, version) / "release.json"
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
        graph_places(found)
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseDamaged(
            f"{file} cannot be read ({type(error).__name__}: {error}): put it back"
        ) from error


def documents(release: Path) -> dict[int, dict[str, Any]]:
    """release.json of every version, the newest first. Raises ReleaseDamaged."""
    return {version: document_of(release, version) for version in versions(release)}


def graph_places(document: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """By graph of the version that ``document``, its release.json, describes: (Triton's model, that model's version).

    The model has another name than the graph where an earlier version has other tensors under the graph's name.
    """
    return {
        name: (facts.get("model", name), int(facts["version"])) for name, facts in document["models"].items()
    }


def named_places(release: Path) -> set[tuple[str, int]]:
    """(model, version) of every graph that some version names."""
    return {place for document in documents(release).values() for place in graph_places(document).values()}


def next_version(release: Path) -> int:
    """The number after the newest version's."""
    return max(versions(release), default=0) + 1


def make_live(release: Path, version: int) -> None:
    """Make ``version``, which must be there, the live version of the folder ``release``."""
    write_whole(release / LIVE, f"{version}\n".encode())


def agent_runs(release: Path) -> bool:
    """Whether an agent follows the folder ``release`` on this host."""
    try:
        handle = os.open(release / AGENT_LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def only_agent(release: Path) -> Iterator[None]:
    """Hold the lock of the folder's agent. Raises BlockingIOError with one sentence."""
    handle = os.open(release / AGENT_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another agent follows {release}: stop it, or give this one a folder of its own with --source"
            ) from error
        yield
    finally:
        os.close(handle)


def add_profile(release: Path, document: Mapping[str, Any]) -> Path:
    """Write the profile of the live version of the folder ``release``, or replace it at once; returns the file.

    A server that runs goes on with what it read when it started. Raises FileNotFoundError when there is no version.
    """
    file = live_document(release).with_name(PROFILE)
    write_whole(file, json.dumps(document, indent=1).encode() + b"\n")
    return file
