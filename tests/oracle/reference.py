"""The peer: diffusers' own pipelines, run in torch with the weights of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetPipeline
from numpy.typing import NDArray

from benchmarks import peer

SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012}


def scheduler(solver: str, prediction: str = "epsilon") -> Any:
    """diffusers' scheduler of the same name, as Stable Diffusion 1.5 configures it but for the prediction."""
    return peer.scheduler(solver, **SCHEDULE, prediction=prediction)


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


class _Img2Img(StableDiffusionControlNetImg2ImgPipeline):
    """With the noise that it is given, instead of torch's."""

    noise: torch.Tensor

    def prepare_latents(
        self, image: torch.Tensor, timestep: torch.Tensor, *_: Any, **__: Any
    ) -> torch.Tensor:
        return self.scheduler.add_noise(image, self.noise, timestep)


_parts = cache(peer.parts)


def diffusers_picture(case: Case, bundle: str = "tiny") -> NDArray[np.float64]:
    """FP64 [H,W,3] in 0..255, before rounding."""
    hints = [peer.hint(case.depth), peer.hint(case.edges)]
    common: dict[str, Any] = {
        "prompt": case.prompt,
        "negative_prompt": case.negative_prompt,
        "num_inference_steps": case.steps,
        "guidance_scale": case.guidance_scale,
        "controlnet_conditioning_scale": list(case.control_scale),
        "output_type": "pt",
    }
    noise = torch.from_numpy(case.noise)
    solver = scheduler(case.solver, case.prediction)
    if case.strength >= 1.0:
        pipeline = StableDiffusionControlNetPipeline(**_parts(bundle), scheduler=solver)
        common |= {"image": hints, "latents": noise}
    else:
        pipeline = _Img2Img(**_parts(bundle), scheduler=solver)
        pipeline.noise = noise
        common |= {
            "image": torch.from_numpy(case.photo_latents),
            "control_image": hints,
            "strength": case.strength,
        }
    pipeline.set_progress_bar_config(disable=True)
    return peer.pixels(pipeline(**common).images)


def photo_latents(photo: NDArray[np.uint8], bundle: str = "tiny") -> NDArray[np.float32]:
    """The scaled mean of the VAE's posterior, by torch, [1,4,h,w]."""
    vae = _parts(bundle)["vae"]
    signal = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    with torch.no_grad():
        mean: torch.Tensor = vae.encode(signal).latent_dist.mean * vae.config.scaling_factor
    return mean.numpy()
