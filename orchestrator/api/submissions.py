"""The body of ``POST /transform/submit-upload``: JSON with the key of a photo that is in storage already."""

from __future__ import annotations

import base64
from typing import Any

from litestar import Request

from orchestrator.api.budget import CountBytes
from orchestrator.api.errors import Problem
from orchestrator.api.forms import unknown_field
from orchestrator.api.json_text import NotJson, decode_json
from orchestrator.api.preferences import to_preferences
from orchestrator.api.reading import read_body
from orchestrator.api.several import STYLES_FIELD, VARIATIONS_FIELD, known_style, known_styles, variations
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import DEFAULT_STYLE
from orchestrator.services.styles import StyleService
from orchestrator.services.submissions import Submission

MAX_JSON_BYTES = 1024 * 1024
"""Bytes of the body. A mask may use nearly all of them: with two colours it is a small PNG at any size."""
_MEMBERS = ("key", "style", STYLES_FIELD, VARIATIONS_FIELD, "preferences", "keep_mask")


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
    key, style = members.get("key"), members.get("style", DEFAULT_STYLE)
    if not isinstance(key, str):
        raise Problem(ProblemCode.MISSING_FILE, "key must be a string: the key of an upload", field="key")
    if not isinstance(style, str):
        raise Problem(ProblemCode.UNKNOWN_STYLE, "style must be a string", field="style")
    preferences = to_preferences(members["preferences"]) if "preferences" in members else Preferences()
    several = known_styles(members.get(STYLES_FIELD), styles) or (known_style(style, styles),)
    return Submission(
        key.strip(),
        several[0],
        preferences,
        _mask(members.get("keep_mask")),
        styles=several if len(several) > 1 else (),
        variations=variations(members.get(VARIATIONS_FIELD)),
    )


def _mask(text: Any) -> bytes | None:
    """The bytes of a picture in base64; None when there is none."""
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise Problem(
            ProblemCode.INVALID_MASK, "keep_mask must be a picture in base64", field="keep_mask"
        ) from None
