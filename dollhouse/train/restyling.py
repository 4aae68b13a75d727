"""Trains the restyling networks (autoencoder, text encoder, UNet, ControlNets) on rendered rooms.

    python -m dollhouse.train.restyling                  # everything, with the preset of the machine
    python -m dollhouse.train.restyling --minutes 20     # a shorter run
    python -m dollhouse.train.restyling --start export/bundles/dollhouse     # train these networks further

After a stop, the same command continues: every part keeps checkpoints, which take precedence over ``--start``. With
``--start`` the autoencoder is not trained, because the denoisers know its latents. Rooms come from ``python -m
dollhouse.data.dataset``; let that finish first, as all depth is predicted again when their number changes. The depth
model must lie in the run's networks/depth, from ``python -m dollhouse.train.perception`` or from ``--start``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dollhouse.data.captions import Tokens, load_style_words
from dollhouse.data.dataset import DATA, open_dataset
from dollhouse.data.prepared import Rooms, seen_depth
from export.bundle import Weights
from measuring.machine import usable_cores

from .autoencoder import Pictures, encode_mean, quality_of, train_autoencoder
from .crops import Crops
from .depth import as_module
from .diffusion import train_diffusion
from .grids import to_bytes, to_signal
from .loop import Limit, pick_device
from .networks import sizes_of
from .presets import Preset, preset_for
from .sampling import decode
from .weights import begin, load_autoencoder, load_depth
from .workers import ALONE, Workers, join, start_others

RUN = Path(".run/dollhouse")

TOKENIZER = Weights(path="tokenizer")
"""The project's own, beside the bundles."""

PREVIEW_PICTURES = 64

PARTS = ("autoencoder", "diffusion")
"""The autoencoder may be trained beside the perception networks; diffusion needs the trained depth model."""


def autoencoder_part(
    rooms: Pictures, run: Path, preset: Preset, device: torch.device, start: Path | None
) -> None:
    """Write the autoencoder to ``run``/networks/vae, and facts.json beside it: preview matrix, reconstruction quality.

    It is trained, or with ``start`` copied from that folder.
    """
    networks = run / "networks"
    if start is None:
        limit = Limit(minutes=preset.autoencoder_minutes)
        vae = train_autoencoder(rooms, run / "autoencoder", preset.autoencoder, limit, device)
        save_networks({"vae": vae}, networks)
    else:
        shutil.copytree(start / "vae", networks / "vae", dirs_exist_ok=True)
        vae = load_autoencoder(start, device)
    facts = {
        "preview_matrix": preview_matrix(vae, rooms, device),
        "reconstruction": dict(reconstruction(vae, rooms, device)),
    }
    (networks / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")


def diffusion_part(
    rooms: Rooms,
    run: Path,
    preset: Preset,
    device: torch.device,
    start: Path | None = None,
    workers: Workers = ALONE,
) -> None:
    """Train text encoder, UNet and ControlNets, and write them to ``run``/networks, where autoencoder and depth model
    are.

    With ``start`` they begin with the weights in that folder, and have its sizes. Raises FileNotFoundError when a
    network is missing.
    """
    networks = run / "networks"
    vae = load_autoencoder(networks, device)
    depth_model = as_module(load_depth(networks, device)).to(device)
    prepared = run / "prepared"
    if workers.first:
        seen_depth(rooms, depth_model, prepared)
    workers.agree(0.0)  # the others wait
    seen = seen_depth(rooms, depth_model, prepared)
    settings = preset.diffusion if start is None else preset.diffusion.going_on(sizes_of(start))
    crops = Crops(rooms, seen, load_style_words(), Tokens(TOKENIZER), settings)
    limit = Limit(minutes=preset.diffusion_minutes)
    # One core feeds the GPU, the others prepare batches.
    drawers = max(1, usable_cores() - 1) if device.type == "cuda" else 0
    trained = train_diffusion(
        crops, vae, run / "diffusion", limit, device, preset.pace, start, workers, drawers
    )
    if workers.first:
        save_networks(trained, networks)


def save_networks(networks: Mapping[str, Any], folder: Path) -> None:
    """Write a folder for each network, as ``from_pretrained`` reads it."""
    for name, network in networks.items():
        network.to(memory_format=torch.contiguous_format).save_pretrained(folder / name)


@torch.no_grad()
def preview_matrix(vae: Any, pictures: Pictures, device: torch.device) -> list[list[float]]:
    """[5][3]: the linear map (least squares) from scaled latents, and a constant, to RGB in −1..1 of the cells."""
    rows, colours = [], []
    for index in range(min(PREVIEW_PICTURES, len(pictures))):
        signal = to_signal(pictures.picture(index, index % 5)[None]).to(device)
        latents = encode_mean(vae, signal) * vae.config.scaling_factor
        cells = torch.nn.functional.adaptive_avg_pool2d(signal, latents.shape[-2:])
        rows.append(latents.flatten(2)[0].T.cpu().double())
        colours.append(cells.flatten(2)[0].T.cpu().double())
    known = torch.cat(rows)
    known = torch.cat([known, torch.ones(len(known), 1, dtype=known.dtype)], 1)
    solution = torch.linalg.lstsq(known, torch.cat(colours)).solution
    return [[round(value, 4) for value in row] for row in solution.tolist()]


@torch.no_grad()
def reconstruction(
    vae: Any, pictures: Pictures, device: torch.device, count: int = 32
) -> Mapping[str, float]:
    """PSNR and edge F1 of the last pictures after the autoencoder."""
    index = range(max(0, len(pictures) - count), len(pictures))
    real = np.stack([pictures.picture(i, i % 5) for i in index])
    latents = [encode_mean(vae, to_signal(one[None]).to(device)) * vae.config.scaling_factor for one in real]
    made = np.concatenate([to_bytes(decode(vae, one)) for one in latents])
    return {name: round(value, 4) for name, value in quality_of(made, real).items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dollhouse.train.restyling", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rooms", type=int, help="how many; all that are there when not given")
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--minutes", type=float, help="of training in all; the preset's when not given")
    parser.add_argument("--start", type=Path, help="networks to begin with; random ones when not given")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of torch on the CPU, in all")
    parser.add_argument("--only", choices=PARTS, action="append", help="both when not given")
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    device = pick_device()
    torch.backends.cudnn.benchmark = True
    preset = preset_for(device)
    parts = given.only or PARTS
    if given.minutes is not None:
        preset = preset.within(given.minutes, parts)
    start = begin(given.run, given.start)
    rooms = open_dataset(given.data, "train", given.rooms)
    if "autoencoder" in parts and given.rank == 0:
        torch.set_num_threads(given.threads)
        autoencoder_part(rooms, given.run, preset, device, start)
    if "diffusion" in parts:
        count = min(preset.workers, given.threads)
        torch.set_num_threads(max(1, given.threads // count))
        meeting = given.run / "meeting"
        if given.rank == 0:
            print(
                f"begins with {'random networks' if start is None else f'the networks in {start}'}",
                flush=True,
            )
            start_others(__spec__.name, sys.argv[1:], count, meeting)
        workers = join(given.rank, count, meeting)
        diffusion_part(rooms, given.run, preset, device, start, workers)
    if given.rank == 0:
        print(f"networks in {given.run / 'networks'}")


if __name__ == "__main__":
    main()
