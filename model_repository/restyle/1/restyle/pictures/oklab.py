"""OKLab (Ottosson 2020, https://bottosson.github.io/posts/oklab): colours as lightness and two opponent axes, in
which a distance of 0.02 is about the least that is seen, whatever the colour."""

import numpy as np

from restyle.pictures.images import Floats

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_FROM_LAB, _FROM_CONES = np.linalg.inv(_TO_LAB), np.linalg.inv(_TO_CONES)


def to_oklab(pixels: Floats) -> Floats:
    """sRGB FP32 [...,3] in 0..255 → OKLab FP32 [...,3]: lightness 0..1, and a and b of about −0.4..0.4."""
    values = np.clip(np.asarray(pixels, np.float32) / 255.0, 0.0, 1.0)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    lab = np.cbrt(linear @ _TO_CONES.T.astype(np.float32)) @ _TO_LAB.T.astype(np.float32)
    return np.asarray(lab, np.float32)


def from_oklab(lab: Floats) -> Floats:
    """OKLab FP32 [...,3] → sRGB FP32 [...,3] in 0..255, clipped where sRGB does not have the colour, not rounded."""
    linear = (lab @ _FROM_LAB.T.astype(np.float32)) ** 3 @ _FROM_CONES.T.astype(np.float32)
    linear = np.clip(linear, 0.0, 1.0)
    values = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(values * 255.0, np.float32)
