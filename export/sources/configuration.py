"""A network's config.json, and the network that it describes, without its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

from export.bundle import BundleError, Weights
from export.networks.load import Network, network_classes

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
    """The configuration of a network, wherever its weights come from. Raises BundleError."""
    if weights.config is not None:
        config = dict(weights.config)
        if isinstance(labels := config.get("id2label"), list):
            config["id2label"] = dict(enumerate(labels))
        return config
    if weights.is_file:
        if weights.like is None:
            raise BundleError(
                f"{weights.source}: has no {CONFIG}: name a base bundle whose network has its shape"
            )
        return read_config(weights.like)
    if weights.path is not None:
        return read_json(Path(weights.source or "", weights.subfolder, CONFIG))
    name = f"{weights.subfolder}/{CONFIG}".lstrip("/")
    try:
        return read_json(Path(hf_hub_download(weights.repo or "", name, revision=weights.revision)))
    except (EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"{weights.repo}/{name}: cannot be fetched: {reason}") from error


def empty_network(name: str, config: dict[str, Any]) -> Network:
    """The network ``name`` of a bundle with this configuration on the device ``meta``: shapes without numbers.

    Raises BundleError when no network can be made of the configuration.
    """
    configuration_class, network_class = network_classes(name, config)
    try:
        with torch.device("meta"):
            if configuration_class is None:
                return network_class.from_config(config)
            return network_class(configuration_class.from_dict(config))
    except (TypeError, ValueError, KeyError, ZeroDivisionError, RuntimeError) as error:
        raise BundleError(f"{CONFIG} describes no {network_class.__name__}: {error}") from error


def is_diffusers(network: Network) -> bool:
    """Whether the network is diffusers'; the others are transformers'."""
    return isinstance(network, ModelMixin)
