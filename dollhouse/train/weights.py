"""The trained networks as the repository keeps them: in FP16, in the folders that ``bundles/dollhouse.toml`` names.

    python -m dollhouse.train.weights --run .run/dollhouse   # the last step of a training before its export

A clean clone exports the release again from them, and a later training can begin with them (``--start``). After the
export, ``python -m export.sources.weights_from_graphs dollhouse`` replaces the files by references to the graphs of the
release.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save
from transformers import DPTForDepthEstimation

from export.bundle import BUNDLES, NETWORKS, PERCEPTION, BundleError
from export.networks.load import to_fp16
from export.sources.weights_from_graphs import copy_network

RUN = Path(".run/dollhouse")
KEPT = BUNDLES / "dollhouse"

RESTYLING = tuple(name for name in NETWORKS if name not in PERCEPTION)
FIGURES = ("facts.json", "perception.json")
"""Files with the measurements of a training, beside its networks."""

START = "start"
"""The folder of a run with the networks that it began with, unless these were random."""


def keep(networks: Path, target: Path = KEPT) -> None:
    """Write every network of the folder ``networks``, and their figures, to ``target``: whole, or not at all.

    Weights are rounded to FP16, integers stay; the same weights make the same bytes. Raises FileNotFoundError when
    something is missing, BundleError when a weight is too large for FP16.
    """
    with _replacing(target) as new:
        for name in NETWORKS:
            file = _weights_file(networks / name)
            (new / name).mkdir()
            shutil.copyfile(networks / name / "config.json", new / name / "config.json")
            (new / name / file.name).write_bytes(_halved(name, file))
        for figures in FIGURES:
            shutil.copyfile(networks / figures, new / figures)


def digests(networks: Path, names: Iterable[str] = NETWORKS) -> dict[str, str]:
    """SHA-256 by network of the weights that :func:`keep` writes for the folder ``networks``; the errors are its own.

    A training's networks and the kept ones have the same digests.
    """
    halves = {name: _halved(name, _weights_file(networks / name)) for name in names}
    return {name: hashlib.sha256(half).hexdigest() for name, half in halves.items()}


def begin(run: Path, start: Path | None) -> Path | None:
    """The folder with the networks that ``run`` begins with, None = it begins with random ones.

    A run without checkpoints begins with the networks of the folder ``start``, and keeps a copy of them: so it
    continues as it began, whatever becomes of ``start`` and whether or not ``start`` is given again. Raises
    FileNotFoundError when ``start`` lacks a restyling network.
    """
    own = run / START
    begun = any((run / name / "checkpoint.pt").is_file() for name in ("autoencoder", "diffusion"))
    if start is not None and not begun and not own.is_dir():
        with _replacing(own) as new:
            for name in NETWORKS:
                if name in RESTYLING or (start / name).is_dir():
                    copy_network(start / name, new / name)
            for figures in FIGURES:
                if (start / figures).is_file():
                    shutil.copyfile(start / figures, new / figures)
    return own if own.is_dir() else None


def copy_perception(start: Path, run: Path) -> tuple[str, ...]:
    """Copy the perception networks of ``start`` to those of ``run``, except those that ``run`` has begun to train.

    Returns their names.
    """
    taken = tuple(
        name
        for name in PERCEPTION
        if (start / name).is_dir() and not (run / name / "checkpoint.pt").is_file()
    )
    networks = run / "networks"
    for name in taken:
        with _replacing(networks / name) as new:
            copy_network(start / name, new)
    perception = FIGURES[1]
    if taken and (start / perception).is_file() and not (networks / perception).is_file():
        shutil.copyfile(start / perception, networks / perception)
    return taken


def load_autoencoder(start: Path, device: torch.device) -> Any:
    """The AutoencoderKL in ``start``/vae, FP32, in evaluation mode."""
    vae: Any = AutoencoderKL.from_pretrained(start / "vae", torch_dtype=torch.float32)
    return vae.to(device).eval()


def load_depth(networks: Path, device: torch.device) -> Any:
    """The DPTForDepthEstimation in ``networks``/depth, FP32, in evaluation mode."""
    network: Any = DPTForDepthEstimation.from_pretrained(
        networks / "depth", torch_dtype=torch.float32, attn_implementation="eager"
    )
    return network.to(device).eval()


def load_into(networks: Mapping[str, Any], start: Path) -> None:
    """Load each network's weights from the folder ``start``.

    Raises ValueError when they belong to a network of other sizes, FileNotFoundError when there are none.
    """
    for name, network in networks.items():
        file = _weights_file(start / name)
        try:
            network.load_state_dict(load_file(file))
        except RuntimeError as error:
            # The first of many: "size mismatch for …".
            reason = str(error).splitlines()[1].strip()
            raise ValueError(f"{file.parent} has other sizes than what is to be trained: {reason}") from error


def _weights_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1 or not (folder / "config.json").is_file():
        raise FileNotFoundError(f"there is no network in {folder}: it is a config.json and one .safetensors")
    return files[0]


def _halved(name: str, file: Path) -> bytes:
    """The content of ``file`` with FP16 in place of larger floating-point numbers."""
    tensors = {
        key: to_fp16(name, key, tensor) if tensor.is_floating_point() else tensor
        for key, tensor in load_file(file).items()
    }
    # One entry only: the order of more would vary.
    return save(tensors, metadata={"format": "pt"})


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of ``target`` at the end; after an error ``target`` is as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as aside:
        new, old = Path(aside, "new"), Path(aside, "old")
        new.mkdir()
        yield new
        try:
            if target.exists():
                os.replace(target, old)
            os.replace(new, target)
        finally:
            if old.exists() and not target.exists():
                os.replace(old, target)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 = kept, 1 = a network is missing or does not fit in FP16."""
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.train.weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=Path, default=RUN, help=f"the training ({RUN})")
    parser.add_argument("--target", type=Path, default=KEPT, help="(export/bundles/dollhouse)")
    given = parser.parse_args(arguments)
    try:
        keep(given.run / "networks", given.target)
    except (FileNotFoundError, BundleError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"kept the networks in {given.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
