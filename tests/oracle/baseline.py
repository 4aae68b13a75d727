"""What `restyle` is compared with: diffusers' own pipelines in torch, with the weights of a bundle."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.bundle import load_bundle
from export.networks.load import load_networks
from export.proofs import diffusers_pipeline
from export.proofs.diffusers_pipeline import hint, scheduler
from export.sources.tokenizer import load_tokenizer

SD15: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012}
"""The noise schedule of Stable Diffusion 1.5, and of the bundle `tiny`."""


@cache
def networks(bundle: str) -> dict[str, Any]:
    """Every network of a bundle by name, loaded once."""
    return load_networks(load_bundle(bundle))


def pipeline(bundle: str, scheduler: Any, strength: float, start_noise: float) -> diffusers_pipeline.Pipeline:
    """diffusers' pipeline of a bundle's networks."""
    tokenizer = load_tokenizer(load_bundle(bundle).tokenizer)
    return diffusers_pipeline.Pipeline(networks(bundle), tokenizer, scheduler, strength, start_noise)


def photo_latents(photo: NDArray[np.uint8], bundle: str) -> NDArray[np.float32]:
    """The scaled mean of the VAE's posterior, FP32 [1,4,h,w], of a photo UINT8 [H,W,3]."""
    return diffusers_pipeline.photo_latents(photo, networks(bundle)["vae"])


@dataclass(frozen=True)
class Case:
    """One picture to make. Hints are what Triton's own `depth` and `edges` returned for the photo."""

    depth: NDArray[np.uint8]
    edges: NDArray[np.uint8]
    noise: NDArray[np.float32]
    prompt: str
    negative_prompt: str
    solver: str
    steps: int
    guidance_scale: float
    control_scale: tuple[float, float]
    strength: float = 1.0
    photo_latents: NDArray[np.float32] | None = None
    prediction: str = "epsilon"
    spacing: str = "diffusers"
    start_noise: float = 1.0


_PICTURES: dict[bytes, NDArray[np.float64]] = {}


def diffusers_picture(case: Case, bundle: str = "tiny") -> NDArray[np.float64]:
    """FP64 [H,W,3] in 0..255, before rounding; painted once for each case, and not to be changed."""
    key = pickle.dumps((bundle, asdict(case)))
    if key not in _PICTURES:
        _PICTURES[key] = _paint(case, bundle)
        _PICTURES[key].flags.writeable = False
    return _PICTURES[key]


def _paint(case: Case, bundle: str) -> NDArray[np.float64]:
    solver = scheduler(case.solver, **SD15, prediction=case.prediction, spacing=case.spacing)
    return pipeline(bundle, solver, case.strength, case.start_noise)(
        case.steps,
        [hint(case.depth), hint(case.edges)],
        case.noise,
        case.photo_latents,
        prompt=case.prompt,
        negative_prompt=case.negative_prompt,
        guidance_scale=case.guidance_scale,
        controlnet_conditioning_scale=list(case.control_scale),
    )
