"""Pictures for tests, drawn with numpy: rooms are boxes seen from inside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def room(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A back wall, a floor, a window and some furniture, with a little noise; UINT8 [H,W,3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / np.array([[[height]], [[width]]])
    picture = np.zeros((height, width, 3))
    picture[:] = rng.uniform(120, 220, 3)
    picture[y > 0.62] = rng.uniform(60, 140, 3)
    for _ in range(6):
        left, top = rng.uniform(0.05, 0.7), rng.uniform(0.1, 0.7)
        inside = (
            (x > left) & (x < left + rng.uniform(0.1, 0.3)) & (y > top) & (y < top + rng.uniform(0.1, 0.25))
        )
        picture[inside] = rng.uniform(20, 250, 3)
    picture += 25 * (1 - y)[..., None] + rng.normal(0, 2, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)
