"""What the benchmarks of speed restyle: the demo's photo, in the square that a bundle was made for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from measuring.releases import Release
from orchestrator.domain.styles import STYLES
from reroom.triton import RestyleRequest
from stack.demo import SAMPLE

STYLE = "industrial"


def sample_photo(side: int) -> NDArray[np.uint8]:
    """The middle of the demo's photo, UINT8 [side,side,3]."""
    with Image.open(SAMPLE) as photo:
        return np.array(ImageOps.fit(photo.convert("RGB"), (side, side), Image.Resampling.LANCZOS))


def sample_noise(release: Release, seed: int = 0) -> NDArray[np.float32]:
    """Start noise FP32 [4,h,w] for that photo."""
    sizes = release.facts["sizes"]
    side = sizes["native_size"] // sizes["vae_factor"]
    shape = (sizes["latent_channels"], side, side)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def sample_request(release: Release, seed: int = 0, steps: int | None = None) -> RestyleRequest:
    """The photo in STYLE at the bundle's defaults, as an internal tool would ask for it, with its start noise given."""
    return RestyleRequest(
        image=sample_photo(release.side),
        prompt=STYLES[STYLE].prompt,
        negative_prompt=STYLES[STYLE].negative_prompt,
        seed=seed,
        steps=steps,
        # The style's own colours: diffusers is asked in the same words.
        palette=(),
        latents=sample_noise(release, seed),
    )
