"""Checks the files of a release before a server loads them: ``python checksums.py RELEASE [COMMAND…]``.

It compares the files that the live version serves with the SHA-256 that they were published with, then runs COMMAND in
its own place. A file whose size, time and inode are those of its last check is not read again. When a file is not what
was published, it names the file and does not let the server load it: it makes the previous version live on this host,
if rollout.json names one that is whole and not withdrawn, and otherwise ends with status 1.

What it does not let a server load it leaves out: a file says so to the agent that runs beside the server, since that
may hold the version ready and would make it live again.

It is a script on the bare standard library, so that a container without our packages can run it, and Triton starts
after 0.1 s where nothing must be read. Reading takes about a second for each GB.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MANIFEST = "files.json"
"""Beside release.json: every file of the version with its SHA-256; part of what is published."""

CHECKED = "checked.json"
"""Beside it, added on each host: when the version's files were last found whole, and how they looked then."""

LEFT_OUT = "left-out-"
"""left-out-5 in the release folder: version 5 was left out when a server started. The agent removes it."""

FORMAT = 1

USAGE = "usage: checksums.py RELEASE [COMMAND…]"


class ReleaseDamaged(Exception):
    """A file is not what was published; the message names it."""


def read_manifest(release: Path, version: int) -> dict[str, str]:
    """SHA-256 of each file of a version by its path in the folder ``release``.

    Versions from before there were manifests have those of their graphs, from release.json. Raises ReleaseDamaged.
    """
    folder = release / "versions" / str(version)
    try:
        content = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return _from_document(release, version)
    except OSError as error:
        raise ReleaseDamaged(f"{_path(version, MANIFEST)} cannot be read: {error.strerror}") from error
    try:
        document = json.loads(content)
        files = {path: str(facts["sha256"]) for path, facts in document["files"].items()}
        whole = manifest_bytes(document["release"], document["files"]) == content
    except (AttributeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise ReleaseDamaged(f"{_path(version, MANIFEST)} is not as it was published")
    return files


def manifest_bytes(name: str, files: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The content of the manifest of the release ``name``, such as dollhouse-5. It ends in a digest of itself."""
    document = {
        "format": FORMAT,
        "release": name,
        "files": {path: dict(files[path]) for path in sorted(files)},
    }
    digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()
    return (json.dumps({**document, "sha256": digest}, indent=1) + "\n").encode()


def file_facts(file: Path) -> dict[str, Any]:
    """What the manifest says of a file."""
    return {"sha256": sha256(file), "bytes": file.stat().st_size}


def sha256(file: Path) -> str:
    """Of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def served(paths: Iterable[str], version: int) -> list[str]:
    """Those of a version's files that a server reads; the others are for people."""
    own = {_path(version, name) for name in ("release.json", "tokenizer.json")}
    return [path for path in paths if path.startswith("models/") or path in own]


def first_damage(
    release: Path, expected: Mapping[str, str], paths: Iterable[str], stamps: Mapping[str, list[int]]
) -> str | None:
    """A sentence about the first of ``paths`` that is not what ``expected`` says; None = all are.

    Those that look as ``stamps`` says are not read.
    """
    for path in paths:
        problem = damage(release / path, expected[path], stamps.get(path))
        if problem:
            return f"{path} {problem}"
    return None


def damage(file: Path, expected: str, stamp: list[int] | None = None) -> str | None:
    """What is wrong with a file, to follow its name; None = nothing. ``stamp``: how it looked when it was right."""
    try:
        if stamp is not None and stamp == stamp_of(file):
            return None
        return None if sha256(file) == expected else "is not the file that was published"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def stamp_of(file: Path) -> list[int]:
    """Size, time of the last change in ns, and inode: another file, or a changed one, has other numbers."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def read_checked(release: Path, version: int) -> dict[str, Any]:
    """What the last check of a version wrote; {} when there was none, or of other files than are published now."""
    try:
        found: dict[str, Any] = json.loads((release / _path(version, CHECKED)).read_bytes())
        current = found["manifest"] == identity(release, version)
        return found if current and isinstance(found["stamps"], dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_checked(
    release: Path, version: int, paths: Iterable[str], by: str, device: str | None = None
) -> None:
    """Note that the files ``paths`` of a version are whole. Raises OSError."""
    name = json.loads((release / _path(version, "release.json")).read_bytes())["release"]
    document = {
        "format": FORMAT,
        "release": name,
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "by": by,
        "device": device,
        "manifest": identity(release, version),
        "stamps": {path: stamp_of(release / path) for path in paths},
    }
    file = release / _path(version, CHECKED)
    new = file.with_name(f".{CHECKED}.{os.getpid()}")
    try:
        new.write_text(json.dumps(document, indent=1) + "\n")
        os.replace(new, file)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def identity(release: Path, version: int) -> str:
    """The SHA-256 of what says how a version's files must be. Raises OSError."""
    manifest = release / _path(version, MANIFEST)
    return sha256(manifest if manifest.is_file() else release / _path(version, "release.json"))


def check_served(release: Path, version: int) -> None:
    """Raises ReleaseDamaged when a file that a server of ``version`` reads is not what was published."""
    expected = read_manifest(release, version)
    paths = served(expected, version)
    checked = read_checked(release, version).get("stamps", {})
    found = first_damage(release, expected, paths, checked)
    if found:
        raise ReleaseDamaged(found)
    if any(path not in checked or checked[path] != stamp_of(release / path) for path in paths):
        # Nothing can be written beside the files of an image: they are read again at its next start.
        with suppress(OSError):
            write_checked(release, version, paths, "the server's start")


def how_to_mend(release: Path, version: int) -> str:
    """What to do where a file of a version is damaged, to go on a sentence with."""
    return (
        f"put back the published files (`python -m export release verify {release.resolve().name} {version}` lists "
        "those that are wrong)"
    )


def leave_out(release: Path, version: int) -> None:
    """Tell the agent of this host that a server starts without ``version``, whatever host.json says. Raises OSError."""
    if (release / "host.json").is_file():
        (release / f"{LEFT_OUT}{version}").touch()


def _from_document(release: Path, version: int) -> dict[str, str]:
    path = _path(version, "release.json")
    try:
        models = json.loads((release / path).read_bytes())["models"]
        return {
            f"models/{facts.get('model', graph)}/{facts['version']}/{name}": digest
            for graph, facts in models.items()
            for name, digest in facts.get("sha256", {}).items()
        }
    except FileNotFoundError as error:
        raise ReleaseDamaged(f"{path} is missing") from error
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise ReleaseDamaged(f"{path} cannot be read ({type(error).__name__}: {error})") from error


def _path(version: int, name: str) -> str:
    return f"versions/{version}/{name}"


def _fall_back(release: Path, live: int) -> int | None:
    """Make the previous version live on this host, when it may be; returns it."""
    try:
        rollout = json.loads((release / "rollout.json").read_bytes())
        previous = rollout["previous"]
        if not previous or previous == live or previous in rollout.get("withdrawn", []):
            return None
        check_served(release, previous)
        # Before `live` changes: an agent that runs makes the version that is wanted live again, if it holds it ready.
        leave_out(release, live)
        new = release / f".live.{os.getpid()}"
        new.write_text(f"{previous}\n")
        os.replace(new, release / "live")
        return int(previous)
    except (OSError, ValueError, KeyError, TypeError, ReleaseDamaged):
        return None


def _check_live(release: Path) -> str | None:
    """A sentence for people when the server must not start; None = it may."""
    try:
        live = int((release / "live").read_text())
    except (OSError, ValueError):
        return None  # `restyle` says what is wrong with the pointer, and what to do.
    name = f"{release.resolve().name}-{live}"
    try:
        check_served(release, live)
    except ReleaseDamaged as error:
        previous, help_ = _fall_back(release, live), how_to_mend(release, live)
        if previous is None:
            return f"{name} is not loaded: {release / str(error)}; {help_}, or make another version live"
        print(
            f"warning: {name} is not loaded: {release / str(error)}; this host serves version {previous} instead "
            f"until you {help_} and promote it again",
            file=sys.stderr,
            flush=True,
        )
    return None


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    release, *command = arguments
    problem = _check_live(Path(release))
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    if command:
        os.execvp(command[0], command)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
