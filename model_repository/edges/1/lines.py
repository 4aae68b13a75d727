"""Straight lines of a photo (OpenCV's LSD), white on black, as the MLSD ControlNet was trained with.

Its training pictures come from M-LSD, a network that finds the long lines of walls and furniture. LSD (Grompone von
Gioi et al. 2010) needs no weights. It finds the short ones of textures too, which are left out.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

SHORTEST = 0.05
"""Length of the shortest line that is drawn, as a share of the picture's shorter side."""


def straight_lines(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lines UINT8 [H,W], 0 or 255, one pixel wide, of ``image`` UINT8 [H,W,3] RGB, which must not be empty."""
    drawn = np.zeros(image.shape[:2], np.uint8)
    # A detector for every call: it keeps state, and requests may come from several threads.
    found = cv2.createLineSegmentDetector().detect(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    if found is None:
        return drawn
    ends = found.reshape(-1, 2, 2)
    long = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) >= SHORTEST * min(image.shape[:2])
    for begin, end in np.rint(ends[long]).astype(int).tolist():
        cv2.line(drawn, begin, end, 255, 1)
    return drawn
