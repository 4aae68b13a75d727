"""The multipart form of a submission, read as it streams in: refused as early as can be, never on disk.

Litestar's own form parser answers 500 to several malformed forms and spools parts to temporary files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from orchestrator.api.errors import RETRY_AFTER, Problem
from orchestrator.api.preferences import decode_preferences
from orchestrator.jobs.models import Preferences
from orchestrator.styles import DEFAULT_STYLE, STYLES

FORM_OVERHEAD = 128 * 1024
"""What a form may hold beside the file's own bytes."""
READ_SECONDS = 300
_TEXT_LIMITS = {"key": 100, "style": 100, "preferences": 64 * 1024}
_FIELDS = ("file", *_TEXT_LIMITS)


class SubmitForm(msgspec.Struct, frozen=True):
    photo: bytearray | str
    """Its bytes, or the key that it was uploaded under before."""
    style: str
    preferences: Preferences


class UploadBudget:
    """Bounds the bytes of uploads that this process holds in memory, over all requests."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """Gives a function that takes so many bytes, or raises Problem; at the end all are given back."""
        held = 0

        def take(count: int) -> None:
            nonlocal held
            if count > self._left:
                detail = "too many uploads at once; try again soon"
                raise Problem(503, "unavailable", detail, headers=RETRY_AFTER)
            self._left -= count
            held += count

        try:
            yield take
        finally:
            self._left += held


async def read_submit_form(
    request: Request[Any, Any, Any], max_file_bytes: int, take: Callable[[int], None]
) -> SubmitForm:
    """The checked form, its bytes counted with ``take`` (see UploadBudget); raises Problem.

    The whole body's limit is the app's ``request_max_body_size``.
    """
    parser = PushMultipartParser(_boundary(request), max_segment_count=2 * len(_FIELDS))
    form = _Form(max_file_bytes)
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in request.stream():
                take(len(chunk))
                for event in parser.parse(chunk) if chunk else ():
                    form.feed(event)
        parser.close()
    except TimeoutError:
        raise Problem(408, "upload_too_slow", f"the upload took more than {READ_SECONDS} s") from None
    except MultipartError as error:
        raise _malformed(str(error.args[0])) from None
    except InternalServerException:
        # Litestar's name for a client that went away; nobody reads this answer.
        raise _malformed("the connection ended before the form did") from None
    return form.finish()


class _Form:
    """Collects the parts, and refuses what should not be there as soon as it shows."""

    def __init__(self, max_file_bytes: int) -> None:
        self._limits = {"file": max_file_bytes, **_TEXT_LIMITS}
        self._parts: dict[str, bytearray] = {}
        self._current = ""

    def feed(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event.name or "")
        elif event is not None:
            part = self._parts[self._current]
            if len(part) + len(event) > self._limits[self._current]:
                limit = f"{self._current} may have at most {self._limits[self._current]} bytes"
                raise Problem(413, "body_too_large", limit, field=self._current)
            part += event
        elif self._current == "style":
            self._style()

    def _begin(self, name: str) -> None:
        if name not in self._limits:
            fields = ", ".join(_FIELDS)
            raise Problem(
                422, "unknown_field", f"there is no such field; there are {fields}", field=name[:100]
            )
        if name in self._parts:
            raise Problem(422, "duplicate_field", "the field may be sent only once", field=name)
        self._parts[name] = bytearray()
        self._current = name

    def finish(self) -> SubmitForm:
        photo: bytearray | str
        match self._parts:
            case {"file": _, "key": _}:
                raise Problem(422, "file_and_key", "send the photo as file or by key, not both", field="key")
            case {"file": file}:
                photo = file
            case {"key": key}:
                photo = key.decode("utf-8", "replace").strip()
            case _:
                detail = "the form has neither a field named file nor the key of an upload"
                raise Problem(422, "missing_file", detail, field="file")
        preferences = decode_preferences(bytes(self._parts.get("preferences", b"")))
        return SubmitForm(photo, self._style(), preferences)

    def _style(self) -> str:
        style = self._parts.get("style", b"").decode("utf-8", "replace").strip() or DEFAULT_STYLE
        if style not in STYLES:
            known = ", ".join(STYLES)
            raise Problem(422, "unknown_style", f"there is no such style; there are {known}", field="style")
        return style


def _boundary(request: Request[Any, Any, Any]) -> str:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != "multipart/form-data":
        raise Problem(
            415, "unsupported_media_type", "the body must be multipart/form-data", field="content-type"
        )
    boundary = str(options.get("boundary", ""))
    # RFC 2046 gives a boundary at most 70 characters.
    if not 1 <= len(boundary) <= 70 or not boundary.isascii() or not boundary.isprintable():
        raise _malformed("the Content-Type has no usable boundary")
    return boundary


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed_form", detail, field="body")
