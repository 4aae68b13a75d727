"""Canny edges of a photo (OpenCV), white on black, as the Canny ControlNet was trained with."""

import cv2
import numpy as np
from numpy.typing import NDArray

LOW, HIGH = 100, 200
"""Hysteresis thresholds that the ControlNet's training pictures were made with."""


def canny(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Edges UINT8 [H,W], 0 or 255, of ``image`` UINT8 [H,W,3] RGB, which must not be empty."""
    edges: NDArray[np.uint8] = cv2.Canny(image, LOW, HIGH)
    return edges
