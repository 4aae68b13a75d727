"""The bundle that is measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks import ROOT


@dataclass(frozen=True)
class Release:
    """A published bundle under releases/."""

    folder: Path

    @property
    def facts(self) -> dict[str, Any]:
        """release.json."""
        found: dict[str, Any] = json.loads((self.folder / "release.json").read_text())
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of release.json, which names those of all graphs."""
        return sha256((self.folder / "release.json").read_bytes()).hexdigest()

    @property
    def side(self) -> int:
        """Of the square pictures that it was made for."""
        return int(self.facts["sizes"]["native_size"])

    @property
    def megabytes(self) -> float:
        """All of its files, in units of 10⁶ bytes."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file()) / 1e6


def find_release(bundle: str) -> Release:
    """Raises FileNotFoundError when it was not exported."""
    release = Release(ROOT / "releases" / bundle)
    if not (release.folder / "release.json").is_file():
        raise FileNotFoundError(f"there is no {release.folder}: run `make export BUNDLE={bundle}`")
    return release
