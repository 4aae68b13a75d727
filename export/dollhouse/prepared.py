"""Rooms as diffusion training wants them, computed once: latents, edges and colours per style, depth per room."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from .autoencoder import Pictures, encode_mean
from .captions import main_colours
from .grids import to_signal
from .hints import canny, depth_bytes
from .looks import STYLES
from .training import autocast

SAVE_EVERY = 50
"""Rooms between two notes of how far the work has come."""


class Rooms(Pictures, Protocol):
    """Pictures whose depth and kind are known."""

    def depth(self, index: int) -> NDArray[np.float32]:
        """Metres [H,W], along the view axis."""
        ...

    def room_type(self, index: int) -> str: ...


class Prepared:
    """Memory-mapped arrays of N rooms: ``latents`` FP16 [N,5,4,h,w], scaled; ``edges`` UINT8 [N,5,H,W/8], a bit a
    pixel; ``depth`` UINT8 [N,H,W], white = near; ``colours`` UINT8 [N,5,3]; and ``room_types``."""

    def __init__(self, folder: Path) -> None:
        note = json.loads((folder / "note.json").read_text())
        if note["done"] < note["rooms"]:
            raise ValueError(f"{folder}: only {note['done']} of {note['rooms']} rooms are prepared")
        self.latents, self.edges, self.depth, self.colours = (
            np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in ("latents", "edges", "depth", "colours")
        )
        self.room_types: list[str] = note["room_types"]

    def __len__(self) -> int:
        return len(self.latents)


def prepare(rooms: Rooms, vae: Any, folder: Path, device: torch.device) -> Prepared:
    """Fill ``folder``, going on where an earlier call stopped; starts anew for another autoencoder or other rooms."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [rooms.room_type(index).replace("_", " ") for index in range(len(rooms))]
    wanted = {"vae": weights_digest(vae), "rooms": len(rooms), "room_types": kinds}
    note = folder / "note.json"
    kept = json.loads(note.read_text()) if note.is_file() else {}
    done = kept.pop("done", 0) if {k: v for k, v in kept.items() if k != "done"} == wanted else 0
    arrays = _arrays(rooms, vae, folder, "r+" if done else "w+")
    for index in range(done, len(rooms)):
        _fill(arrays, index, rooms, vae, device)
        if (index + 1) % SAVE_EVERY == 0 or index + 1 == len(rooms):
            for array in arrays.values():
                array.flush()
            part = note.with_suffix(".part")
            part.write_text(json.dumps({**wanted, "done": index + 1}))
            os.replace(part, note)
    return Prepared(folder)


def weights_digest(network: Any) -> str:
    """Names a network's weights."""
    digest = hashlib.sha256(str(network.config.scaling_factor).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _arrays(rooms: Rooms, vae: Any, folder: Path, mode: Any) -> dict[str, np.memmap[Any, Any]]:
    count, styles = len(rooms), len(STYLES)
    height, width, _ = rooms.picture(0, 0).shape
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "latents": (np.float16, (count, styles, 4, height // factor, width // factor)),
        "edges": (np.uint8, (count, styles, height, width // 8)),
        "depth": (np.uint8, (count, height, width)),
        "colours": (np.uint8, (count, styles, 3)),
    }
    return {
        name: open_memmap(folder / f"{name}.npy", mode, dtype, shape)
        for name, (dtype, shape) in shapes.items()
    }


@torch.no_grad()
def _fill(arrays: dict[str, Any], index: int, rooms: Rooms, vae: Any, device: torch.device) -> None:
    pictures = np.stack([rooms.picture(index, style) for style in range(len(STYLES))])
    with autocast(device):
        latents = encode_mean(vae, to_signal(pictures).to(device)) * vae.config.scaling_factor
    arrays["latents"][index] = latents.float().cpu().numpy()
    arrays["edges"][index] = [np.packbits(canny(picture) > 0, axis=-1) for picture in pictures]
    arrays["depth"][index] = depth_bytes(rooms.depth(index))
    arrays["colours"][index] = [main_colours(picture) for picture in pictures]
