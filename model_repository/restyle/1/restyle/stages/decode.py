"""Decode: latents → the network's pixels."""

import numpy as np

from restyle.models import BrokenPicture, Models
from restyle.pictures.images import Floats, to_pixels


async def decode(latents: Floats, decoder: str, models: Models) -> Floats:
    """Pixels FP32 [H,W,3] in 0..255, in the bucket's frame, of latents FP32 [1,C,h,w], by the graph ``decoder``. Raises
    ModelFailed, and BrokenPicture when a value is not finite."""
    (signal,) = await models(decoder, ("image",), latents=latents)
    if not np.isfinite(signal).all():
        raise BrokenPicture(f"{decoder} made no finite picture of the latents")
    return to_pixels(signal)
