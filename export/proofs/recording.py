"""Records the picture that a version makes of the packaged room on the exporting machine.

Every host makes the same picture before it serves the version (export/releases/trying.py). So what the proofs have
found right here is compared with what another device, another backend or a broken copy makes of it there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from export.proofs.rehearsal import rehearse
from export.releases.folder import version_folder
from export.releases.trying import PROMPT, RECORDED, SEED, packaged_room


def record_picture(release: Path, version: int) -> Path:
    """Write the picture of the live version ``version`` of the folder ``release`` beside its release.json; returns the
    file. Raises RehearsalError."""
    request = {"prompt": [PROMPT], "seed": [SEED]}
    with tempfile.TemporaryDirectory() as folder:
        cases, painted = Path(folder, "cases.npz"), Path(folder, "painted.npz")
        np.savez(cases, photo_0=packaged_room(), request_0=np.array(msgspec.json.encode(request).decode()))
        rehearse(release, paint=(cases, painted))
        with np.load(painted) as made:
            pixels = made["pixels_0"]
    file = version_folder(release, version) / RECORDED
    Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(file)
    return file
