"""The peer that `restyle` is compared with: diffusers' own pipelines in torch, with the weights of a bundle."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionControlNetPipeline,
)
from numpy.typing import NDArray

from export.bundle import Bundle, load_bundle
from export.models.load import load_networks
from export.models.pictures import Depth
from export.tokenizer import load_tokenizer

SCHEDULERS: dict[str, Any] = {
    "ddim": (DDIMScheduler, {"steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
}
"""By our names of solvers: diffusers' class, and how Stable Diffusion 1.5 configures it."""

CANNY = (100, 200)
"""The thresholds of the service's ``edges``."""


def scheduler(
    solver: str,
    *,
    beta_start: float,
    beta_end: float,
    prediction: str = "epsilon",
    train_steps: int = 1000,
) -> Any:
    """diffusers' scheduler for one of our solvers (a key of SCHEDULERS) on the schedule of a training."""
    kind, options = SCHEDULERS[solver]
    return kind(
        beta_start=beta_start,
        beta_end=beta_end,
        beta_schedule="scaled_linear",
        num_train_timesteps=train_steps,
        prediction_type=prediction,
        **options,
    )


@cache
def networks(bundle: str) -> dict[str, Any]:
    """Every network of a bundle by name, loaded once."""
    return load_networks(load_bundle(bundle))


def parts(bundle: str) -> dict[str, Any]:
    """A bundle's networks as the arguments of diffusers' ControlNet pipelines, but for the scheduler."""
    found = networks(bundle)
    return {
        "vae": found["vae"],
        "text_encoder": found["text_encoder"],
        "tokenizer": load_tokenizer(load_bundle(bundle).tokenizer),
        "unet": found["unet"],
        "controlnet": [found["controlnet_depth"], found["controlnet_canny"]],
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def hint(picture: NDArray[np.uint8]) -> torch.Tensor:
    """UINT8 [H,W] → FP32 [1,3,H,W] in 0..1, as the pipelines take it."""
    # Copied: what Triton returned is read-only, which torch warns of.
    return torch.from_numpy(np.array(picture))[None, None].expand(1, 3, -1, -1).float() / 255.0


def pixels(images: torch.Tensor) -> NDArray[np.float64]:
    """A pipeline's answer (output_type "pt") → its first picture, FP64 [H,W,3] in 0..255, before rounding."""
    return images[0].permute(1, 2, 0).double().numpy() * 255.0


class Peer:
    """What somebody would write who restyles a photo with diffusers: depth, edges, pipeline; at the bundle's
    defaults."""

    def __init__(self, name: str) -> None:
        """Loads everything. Raises BundleError."""
        self.bundle: Bundle = load_bundle(name)
        depth = networks(name)["depth"]
        half = [0.5, 0.5, 0.5]
        self._depth = Depth(depth, (depth.config.image_size,) * 2, half, half)
        schedule = self.bundle.schedule
        self._pipeline = StableDiffusionControlNetPipeline(
            **parts(name),
            scheduler=scheduler(
                self.bundle.defaults.solver,
                beta_start=schedule.beta_start,
                beta_end=schedule.beta_end,
                prediction=schedule.prediction,
                train_steps=schedule.train_steps,
            ),
        )
        self._pipeline.set_progress_bar_config(disable=True)

    @torch.inference_mode()
    def restyle(
        self, photo: NDArray[np.uint8], prompt: str, negative_prompt: str, noise: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """A photo UINT8 [H,W,3] whose sides the VAE can divide, and start noise [1,4,h,w] → the picture, FP64 [H,W,3]
        in 0..255, before rounding."""
        depth = self._depth(torch.from_numpy(photo)[None])[0].numpy()
        edges: Any = cv2.Canny(photo, *CANNY)
        defaults = self.bundle.defaults
        made = self._pipeline(
            prompt=prompt,
            negative_prompt=negative_prompt,
            image=[hint(depth), hint(edges)],
            latents=torch.from_numpy(noise),
            num_inference_steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            controlnet_conditioning_scale=list(defaults.control_scale),
            output_type="pt",
        )
        return pixels(made.images)
