"""Moves a version that is laid out into its release folder, so that at every moment the folder works.

Nothing that was published is overwritten. What is in the way is what a killed attempt left: no version names it, and it
is moved aside, since a folder that is being emptied is one that Triton cannot load.
"""

from __future__ import annotations

from pathlib import Path

from export.releases.durable import flush_folder, flush_tree, move
from export.releases.folder import make_live, named_places, version_folder

_ASIDE = "left-behind"


def check_unpublished(target: Path, version: int) -> None:
    """Raises FileExistsError when ``target`` has that version already."""
    if version_folder(target, version).exists():
        raise FileExistsError(
            f"{target} has a version {version} already; a published version is never changed"
        )


def publish(staging: Path, target: Path, version: int, *, live: bool = True) -> None:
    """Move ``staging`` (models/, versions/) into ``target``, and with ``live`` make ``version`` live as the last step.

    ``staging`` is on the same file system, and the caller holds its lock (:func:`staging_folder`). Graphs that an
    earlier version published are there already, and so is the configuration of their model.
    Raises FileExistsError when that version is there, OSError; ``target`` then works as before, and another call with
    the version laid out anew completes it.
    """
    check_unpublished(target, version)
    flush_tree(staging)
    models = target / "models"
    if not models.is_dir():
        models.mkdir(parents=True)
        flush_folder(target)
        flush_folder(target.parent)
    aside = staging / _ASIDE
    aside.mkdir(exist_ok=True)
    set_aside(target, version, aside)
    for folder in sorted((staging / "models").iterdir()):
        _publish_model(folder, models / folder.name)
    (target / "versions").mkdir(exist_ok=True)
    flush_folder(target)
    move(version_folder(staging, version), version_folder(target, version))
    if live:
        make_live(target, version)


def _publish_model(staged: Path, place: Path) -> None:
    if not place.exists():
        # Whole, because Triton does not load a model without configuration.
        move(staged, place)
        return
    for folder in staged.iterdir():
        if folder.is_dir() and not (place / folder.name).exists():
            move(folder, place / folder.name)


def set_aside(target: Path, version: int, aside: Path) -> None:
    """Move away what a killed attempt at ``version`` left in ``target``."""
    named = named_places(target)
    for folder in sorted((target / "models").glob(f"*/{version}")):
        model = folder.parent
        if (model.name, version) in named:
            continue
        alone = all(other.name == str(version) for other in model.iterdir() if other.is_dir())
        move(*((model, aside / model.name) if alone else (folder, aside / f"{model.name}-{version}")))
