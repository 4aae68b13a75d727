"""Opens a place of releases by the name that an operator gives it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.releases.places.folder import FolderPlace
from export.releases.places.port import Place, PlaceError

HASTY: dict[str, Any] = {"connect_seconds": 2.0, "read_seconds": 3.0, "attempts": 1}
"""For who asks again soon anyway."""


def open_place(
    name: str, environment: Mapping[str, str] | None = None, *, hasty: bool = False, **options: Any
) -> Place:
    """The place ``name``: s3://bucket/prefix, or a release folder such as /mnt/releases/sd15.

    ``hasty``: each call ends within seconds. ``environment`` (None = this process's) and ``options`` as of
    :func:`export.releases.places.s3.open_s3`.
    Raises PlaceError.
    """
    if "://" not in name:
        return FolderPlace(Path(name))
    try:
        # Only here, since it takes a while to load.
        from export.releases.places.s3 import open_s3
    except ModuleNotFoundError as error:
        raise PlaceError(
            f"{name} needs {error.name}: run `make setup`, or pip install '.[export]'"
        ) from error
    return open_s3(
        name, os.environ if environment is None else environment, **{**(HASTY if hasty else {}), **options}
    )
