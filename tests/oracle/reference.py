"""The baseline: diffusers' own pipelines, run in torch with the weights of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.oracle import baseline

SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012}


def scheduler(solver: str, prediction: str = "epsilon", spacing: str = "diffusers") -> Any:
    """diffusers' scheduler of the same name, as Stable Diffusion 1.5 configures it but for prediction and spacing."""
    return baseline.scheduler(solver, **SCHEDULE, prediction=prediction, spacing=spacing)


@dataclass(frozen=True)
class Case:
    """One picture to make. Hints are what Triton's own `depth` and `edges` said of the photo."""

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


def diffusers_picture(case: Case, bundle: str = "tiny") -> NDArray[np.float64]:
    """FP64 [H,W,3] in 0..255, before rounding."""
    solver = scheduler(case.solver, case.prediction, case.spacing)
    return baseline.Pipeline(bundle, solver, case.strength, case.start_noise)(
        case.steps,
        [baseline.hint(case.depth), baseline.hint(case.edges)],
        case.noise,
        case.photo_latents,
        prompt=case.prompt,
        negative_prompt=case.negative_prompt,
        guidance_scale=case.guidance_scale,
        controlnet_conditioning_scale=list(case.control_scale),
    )


def photo_latents(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The photo's latents by torch, [1,4,h,w], of the bundle `tiny`."""
    return baseline.photo_latents(photo, "tiny")
