"""Preview: what the picture would be if it ended now, small and quick."""

import asyncio

from restyle.models import Models
from restyle.pictures.images import Fit, Floats, linear_pixels, preview_jpeg
from restyle.release import TINY_DECODER, Release
from restyle.stages.decode import decode


async def preview(x0: Floats, fit: Fit, release: Release, models: Models) -> bytes:
    """A JPEG of at most 20 KB of latents FP32 [1,C,h,w], by the release's tiny decoder, or where it has none by its
    ``preview_matrix``. Raises ModelFailed."""
    if TINY_DECODER in release.versions:
        pixels = await decode(x0, TINY_DECODER, models)
    else:
        pixels = linear_pixels(x0, release.preview_matrix)
    return await asyncio.to_thread(preview_jpeg, pixels, fit)
