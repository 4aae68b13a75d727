"""The baseline that `restyle` is compared with: diffusers' own pipelines in torch, with the weights of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
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
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
)
from numpy.typing import NDArray

from export.bundle import Bundle, load_bundle
from export.contract import CANNY
from export.networks.load import load_networks
from export.networks.pictures import Depth
from export.sources.tokenizer import load_tokenizer

SCHEDULERS: dict[str, Any] = {
    "ddim": (DDIMScheduler, {"steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
}
"""By our names of solvers: diffusers' class, and how Stable Diffusion 1.5 configures it."""

SD15: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012}
"""The noise schedule of Stable Diffusion 1.5, and of the bundle `tiny`."""


def scheduler(
    solver: str,
    *,
    beta_start: float,
    beta_end: float,
    prediction: str = "epsilon",
    train_steps: int = 1000,
    spacing: str = "diffusers",
) -> Any:
    """diffusers' scheduler for one of our solvers (a key of SCHEDULERS) on the schedule of a training."""
    kind, options = SCHEDULERS[solver]
    if spacing == "trailing":
        options = options | {"timestep_spacing": spacing}
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


def photo_latents(photo: NDArray[np.uint8], bundle: str) -> NDArray[np.float32]:
    """The scaled mean of the VAE's posterior, FP32 [1,4,h,w], of a photo UINT8 [H,W,3]."""
    vae = networks(bundle)["vae"]
    signal = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    with torch.no_grad():
        mean: torch.Tensor = vae.encode(signal).latent_dist.mean * vae.config.scaling_factor
    return mean.numpy()


class _ImageToImage(StableDiffusionControlNetImg2ImgPipeline):
    """With the noise that it is given, instead of torch's."""

    noise: torch.Tensor

    def prepare_latents(
        self, image: torch.Tensor, timestep: torch.Tensor, *_: Any, **__: Any
    ) -> torch.Tensor:
        return self.scheduler.add_noise(image, self.noise, timestep)


class Pipeline:
    """diffusers' ControlNet pipeline that begins where `restyle` does: at noise, or below strength 1 at the photo."""

    def __init__(self, bundle: str, scheduler: Any, strength: float = 1.0, start_noise: float = 1.0) -> None:
        """Raises BundleError."""
        self._strength, self._start_noise = strength, start_noise
        kind = StableDiffusionControlNetPipeline if strength >= 1.0 else _ImageToImage
        self._pipeline = kind(**parts(bundle), scheduler=scheduler)
        self._pipeline.set_progress_bar_config(disable=True)

    def __call__(
        self,
        steps: int,
        hints: list[torch.Tensor],
        noise: NDArray[np.float32],
        photo: NDArray[np.float32] | None,
        **more: Any,
    ) -> NDArray[np.float64]:
        """The picture, FP64 [H,W,3] in 0..255, before rounding; ``photo`` is its latents, ``more`` is for diffusers."""
        drawn = torch.from_numpy(noise)
        if self._strength >= 1.0:
            more |= {"image": hints, "latents": drawn}
        else:
            assert photo is not None
            self._pipeline.noise = drawn
            # The pipeline adds all of the noise that belongs to its first step: α·z + σ·α·ε. So that n times that noise
            # is left, it gets z − σ·(1 − n)·ε.
            surplus = (1.0 - self._start_noise) * self._first_sigma(steps) * noise
            more |= {
                "image": torch.from_numpy((photo - surplus).astype(np.float32)),
                "control_image": hints,
                "strength": self._strength,
            }
        return pixels(self._pipeline(num_inference_steps=steps, output_type="pt", **more).images)

    def _first_sigma(self, steps: int) -> float:
        scheduler = self._pipeline.scheduler
        scheduler.set_timesteps(steps)
        timestep = float(scheduler.timesteps[steps - int(steps * self._strength)])
        alphas = scheduler.alphas_cumprod.double().numpy()
        return float(np.interp(timestep, np.arange(len(alphas)), np.sqrt((1.0 - alphas) / alphas)))


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


def diffusers_picture(case: Case, bundle: str = "tiny") -> NDArray[np.float64]:
    """FP64 [H,W,3] in 0..255, before rounding."""
    solver = scheduler(case.solver, **SD15, prediction=case.prediction, spacing=case.spacing)
    return Pipeline(bundle, solver, case.strength, case.start_noise)(
        case.steps,
        [hint(case.depth), hint(case.edges)],
        case.noise,
        case.photo_latents,
        prompt=case.prompt,
        negative_prompt=case.negative_prompt,
        guidance_scale=case.guidance_scale,
        controlnet_conditioning_scale=list(case.control_scale),
    )


class DiffusersBaseline:
    """Restyling a photo with diffusers, as its users write it: depth, edges, pipeline; at the bundle's defaults."""

    def __init__(self, name: str) -> None:
        """Loads everything. Raises BundleError."""
        self.bundle: Bundle = load_bundle(name)
        depth = networks(name)["depth"]
        half = [0.5, 0.5, 0.5]
        self._depth = Depth(depth, (depth.config.image_size,) * 2, half, half)
        schedule, defaults = self.bundle.schedule, self.bundle.defaults
        self._pipeline = Pipeline(
            name,
            scheduler(
                defaults.solver,
                beta_start=schedule.beta_start,
                beta_end=schedule.beta_end,
                prediction=schedule.prediction,
                train_steps=schedule.train_steps,
                spacing=schedule.spacing,
            ),
            defaults.strength,
            defaults.start_noise,
        )

    @torch.inference_mode()
    def restyle(
        self, photo: NDArray[np.uint8], prompt: str, negative_prompt: str, noise: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """A photo UINT8 [H,W,3] whose sides the VAE can divide, and start noise [1,4,h,w] → the picture, FP64 [H,W,3]
        in 0..255, before rounding."""
        depth = self._depth(torch.from_numpy(photo)[None])[0].numpy()
        edges: Any = cv2.Canny(photo, *CANNY)
        defaults = self.bundle.defaults
        return self._pipeline(
            defaults.steps,
            [hint(depth), hint(edges)],
            noise,
            photo_latents(photo, self.bundle.name) if defaults.strength < 1.0 else None,
            prompt=prompt,
            negative_prompt=negative_prompt,
            guidance_scale=defaults.guidance_scale,
            controlnet_conditioning_scale=list(defaults.control_scale),
        )
