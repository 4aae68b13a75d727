"""Folders of whole checkpoints, with the small networks of the bundle ``tiny`` in place of Stable Diffusion's."""

from __future__ import annotations

from pathlib import Path

from diffusers import DDIMScheduler, StableDiffusionPipeline

from export.bundle import load_bundle
from export.networks.load import load_networks
from export.sources.tokenizer import load_tokenizer

SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "steps_offset": 1,
}


def save_checkpoint(folder: Path, others: Path | None = None) -> None:
    """What diffusers saves of a pipeline, and the other networks of a bundle in ``others`` (``folder``, if None)."""
    tiny = load_bundle("tiny")
    networks = load_networks(tiny)
    pipeline = StableDiffusionPipeline(
        **{name: networks[name] for name in ("unet", "vae", "text_encoder")},
        tokenizer=load_tokenizer(tiny.tokenizer),
        scheduler=DDIMScheduler(**SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    for name in ("controlnet_depth", "controlnet_canny", "depth", "detector"):
        networks[name].save_pretrained((others or folder) / name)
