"""Reads multipart forms as they arrive. A bad form is refused as early as possible, and nothing is written to disk.

Litestar's own form parser answers 500 to several malformed forms and writes large parts to temporary files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from litestar import Request
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from orchestrator.api.requests.budget import CountBytes
from orchestrator.api.requests.preferences import decode_preferences
from orchestrator.api.requests.reading import pieces
from orchestrator.api.requests.several import (
    STYLES_FIELD,
    VARIATIONS_FIELD,
    known_style,
    styles_text,
    variations_text,
)
from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.styles import DEFAULT_STYLE
from orchestrator.egress.urls import MAX_URL
from orchestrator.services.styles import StyleService
from orchestrator.services.submitting.submissions import PhotoUrl, Submission

FORM_OVERHEAD = 128 * 1024
"""Bytes that a form may have beside the file's own."""
_PART_HEADER_BYTES = 16 * 1024
"""Bytes of a header line of a part. It contains the file's name, which is not used and may be in any charset."""
_TEXT_LIMITS = {
    "key": 400,
    "image_url": 4 * MAX_URL,
    "style": 100,
    STYLES_FIELD: 1000,
    VARIATIONS_FIELD: 20,
    "preferences": 64 * 1024,
}


async def read_submit_form(
    request: Request[Any, Any, Any], max_file_bytes: int, count_bytes: CountBytes, styles: StyleService
) -> Submission:
    """The checked submission of a form, whose bytes are counted with ``count_bytes``. Raises Problem, UnknownStyle."""

    def check_part(name: str, part: bytearray) -> None:
        match name:
            case "style":
                known_style(_text(part), styles)
            case "styles":
                styles_text(part, styles)
            case "variations":
                variations_text(part)

    parts = await _read_parts(
        request,
        {"file": max_file_bytes, "keep_mask": max_file_bytes, "reference": max_file_bytes, **_TEXT_LIMITS},
        count_bytes,
        check_part,
    )
    preferences = decode_preferences(bytes(parts.get("preferences", b"")))
    style = known_style(_text(parts["style"]), styles) if "style" in parts else DEFAULT_STYLE
    several = styles_text(parts[STYLES_FIELD], styles) if STYLES_FIELD in parts else (style,)
    return Submission(
        _photo(parts),
        several[0],
        preferences,
        parts.get("keep_mask"),
        parts.get("reference"),
        styles=several if len(several) > 1 else (),
        variations=variations_text(parts[VARIATIONS_FIELD]) if VARIATIONS_FIELD in parts else 1,
    )


async def read_photo_form(
    request: Request[Any, Any, Any], max_file_bytes: int, count_bytes: CountBytes
) -> bytearray:
    """The bytes of ``file``, the form's only field, counted with ``count_bytes``. Raises Problem."""
    parts = await _read_parts(request, {"file": max_file_bytes}, count_bytes)
    if "file" not in parts:
        raise Problem(ProblemCode.MISSING_FILE, "the form has no field named file", field="file")
    return parts["file"]


def _photo(parts: Mapping[str, bytearray]) -> bytearray | str | PhotoUrl:
    given = [name for name in ("file", "key", "image_url") if name in parts]
    match given:
        case ["file"]:
            return parts["file"]
        case [name]:
            return named_photo(name, parts[name].decode("utf-8", "replace"))
        case []:
            detail = "the form has neither a field named file, nor the key of an upload, nor an image_url"
            raise Problem(ProblemCode.MISSING_FILE, detail, field="file")
    raise two_photos(given)


def named_photo(name: str, text: str) -> str | PhotoUrl:
    """A photo that is not sent along: ``key`` or ``image_url`` names it. Raises Problem."""
    if name != "image_url":
        return text.strip()
    if len(text) > MAX_URL:
        detail = f"the URL may have at most {MAX_URL} characters"
        raise Problem(ProblemCode.INVALID_URL, detail, field="image_url")
    return PhotoUrl(text.strip())


def two_photos(names: list[str]) -> Problem:
    """The Problem for a submission that gives its photo in several ways."""
    detail = f"send the photo in one way, not as {' and '.join(names)}"
    return Problem(ProblemCode.FILE_AND_KEY, detail, field=names[-1])


def _text(part: bytearray) -> str:
    return part.decode("utf-8-sig", "replace")


def unknown_field(name: str, known: Iterable[str]) -> Problem:
    """The Problem for a field that a submission does not have."""
    return Problem(
        ProblemCode.UNKNOWN_FIELD, f"there is no such field; there are {', '.join(known)}", field=name[:100]
    )


async def _read_parts(
    request: Request[Any, Any, Any],
    limits: Mapping[str, int],
    count_bytes: CountBytes,
    check: Callable[[str, bytearray], None] = lambda name, part: None,
) -> dict[str, bytearray]:
    """A form's parts by name. Raises Problem.

    ``limits`` has the allowed parts and the most bytes of each. ``check`` is called with each part as soon as it is
    complete. The app's ``request_max_body_size`` limits the whole body.
    """
    parser = PushMultipartParser(
        _boundary(request),
        max_segment_count=2 * len(limits),
        max_header_size=_PART_HEADER_BYTES,
        # Every byte is a character of Latin-1, so a file's name in any charset can be read.
        header_charset="latin-1",
    )
    form = _Form(limits, check)
    gone = _malformed("the connection ended before the form did")
    try:
        async with aclosing(pieces(request, count_bytes, gone)) as body:
            async for chunk in body:
                for event in parser.parse(chunk) if chunk else ():
                    form.feed(event)
        parser.close()
    except MultipartError as error:
        raise _malformed(str(error.args[0])) from None
    return form.parts


class _Form:
    """Collects the parts and refuses unexpected ones at once."""

    def __init__(self, limits: Mapping[str, int], check: Callable[[str, bytearray], None]) -> None:
        self._limits, self._check = limits, check
        self.parts: dict[str, bytearray] = {}
        self._current = ""

    def feed(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin((event.name or "").encode("latin-1").decode("utf-8", "replace"))
        elif event is not None:
            part = self.parts[self._current]
            if len(part) + len(event) > self._limits[self._current]:
                limit = f"{self._current} may have at most {self._limits[self._current]} bytes"
                raise Problem(ProblemCode.BODY_TOO_LARGE, limit, field=self._current)
            part += event
        else:
            self._check(self._current, self.parts[self._current])

    def _begin(self, name: str) -> None:
        if name not in self._limits:
            raise unknown_field(name, self._limits)
        if name in self.parts:
            raise Problem(ProblemCode.DUPLICATE_FIELD, "the field may be sent only once", field=name)
        self.parts[name] = bytearray()
        self._current = name


def _boundary(request: Request[Any, Any, Any]) -> str:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != "multipart/form-data":
        raise Problem(
            ProblemCode.UNSUPPORTED_MEDIA_TYPE, "the body must be multipart/form-data", field="content-type"
        )
    boundary = str(options.get("boundary", ""))
    # RFC 2046 gives a boundary at most 70 characters.
    if not 1 <= len(boundary) <= 70 or not boundary.isascii() or not boundary.isprintable():
        raise _malformed("the Content-Type has no usable boundary")
    return boundary


def _malformed(detail: str) -> Problem:
    return Problem(ProblemCode.MALFORMED_FORM, detail, field="body")
