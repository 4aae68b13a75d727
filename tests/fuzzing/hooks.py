"""What schemathesis cannot know: files are photos here, and a mask has the photo's shape."""

import base64
import io
import os
import re
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _photo(format: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (96, 64), (120, 90, 60)).save(out, format)
    return out.getvalue()


PHOTOS = [_photo("JPEG"), _photo("PNG")]
# The names of styles are data: the API knows them, its description gives examples.
schemathesis.openapi.format("style", st.sampled_from(["modern", "boho", "art-deco"]))
schemathesis.openapi.format("binary", st.sampled_from(PHOTOS))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(photo).decode() for photo in PHOTOS]))

URLS = ["http://127.0.0.1:9/hook", "http://127.0.0.1:9/?a=b"]
"""Where the service may call, and nobody listens."""
schemathesis.openapi.format("uri", st.sampled_from(URLS))


@schemathesis.hook
def filter_body(context: schemathesis.HookContext, body: object) -> bool:
    """A form has no way to send a null or an empty list: a wrong member with such a value would not be sent at all, and
    the rest is right."""
    if not isinstance(body, dict) or "file" not in body:
        return True
    return not any(value is None or value == [] for value in body.values())


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, object]
) -> None:
    """Each request is one of its own: a right key that came with another request before is refused, as it should be.
    The events of a job that nobody runs never end, so they are read of one that has ended."""
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch(r'"[ !#-~]{1,255}"|[!-~]{1,255}', key):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if case.operation.path.endswith("/events") and re.fullmatch(
        "[0-9a-f]{32}", str(case.path_parameters["job_id"])
    ):
        case.path_parameters["job_id"] = os.environ["ENDED_JOB"]
