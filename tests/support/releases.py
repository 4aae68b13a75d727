"""Reading and writing the document of a release, release.json, as tests need it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.releases.folder import live_document, make_live


def read_document(release: Path) -> dict[str, Any]:
    """The release.json of the live version of ``release``."""
    found: dict[str, Any] = json.loads(live_document(release).read_text())
    return found


def write_document(release: Path, document: object, version: int = 1) -> Path:
    """Make ``document`` the release.json of ``version``, and that live, in the folder ``release``, which is returned.

    A string is written as it is.
    """
    folder = release / "versions" / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    text = document if isinstance(document, str) else json.dumps(document)
    (folder / "release.json").write_text(text)
    make_live(release, version)
    return release
