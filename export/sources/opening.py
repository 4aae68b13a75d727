"""A network's source, whatever it is, as a folder in the layout that ``from_pretrained`` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.bundle import Bundle, BundleError, local_path
from export.sources.weights_from_graphs import copy_network, is_packed

CONFIG = "config.json"


def source_folder(bundle: Bundle, name: str) -> Path | None:
    """The folder of the network ``name``, which must be local; None when the bundle gives random weights.

    Raises BundleError when the bundle names no source, or one that does not exist.
    """
    weights = bundle.networks[name]
    if weights.config is not None:
        return None
    if weights.path is None:
        raise BundleError(f"networks.{name}: give repo, path or config")
    return local_path(bundle, f"networks.{name}", weights.path) / weights.subfolder


def read_config(bundle: Bundle, name: str) -> dict[str, Any]:
    """The arguments of the network's configuration class. Raises BundleError."""
    folder = source_folder(bundle, name)
    if folder is None:
        return dict(bundle.networks[name].config or {})
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise BundleError(f"networks.{name}: cannot load {folder}: {CONFIG}: {error}") from error
    if not isinstance(config, dict):
        raise BundleError(f"networks.{name}: {folder / CONFIG} is not a JSON object")
    return config


def open_network(folder: Path, scratch: Path) -> Path:
    """``folder``; where the weights are kept in the graphs of a release, a copy of the network in ``scratch``.

    Raises BundleError when those graphs are missing or were changed.
    """
    if not is_packed(folder):
        return folder
    copy_network(folder, scratch)
    return scratch
