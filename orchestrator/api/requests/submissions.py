"""The body of ``POST /transform/submit-upload``: JSON that names a photo, by the key of an upload or by its URL."""

from __future__ import annotations

import base64
from typing import Any

from litestar import Request

from orchestrator.api.requests.budget import CountBytes
from orchestrator.api.requests.forms import named_photo, two_photos, unknown_field
from orchestrator.api.requests.json_text import NotJson, decode_json
from orchestrator.api.requests.preferences import to_preferences
from orchestrator.api.requests.reading import read_body
from orchestrator.api.requests.several import (
    STYLES_FIELD,
    VARIATIONS_FIELD,
    known_style,
    known_styles,
    variations,
)
from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import DEFAULT_STYLE
from orchestrator.services.styles import StyleService
from orchestrator.services.submitting.submissions import Submission

MAX_JSON_BYTES = 1024 * 1024
"""Bytes of the body. A mask may use nearly all of them: with two colours it is a small PNG at any size."""
_MEMBERS = (
    "key",
    "image_url",
    "style",
    STYLES_FIELD,
    VARIATIONS_FIELD,
    "preferences",
    "keep_mask",
    "reference",
)


async def read_upload_submission(
    request: Request[Any, Any, Any], count_bytes: CountBytes, styles: StyleService
) -> Submission:
    """The checked submission of a body whose bytes are counted with ``count_bytes``. Raises Problem, UnknownStyle."""
    return from_members(await read_json_object(request, count_bytes), styles)


async def read_json_object(request: Request[Any, Any, Any], count_bytes: CountBytes) -> dict[str, Any]:
    """The members of a body whose bytes are counted with ``count_bytes``. Raises Problem."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        detail = "the body must be application/json; a photo goes to /transform/submit, as a form"
        raise Problem(ProblemCode.UNSUPPORTED_MEDIA_TYPE, detail, field="content-type")
    try:
        members = decode_json(await read_body(request, count_bytes))
    except NotJson:
        members = None
    if not isinstance(members, dict):
        raise Problem(ProblemCode.MALFORMED_JSON, "the body must be a JSON object in UTF-8", field="body")
    return members


def from_members(members: Any, styles: StyleService) -> Submission:
    """The submission that a JSON object is. Raises Problem, UnknownStyle."""
    if not isinstance(members, dict):
        raise Problem(ProblemCode.INVALID_BODY, "a submission must be a JSON object", field="body")
    for name in members:
        if name not in _MEMBERS:
            raise unknown_field(name, _MEMBERS)
    given = [name for name in ("key", "image_url") if members.get(name) is not None]
    if len(given) > 1:
        raise two_photos(given)
    name = given[0] if given else "key"
    text, style = members.get(name), members.get("style", DEFAULT_STYLE)
    if not isinstance(text, str):
        meant = "the key of an upload" if name == "key" else "where the photo is"
        raise Problem(ProblemCode.MISSING_FILE, f"{name} must be a string: {meant}", field=name)
    if not isinstance(style, str):
        raise Problem(ProblemCode.UNKNOWN_STYLE, "style must be a string", field="style")
    preferences = to_preferences(members["preferences"]) if "preferences" in members else Preferences()
    mask, reference = (_picture(members.get(name), name) for name in ("keep_mask", "reference"))
    several: tuple[str, ...] = (known_style(style, styles),)
    if STYLES_FIELD in members:
        several = known_styles(members[STYLES_FIELD], styles)
    return Submission(
        named_photo(name, text),
        several[0],
        preferences,
        mask,
        reference,
        styles=several if len(several) > 1 else (),
        variations=variations(members.get(VARIATIONS_FIELD, 1)),
    )


def _picture(text: Any, field: str) -> bytes | None:
    """The bytes of a picture in base64; None when there is none."""
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        code = ProblemCode.INVALID_MASK if field == "keep_mask" else ProblemCode.INVALID_REFERENCE
        raise Problem(code, f"{field} must be a picture in base64", field=field) from None
