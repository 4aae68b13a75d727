"""What schemathesis cannot know: files are photos here, and a mask has the photo's shape."""

import base64
import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _photo(format: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (96, 64), (120, 90, 60)).save(out, format)
    return out.getvalue()


PHOTOS = [_photo("JPEG"), _photo("PNG")]
schemathesis.openapi.format("binary", st.sampled_from(PHOTOS))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(photo).decode() for photo in PHOTOS]))
