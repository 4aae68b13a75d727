"""Reads the C2PA manifests ("Content Credentials") that a picture carries.

The pixels of an upload are encoded anew, and its manifests would be lost with the file. Here they become an *ingredient
archive*: a file of c2pa's in which it keeps the manifests, and what it found when it compared them with the upload. A
worker signs results with the archive in the upload's place.

c2pa is written in Rust, where a fault in the library ends the process. So this runs in the sandbox, and does there all
that a worker does with an archive: what ends a process here never reaches a worker.
"""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

from PIL import Image

from orchestrator.photos.decoder.containers import take_apart
from orchestrator.photos.decoder.limits import Rejected
from orchestrator.photos.decoder.source_type import GENERATED, source_type_of

try:
    import c2pa
except (ImportError, OSError, RuntimeError):
    # Not installed, or without its library for this machine.
    c2pa = None

MAX_ARCHIVE = 2**20
"""Bytes of an archive. A camera's manifests are 10 to 300 KB, most of it a thumbnail; every result gets them all."""

MEDIA_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "HEIF": "image/heic", "AVIF": "image/avif",
}  # fmt: skip
"""By the format of :class:`~orchestrator.photos.decoder.parts.Parts`."""

_ARCHIVE = "application/c2pa"
_DEPTH = 8
"""How many manifests are followed from a picture to that from which it was made."""
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
}


class NoProvenance(Exception):
    """The manifests cannot be kept; the sentence says why, for the log."""


class Reader:
    """Reads manifests; made before the sandbox closes. Without c2pa every file is refused."""

    def __init__(self) -> None:
        self.missing = c2pa is None
        if self.missing:
            return
        self._context = c2pa.Context.from_dict(_SETTINGS)

    def read(self, data: bytes) -> tuple[str, bytes]:
        """The source type that the manifests of a picture say ("" for none), and their archive. Raises NoProvenance."""
        if self.missing:
            raise NoProvenance("the package c2pa-python is not installed")
        try:
            kind = MEDIA_TYPES[take_apart(data).format]
            with c2pa.Reader(kind, io.BytesIO(data), context=self._context) as reader:
                source_type = _source_type(json.loads(reader.json()))
            archive = self._archive(data, kind)
            self._rehearse(archive)
        except Rejected as error:
            raise NoProvenance(error.detail) from error
        except (c2pa.C2paError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise NoProvenance(f"{type(error).__name__}: {error}"[:300]) from error
        return source_type, archive

    def warm_up(self) -> None:
        """Read a picture and a damaged one, while files can still be opened."""
        if self.missing:
            return
        picture = _a_picture()
        archive = self._archive(picture, MEDIA_TYPES["JPEG"])
        self._rehearse(archive)
        for file in (picture, archive[:-20] + bytes(20)):
            with contextlib.suppress(NoProvenance):
                self.read(file)

    def _archive(self, data: bytes, kind: str) -> bytes:
        out = io.BytesIO()
        with c2pa.Builder(_DEFINITION, self._context) as builder:
            builder.add_ingredient(_ingredient(), kind, io.BytesIO(data))
            builder.write_ingredient_archive(_LABEL, out)
        archive = out.getvalue()
        if len(archive) > MAX_ARCHIVE:
            raise NoProvenance(f"they take {len(archive)} bytes, more than {MAX_ARCHIVE}")
        return archive

    def _rehearse(self, archive: bytes) -> None:
        """Make a manifest with the archive's ingredient as a worker does, and read it; c2pa signs such a trial with a
        key of its own. Raises NoProvenance when a reader would doubt what a worker signs."""
        out = io.BytesIO()
        with c2pa.Builder(_DEFINITION, self._context) as builder:
            builder.add_ingredient(_ingredient(), _ARCHIVE, io.BytesIO(archive))
            builder.to_archive(out)
        out.seek(0)
        with c2pa.Reader(_ARCHIVE, out, context=self._context) as reader:
            if reader.get_validation_state() == "Invalid":
                raise NoProvenance("a picture that is signed with them would be called invalid")


def _ingredient() -> dict[str, str]:
    return {"title": "photo.jpg", "relationship": "parentOf", "label": _LABEL}


_LABEL = "source-0"
_DEFINITION = {
    "claim_generator_info": [{"name": "reroom"}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {"actions": [{"action": "c2pa.opened", "parameters": {"ingredientIds": [_LABEL]}}]},
        }
    ],
}


def _source_type(found: dict[str, Any]) -> str:
    """From the picture to that from which it was made, and so on: the first that says it was generated, else the first
    source type that is said."""
    said = ""
    name = found.get("active_manifest")
    for _ in range(_DEPTH):
        manifest = found.get("manifests", {}).get(name)
        if manifest is None:
            break
        for each in _types_of(manifest):
            if each == GENERATED:
                return each
            said = said or each
        parents = [each for each in manifest.get("ingredients", []) if each.get("relationship") == "parentOf"]
        name = parents[0].get("active_manifest") if parents else None
    return said


def _types_of(manifest: dict[str, Any]) -> list[str]:
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if str(assertion.get("label")).startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
    ]
    return [
        found for action in actions if (found := source_type_of(str(action.get("digitalSourceType", ""))))
    ]


def _a_picture() -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG")
    return out.getvalue()
