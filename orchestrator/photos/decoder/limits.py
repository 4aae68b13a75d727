"""The limits of a photo, and the error for a photo beyond them."""

from __future__ import annotations

MIN_SIDE = 64
MAX_SIDE = 16384
MAX_ASPECT = 4
"""The longest aspect that the model accepts; a longer strip would be mostly padding."""
STORED_SIDE = 2048
"""Pixels of the longest side to which larger photos are scaled down: no bucket of the model is larger."""


class Rejected(Exception):
    """The picture is refused. ``code`` is one of the API's error codes; ``detail`` is a sentence with what to do."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def broken(what: str = "the picture is damaged or incomplete") -> Rejected:
    return Rejected("broken_image", f"{what}; export or download it again, or take another")


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises Rejected unless a picture of ``width`` × ``height`` pixels is accepted."""
    found = f"the picture is {width}x{height}"
    if max(width, height) > MAX_SIDE:
        raise Rejected("image_too_large", f"{found}; scale it down to at most {MAX_SIDE} pixels a side")
    if width * height > max_pixels:
        raise Rejected("image_too_large", f"{found}; scale it down to at most {max_pixels} pixels in all")
    if min(width, height) < MIN_SIDE:
        raise Rejected("image_too_small", f"{found}; send one of at least {MIN_SIDE} pixels a side")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Rejected(
            "image_too_narrow", f"{found}; crop it: one side may be {MAX_ASPECT} times the other at most"
        )
