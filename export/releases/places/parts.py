"""The parts that a manifest (files.json) names."""

from __future__ import annotations

import re

import msgspec

from export.releases.checksums import manifest_bytes
from export.releases.places.port import DamagedError, Part

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _Facts(msgspec.Struct, frozen=True):
    sha256: str
    bytes: int


class _Manifest(msgspec.Struct, frozen=True):
    release: str
    files: dict[str, _Facts]


def parts_of(manifest: bytes, version: int, name: str) -> list[Part]:
    """The parts of a version by its manifest; ``name`` is what an error calls the manifest.

    Every path is one that a release has: nothing leads out of the folder. Raises DamagedError.
    """
    try:
        found = msgspec.json.decode(manifest, type=_Manifest)
        files = msgspec.json.decode(manifest)["files"]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(f"{name} is no manifest of a release: {error}") from error
    parts = [Part(path, facts.sha256, facts.bytes) for path, facts in found.files.items()]
    if manifest_bytes(found.release, files) != manifest:
        raise DamagedError(f"{name} is not as it was published")
    for part in parts:
        if not _is_path(part.path, version) or not _DIGEST.fullmatch(part.sha256) or part.bytes < 0:
            raise DamagedError(f"{name} names what is no file of version {version}: {part.path!r}")
    if not any(part.path == f"versions/{version}/release.json" for part in parts):
        raise DamagedError(f"{name} names no release.json of version {version}")
    return sorted(parts, key=lambda part: part.path)


def bundle_of(manifest: bytes) -> str:
    """The bundle of the version that a manifest describes."""
    return msgspec.json.decode(manifest, type=_Manifest).release.rpartition("-")[0]


def _is_path(path: str, version: int) -> bool:
    match path.split("/"):
        case ["versions", number, *names]:
            known = number == str(version) and 1 <= len(names) <= 2
        case ["models", model, "config.pbtxt"]:
            names, known = [model], True
        case ["models", model, number, *names]:
            known = number.isdecimal() and not number.startswith("0") and 1 <= len(names) <= 2
            names = [model, *names]
        case _:
            return False
    return known and all(_SEGMENT.fullmatch(name) for name in names)
