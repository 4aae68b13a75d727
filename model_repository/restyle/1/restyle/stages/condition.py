"""Condition: encode the prompts and, where they are needed, the photo and the part of it that is kept; see what else
the ControlNets are shown."""

import asyncio
from dataclasses import dataclass

import numpy as np

from restyle.models import Models, hint_of
from restyle.pictures.images import Bytes, Floats, latent_mask, to_signal
from restyle.prompt import Cut, Prompts
from restyle.release import Release
from restyle.request import Request
from restyle.stages.see import SeenPhoto


@dataclass(frozen=True)
class Conditioning:
    """What the steps are conditioned on, in the bucket's frame."""

    hints: dict[str, Bytes]
    """What the ControlNets are shown, by the denoiser's input: UINT8 [H,W], or [H,W,3] in colours."""
    text: Floats
    """FP32 [1,K,77,D]: (unconditional, conditional), or the conditional alone without guidance."""
    photo_latents: Floats
    """FP32 [1,C,h,w]; zeros where neither the start nor a mask needs them."""
    keep: Floats | None
    """FP32 [1,1,h,w]: the share of each latent cell, 0..1, that keeps the photo; None without a mask."""
    prompt_cuts: list[Cut]
    negative_prompt_cuts: list[Cut]


async def condition(
    request: Request, seen: SeenPhoto, release: Release, prompts: Prompts, models: Models
) -> Conditioning:
    """Encode what the request says and shows. Raises ModelFailed."""
    ids, cuts = prompts.encode(*request.prompt)
    rows, negative_cuts = [ids], []
    if request.guided:
        unwanted, negative_cuts = prompts.encode(*request.negative_prompt)
        rows = [unwanted, ids]
    (text,), photo_latents, *hints = await asyncio.gather(
        models("text_encoder", ("hidden_states",), input_ids=np.stack(rows)),
        _photo_latents(request, seen, release, models),
        *(hint_of(name, seen.photo, seen.hints, models) for name in release.hints),
    )
    keep = None
    if request.keep_mask is not None:
        keep = await asyncio.to_thread(latent_mask, request.keep_mask, seen.fit, release.vae_factor)
    shown = dict(zip(release.hints, hints, strict=True))
    return Conditioning(shown, text[None], photo_latents, keep, cuts, negative_cuts)


async def _photo_latents(request: Request, seen: SeenPhoto, release: Release, models: Models) -> Floats:
    if request.strength >= 1.0 and request.keep_mask is None:
        return np.zeros(release.latent_shape(seen.fit), np.float32)
    (latents,) = await models("vae_encoder", ("latents",), image=to_signal(seen.photo))
    return latents
