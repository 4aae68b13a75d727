"""One small model in the three forms that checkpoints come in: a folder, a single file, a repository of a hub."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from safetensors.torch import save_file

from export.bundle import Bundle, Weights, load_bundle
from export.networks.load import load_networks
from export.sources.hub import fetch_bundle, with_folders
from export.sources.hub_client import Hub
from tests.support import single_files
from tests.support.checkpoints import save_checkpoint
from tests.support.hub_server import running_hub

COMMIT = "7" * 40
PIPELINE = ("unet", "vae", "text_encoder")
OTHERS = ("controlnet_depth", "controlnet_canny", "depth", "detector")


@contextmanager
def three_ways(folder: Path) -> Iterator[dict[str, Bundle]]:
    """Bundles of the networks of ``tiny``, by form; what comes from the hub has been fetched into ``folder``."""
    saved, bundles = folder / "saved", folder / "bundles"
    bundles.mkdir(parents=True)
    save_checkpoint(saved)
    tiny = load_bundle("tiny")
    networks = load_networks(tiny)
    save_file(single_files.checkpoint(*(networks[name] for name in PIPELINE)), folder / "whole.safetensors")
    for name in OTHERS:
        shutil.copytree(saved / name, folder / "hub" / "acme" / name.replace("_", "-") / COMMIT)
    shutil.copytree(
        saved, folder / "hub" / "acme" / "pipeline" / COMMIT, ignore=shutil.ignore_patterns(*OTHERS)
    )

    def bundle(name: str, pipeline: dict[str, Weights], others: dict[str, Weights]) -> Bundle:
        return msgspec.structs.replace(tiny, name=name, networks=tiny.networks | pipeline | others)

    folders = {name: Weights(path=str(saved / name)) for name in (*PIPELINE, *OTHERS)}
    singles = {name: Weights(path=str(folder / "whole.safetensors"), like=folders[name]) for name in PIPELINE}
    hosted = {name: Weights(repo="acme/pipeline", revision=COMMIT, subfolder=name) for name in PIPELINE} | {
        name: Weights(repo=f"acme/{name.replace('_', '-')}", revision=COMMIT) for name in OTHERS
    }
    with running_hub(folder / "hub") as server:
        hub = Hub(endpoint=server.endpoint, cache=folder / "cache")
        remote = bundle(
            "remote", {name: hosted[name] for name in PIPELINE}, {name: hosted[name] for name in OTHERS}
        )
        fetched = with_folders(remote, fetch_bundle(remote, hub=hub, folder=bundles))
    yield {
        "folder": bundle("folder", folders, {}),
        "file": bundle("file", folders | singles, {}),
        "hub": fetched,
    }
