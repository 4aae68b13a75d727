"""Decode: latents → the network's pixels."""

import numpy as np

from restyle.models import BrokenPicture, Models
from restyle.pictures.images import Floats, to_pixels


async def decode(latents: Floats, models: Models) -> Floats:
    """Pixels FP32 [H,W,3] in 0..255, in the bucket's frame, of latents FP32 [1,C,h,w]. Raises ModelFailed, and
    BrokenPicture when a value is not finite."""
    (signal,) = await models("vae_decoder", ("image",), latents=latents)
    if not np.isfinite(signal).all():
        raise BrokenPicture("vae_decoder made no finite picture of the latents")
    return to_pixels(signal)
