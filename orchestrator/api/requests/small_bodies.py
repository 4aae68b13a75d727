"""Reads bodies of a few kilobytes of JSON, which need no budget of memory."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from litestar import Request

from orchestrator.api.requests.json_text import NotJson, complaint, decode_json
from orchestrator.api.requests.reading import read_body
from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode

T = TypeVar("T")

MAX_BODY_BYTES = 4096
"""For the ``request_max_body_size`` of their routes."""


async def read_json(request: Request[Any, Any, Any], kind: type[T]) -> T:
    """The body as ``kind``. Raises Problem, whose field names the member."""
    body = await read_body(request, lambda count: None)
    try:
        return msgspec.convert(decode_json(body), kind)
    except NotJson:
        detail = "the body must be a JSON object in UTF-8"
        raise Problem(ProblemCode.MALFORMED_JSON, detail, field="body") from None
    except msgspec.ValidationError as error:
        sentence, field = complaint(error)
        raise Problem(ProblemCode.INVALID_BODY, sentence, field=field) from None
