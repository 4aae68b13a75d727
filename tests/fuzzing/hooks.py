"""What schemathesis cannot know: a file that OpenAPI calls binary must be a photo here."""

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _photo(size: tuple[int, int], format: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (120, 90, 60)).save(out, format)
    return out.getvalue()


schemathesis.openapi.format("binary", st.sampled_from([_photo((96, 64), "JPEG"), _photo((64, 96), "PNG")]))
