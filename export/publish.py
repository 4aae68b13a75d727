"""Putting a release where Triton and `restyle` find it, so that whoever reads finds everything that is named.

::

    releases/<bundle>/
        release.json                       the live release: a copy of one of the versions below
        versions/<n>/release.json          what version n is made of; it never changes
        versions/<n>/tokenizer.json
        models/<model>/config.pbtxt        a Triton model repository of its own; all its versions are served, so that
        models/<model>/<n>/model.onnx      a release runs its own graphs while the next one arrives

To go back, copy ``versions/<n>/release.json`` over ``release.json`` and restart the server.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def check_unpublished(target: Path, version: int) -> None:
    """Raises FileExistsError when ``target`` has that version already."""
    if (target / "versions" / str(version)).exists():
        raise FileExistsError(
            f"{target} has a version {version} already; a published version is never changed"
        )


def publish(staging: Path, target: Path, version: int) -> None:
    """Move ``staging`` (models/, versions/) into ``target`` and make ``version`` live with one last rename.

    What an interrupted attempt at the same version left behind is replaced.
    """
    for folder in (staging / "models").iterdir():
        live = target / "models" / folder.name
        live.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(live / str(version), ignore_errors=True)
        for item in folder.iterdir():
            os.replace(item, live / item.name)
    versions = target / "versions"
    versions.mkdir(exist_ok=True)
    os.replace(staging / "versions" / str(version), versions / str(version))
    shutil.copyfile(versions / str(version) / "release.json", staging / "release.json")
    os.replace(staging / "release.json", target / "release.json")
