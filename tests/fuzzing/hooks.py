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


@schemathesis.hook
def filter_body(context: schemathesis.HookContext, body: object) -> bool:
    """A form has no way to send a null or an empty list: a wrong member with such a value would not be sent at all, and
    the rest is right."""
    if not isinstance(body, dict) or "file" not in body:
        return True
    return not any(value is None or value == [] for value in body.values())
