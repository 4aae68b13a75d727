"""The visible label of pictures that AI has changed: a badge "AI" at the top right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TEXT = "AI"
"""The acronym that the EU's code of practice asks for."""

SHARE = 0.07
"""The badge's height as a share of the picture's shorter side."""

MIN_HEIGHT = 20
"""Pixels, so that it can be read on a thumbnail."""

_INK, _GROUND = (255, 255, 255), (17, 17, 17)
"""White on near-black, a contrast of 18.9 : 1; a white border parts the badge from a dark room."""


def labelled(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] with the badge; the picture itself is left as it is."""
    picture = Image.fromarray(image)
    height = max(MIN_HEIGHT, round(SHARE * min(picture.size)))
    badge = _badge(height)
    margin = height // 3
    picture.paste(badge, (max(0, picture.width - badge.width - margin), min(margin, picture.height)), badge)
    return np.asarray(picture)


def _badge(height: int) -> Image.Image:
    """RGBA. Drawn four times as large, since Pillow's shapes have no smooth edges."""
    scale = 4
    tall, wide = scale * height, round(scale * height * 1.6)
    badge = Image.new("RGBA", (wide, tall), (*_GROUND, 0))
    draw = ImageDraw.Draw(badge)
    draw.rounded_rectangle(
        (0, 0, wide - 1, tall - 1),
        radius=tall // 4,
        fill=(*_GROUND, 255),
        outline=(*_INK, 255),
        width=max(scale, tall // 16),
    )
    font = ImageFont.load_default(size=0.68 * tall)
    draw.text((wide / 2, tall / 2), TEXT, font=font, fill=(*_INK, 255), anchor="mm", stroke_width=tall // 60)
    return badge.resize((wide // scale, height), Image.Resampling.LANCZOS)
