"""A network's config.json, wherever its weights come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffusers import ModelMixin

from export.bundle import BundleError, Weights

CONFIG = "config.json"


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in ``file``. Raises BundleError when there is none."""
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        raise BundleError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{file}: is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{file}: is no JSON object")
    return content


def read_config(weights: Weights) -> dict[str, Any]:
    """The configuration of a network that is on this machine, or says what it is like. Raises BundleError."""
    if weights.config is not None:
        config = dict(weights.config)
        if isinstance(labels := config.get("id2label"), list):
            config["id2label"] = dict(enumerate(labels))
        return config
    if weights.like is not None and (weights.is_file or weights.repo is not None):
        return read_config(weights.like)
    if weights.is_file:
        raise BundleError(
            f"{weights.source}: has no {CONFIG}: name a base bundle whose network has its shape"
        )
    if weights.path is not None:
        return read_json(Path(weights.source or "", weights.subfolder, CONFIG))
    raise BundleError(f"{weights.repo}: is on a hub, and its {CONFIG} has not been fetched")


def is_diffusers(network: Any) -> bool:
    """Whether the network is diffusers'; the others are transformers'."""
    return isinstance(network, ModelMixin)
