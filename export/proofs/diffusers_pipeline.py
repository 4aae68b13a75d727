"""diffusers' own ControlNet pipelines, run from where `restyle` begins: what its pictures are compared with."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self
from unittest import mock

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
)
from numpy.typing import NDArray
from torch import nn

from export.networks.load import Network
from export.seats import CONTROLNETS, DEFAULT_HINTS

SCHEDULERS: dict[str, Any] = {
    "ddim": (DDIMScheduler, {"steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "lcm": (LCMScheduler, {}),
}
"""By our names of solvers: diffusers' class, and how Stable Diffusion 1.5 configures it."""


ALWAYS = (0.0, math.inf)
"""The guidance interval of pictures whose every step is guided."""


def pipeline_networks(hints: Sequence[str]) -> tuple[str, ...]:
    """The networks of a bundle that its pipeline is made of; ``hints``: see ``Bundle.seats``."""
    return ("unet", *(CONTROLNETS[hint] for hint in hints), "vae", "text_encoder")


def scheduler(
    solver: str,
    *,
    beta_start: float,
    beta_end: float,
    prediction: str = "epsilon",
    train_steps: int = 1000,
    spacing: str = "diffusers",
    grid: Sequence[int] = (),
) -> Any:
    """diffusers' scheduler for one of our solvers (a key of SCHEDULERS) on the schedule of a training; the keywords
    are the members of a release's ``schedule``. ``grid``: timesteps, of which it takes what :func:`along` says for a
    number of steps."""
    kind, options = SCHEDULERS[solver]
    if spacing == "trailing":
        options = options | {"timestep_spacing": spacing}
    made = kind(
        beta_start=beta_start,
        beta_end=beta_end,
        beta_schedule="scaled_linear",
        num_train_timesteps=train_steps,
        prediction_type=prediction,
        **options,
    )
    if grid:
        set_timesteps = made.set_timesteps
        # The pipelines that start from a photo ask for a number of steps, and cannot be given timesteps.
        made.set_timesteps = lambda steps, **_: set_timesteps(timesteps=along(grid, steps))
    return made


def along(grid: Sequence[int], steps: int) -> list[int]:
    """``steps`` timesteps of ``grid``, evenly apart, as `restyle` takes them where they lie on it. Raises ValueError
    where some would lie between two of it."""
    if steps == 1:
        return [grid[0]]
    stride, rest = divmod(len(grid) - 1, steps - 1)
    if rest:
        raise ValueError(f"{steps} steps do not lie on a grid of {len(grid)}")
    return list(grid[::stride])


@contextmanager
def fresh_noise(scheduler: Any, seed: int) -> Iterator[None]:
    """Give ``scheduler`` the noise that `restyle` adds in its steps, in place of torch's: Philox keyed by the seed and
    the step, from 1."""
    steps = iter(range(1, 1_000))

    def drawn(shape: Sequence[int], *, device: Any = None, dtype: Any = None, **_: Any) -> torch.Tensor:
        generator = np.random.Generator(np.random.Philox(key=[seed, next(steps)]))
        return torch.from_numpy(generator.standard_normal(tuple(shape), np.float32)).to(device, dtype)

    module = importlib.import_module(type(scheduler).__module__)
    if not hasattr(module, "randn_tensor"):
        yield
        return
    with mock.patch.object(module, "randn_tensor", drawn):
        yield


def hint(picture: NDArray[np.uint8]) -> torch.Tensor:
    """UINT8 [H,W] or [H,W,3] → FP32 [1,3,H,W] in 0..1, as the pipelines take it."""
    # Copied: what Triton returned is read-only, which torch warns of.
    colours = torch.from_numpy(np.array(picture if picture.ndim == 3 else picture[..., None]))
    return colours.permute(2, 0, 1)[None].expand(1, 3, -1, -1).float() / 255.0


def photo_latents(photo: NDArray[np.uint8], vae: Network) -> NDArray[np.float32]:
    """The scaled mean of the VAE's posterior, FP32 [1,4,h,w], of a photo UINT8 [H,W,3]."""
    signal = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    with torch.no_grad():
        mean: torch.Tensor = vae.encode(signal.to(vae.device, vae.dtype)).latent_dist.mean
    return (mean.float() * vae.config.scaling_factor).cpu().numpy()


class _Guided:
    """A pipeline that is guided at some noise levels only: outside of them the scale is 1, at which guidance leaves the
    prediction for the words alone."""

    level = 0.0
    """σ at which the step begins."""
    guidance_interval = ALWAYS

    @property
    def guidance_scale(self) -> float:
        low, high = self.guidance_interval
        return self._guidance_scale if low < self.level <= high else 1.0  # type: ignore[attr-defined]


class _TextToImage(_Guided, StableDiffusionControlNetPipeline):
    pass


class _ImageToImage(_Guided, StableDiffusionControlNetImg2ImgPipeline):
    """With the noise that it is given, instead of torch's."""

    noise: torch.Tensor

    def prepare_latents(
        self, image: torch.Tensor, timestep: torch.Tensor, *_: Any, **__: Any
    ) -> torch.Tensor:
        return self.scheduler.add_noise(image.to(self.noise), self.noise, timestep)


