"""Publishes a version that was made elsewhere: on a machine with the weights, or by a CI, as a folder of releases."""

from __future__ import annotations

from pathlib import Path

from export.releases.changes import ReleaseError, known_version
from export.releases.folder import versions
from export.releases.places.folder import FolderPlace
from export.releases.transfer import Report, fetch


def publish_copy(source: Path, version: int, target: Path, by: str, report: Report = lambda _: None) -> bool:
    """Publish version ``version`` of the release folder ``source`` in ``target``; False = it was there before.

    It keeps its number, and does not become live. One that is there before is checked, and damaged files of it are put
    back. Raises ReleaseError, ReleaseDamaged, PlaceError when a file is not what was published or the number is taken,
    OSError when there is too little room. Then nothing has changed, and another call goes on.
    """
    bundle = known_version(source, version)["bundle"]
    if bundle != target.name:
        raise ReleaseError(f"{source} is a release of {bundle}, not of {target.name}")
    new = version not in versions(target)
    fetch(FolderPlace(source), FolderPlace(target), version, report, by=by)
    return new
