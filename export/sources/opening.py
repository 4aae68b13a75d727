"""A network's source, whatever it is, as a folder in the layout that ``from_pretrained`` reads."""

from __future__ import annotations

from pathlib import Path

from export.bundle import Bundle, BundleError, local_path
from export.sources.weights_from_graphs import copy_network, is_packed


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


def open_network(folder: Path, scratch: Path) -> Path:
    """``folder``; where the weights are kept in the graphs of a release, a copy of the network in ``scratch``.

    Raises BundleError when those graphs are missing or were changed.
    """
    if not is_packed(folder):
        return folder
    copy_network(folder, scratch)
    return scratch