class Pipeline:
    """diffusers' ControlNet pipeline that begins where `restyle` does: at noise, or below strength 1 at the photo."""

    def __init__(
        self,
        networks: Mapping[str, Network],
        tokenizer: Any,
        scheduler: Any,
        strength: float = 1.0,
        start_noise: float = 1.0,
        hints: Sequence[str] = DEFAULT_HINTS,
        guidance_interval: tuple[float, float] = ALWAYS,
        decoder: Network | None = None,
    ) -> None:
        """``networks``: those of a bundle, by name; ``hints``: see ``Bundle.seats``; ``guidance_interval``: the noise
        levels, low < σ ≤ high, at which steps are guided; ``decoder``: an autoencoder that decodes in place of the
        VAE."""
        self._strength, self._start_noise = strength, start_noise
        self.vae: Network = networks["vae"]
        self._decoder = decoder or self.vae
        kind = _TextToImage if strength >= 1.0 else _ImageToImage
        self._pipeline = kind(
            vae=self.vae,
            text_encoder=networks["text_encoder"],
            tokenizer=tokenizer,
            unet=networks["unet"],
            controlnet=[networks[CONTROLNETS[hint]] for hint in hints],
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        self._pipeline.guidance_interval = guidance_interval
        self._pipeline.set_progress_bar_config(disable=True)
        self._device, self._dtype = "cpu", torch.float32
        self._decode: Callable[[torch.Tensor], torch.Tensor] = self._decoded
        alphas = scheduler.alphas_cumprod.double().numpy()
        self._noise_levels = np.sqrt((1.0 - alphas) / alphas)
        self._levels: Iterator[float] = iter(())
        self._watch(scheduler)

    def to(self, device: str, dtype: torch.dtype) -> Self:
        """Compute there and in that type; what goes in and comes out stays as it is described. The networks move, so
        whoever shares them finds them there."""
        self._device, self._dtype = device, dtype
        for network in (*self._pipeline.components.values(), self._decoder):
            if isinstance(network, nn.Module):
                # Not by diffusers' own method, which warns of every network that has nothing to keep in FP32.
                nn.Module.to(network, device, dtype)
        return self

    def compile(self, mode: str) -> Self:
        """Compile what takes the time: UNet, ControlNets and decoding. Each new shape is compiled at its first use.
        ``mode``: torch.compile's."""
        pipeline = self._pipeline
        pipeline.unet = torch.compile(pipeline.unet, mode=mode)
        nets = pipeline.controlnet.nets
        for index, net in enumerate(nets):
            nets[index] = torch.compile(net, mode=mode)
        self._decode = torch.compile(self._decoded, mode=mode)
        return self

    def _watch(self, scheduler: Any) -> None:
        """Tell the pipeline the noise level of each step, whose timestep no attribute of it holds. It is not read from
        the timestep that the scheduler is given: on a GPU that would wait for every step's end."""
        scale_model_input = scheduler.scale_model_input

        def watched(sample: torch.Tensor, timestep: Any) -> torch.Tensor:
            self._pipeline.level = next(self._levels)
            scaled: torch.Tensor = scale_model_input(sample, timestep)
            return scaled

        scheduler.scale_model_input = watched

    def _noise_level(self, timestep: float) -> float:
        return float(np.interp(timestep, np.arange(len(self._noise_levels)), self._noise_levels))

    def __call__(
        self,
        steps: int,
        hints: list[torch.Tensor],
        noise: NDArray[np.float32],
        photo: NDArray[np.float32] | None,
        seed: int = 0,
        **more: Any,
    ) -> NDArray[np.float64]:
        """The picture, FP64 [H,W,3] in 0..255, before rounding; ``photo`` is its latents, ``seed`` that of the noise of
        the steps, ``more`` is for diffusers."""
        return self.picture(self.latents(steps, hints, noise, photo, seed, **more))

    def pictures(self, latents: NDArray[np.float32]) -> NDArray[np.float64]:
        """As :meth:`picture`, of a batch: [N,4,h,w] → [N,H,W,3]."""
        signal = self._decode(torch.from_numpy(latents).to(self._device, self._dtype))
        image = self._pipeline.image_processor.postprocess(
            signal, output_type="pt", do_denormalize=[True] * len(latents)
        )
        return image.permute(0, 2, 3, 1).float().cpu().double().numpy() * 255.0

    def latents(
        self,
        steps: int,
        hints: list[torch.Tensor],
        noise: NDArray[np.float32],
        photo: NDArray[np.float32] | None,
        seed: int = 0,
        **more: Any,
    ) -> NDArray[np.float32]:
        """What the last step leaves, FP32 [N,4,h,w]: the pipeline's work but for decoding. ``noise`` is [N,4,h,w] too,
        as ``photo`` is; of several pictures ``more`` has as many prompts, in lists."""
        levels = self._levels_of(steps)
        self._levels = iter(levels)
        drawn = torch.from_numpy(noise).to(self._device, self._dtype)
        if self._strength >= 1.0:
            more |= {"image": hints, "latents": drawn}
        else:
            assert photo is not None
            self._pipeline.noise = drawn
            # The pipeline adds all of the noise that belongs to its first step: α·z + σ·α·ε. So that n times that noise
            # is left, it gets z − σ·(1 − n)·ε.
            surplus = (1.0 - self._start_noise) * levels[0] * noise
            more |= {
                "image": torch.from_numpy((photo - surplus).astype(np.float32)),
                "control_image": hints,
                "strength": self._strength,
            }
        with fresh_noise(self._pipeline.scheduler, seed):
            answer = self._pipeline(num_inference_steps=steps, output_type="latent", **more)
        return answer.images.float().cpu().numpy()

    def picture(self, latents: NDArray[np.float32]) -> NDArray[np.float64]:
        """Latents FP32 [1,4,h,w] → the picture as the pipeline finishes it, FP64 [H,W,3] in 0..255, before rounding."""
        return self.pictures(latents)[0]

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        vae = self._decoder
        with torch.no_grad():
            return vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]

    def _levels_of(self, steps: int) -> list[float]:
        """The noise level at which each step begins that is run of ``steps``."""
        scheduler = self._pipeline.scheduler
        scheduler.set_timesteps(steps)
        run = scheduler.timesteps[steps - int(steps * self._strength) :]
        return [self._noise_level(float(timestep)) for timestep in run]
