"""The bundle that is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from export.bundle import BUNDLES, load_bundle
from export.releases.folder import live_document, live_version
from measuring import ROOT


@dataclass(frozen=True)
class Release:
    """A published bundle under releases/."""

    folder: Path

    @property
    def facts(self) -> dict[str, Any]:
        """release.json of the live version."""
        found: dict[str, Any] = json.loads(live_document(self.folder).read_text())
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of release.json, which names those of all graphs."""
        return sha256(live_document(self.folder).read_bytes()).hexdigest()

    @property
    def side(self) -> int:
        """Pixels along a side of the square pictures that it was made for."""
        return int(self.facts["sizes"]["native_size"])

    @property
    def described(self) -> dict[str, Any]:
        """Its members in a benchmark's JSON: name, side, and its defaults for what a request leaves out."""
        return {"release": self.facts["release"], "side": self.side, **self.facts["defaults"]}

    @property
    def megabytes(self) -> float:
        """All of its files, in units of 10⁶ bytes."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file()) / 1e6


def find_release(bundle: str) -> Release:
    """Raises FileNotFoundError when it was not exported."""
    release = Release(ROOT / "releases" / bundle)
    if not _exported(release):
        raise FileNotFoundError(f"there is no {release.folder}: run `make export BUNDLE={bundle}`")
    return release


def ready_release(bundle: str, precision: str | None = None) -> Release:
    """The release of a bundle; where releases/ has none, one that is exported into .run, once for each state of its
    file. ``precision``: fp16 or fp32; None = that of the release in releases/, else the bundle's.

    That is for bundles that are too large for the repository. Raises BundleError when there is no such bundle, and
    RuntimeError, with the export's message, when it fails.
    """
    release = Release(ROOT / "releases" / bundle)
    if _exported(release) and precision in (None, release.facts["precision"]):
        return release
    usual = load_bundle(bundle).precision
    digest = sha256((BUNDLES / f"{bundle}.toml").read_bytes()).hexdigest()[:12]
    other = precision not in (None, usual)
    releases = ROOT / ".run" / "releases" / (f"{digest}-{precision}" if other else digest)
    release = Release(releases / bundle)
    if not _exported(release):
        print(f"exporting {bundle}, once …", flush=True)
        # In a process of its own, which gives back the memory that torch took.
        command = [sys.executable, "-m", "export", bundle, "--releases", str(releases)]
        if other:
            command[4:4] = ["--precision", str(precision)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{bundle} was not exported: {done.stderr.strip().splitlines()[-1]}")
    return release


def _exported(release: Release) -> bool:
    return live_version(release.folder) > 0
