"""Decodes the user's ``preferences`` from HTTP and checks them by their declaration in the domain.

null is the same as leaving a member out.
"""

from __future__ import annotations

import codecs
import math
from typing import Any

import msgspec

from orchestrator.api.requests.json_text import NotJson, decode_json
from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.preferences import MAX_COLOUR_LENGTH, MAX_COLOURS, PREFERENCES, Preferences

PALETTE_TEXT = f"^[^,]{{0,{MAX_COLOUR_LENGTH}}}(,[^,]{{0,{MAX_COLOUR_LENGTH}}}){{0,{MAX_COLOURS - 1}}}$"
"""A palette as one string: colours separated by commas."""


def decode_preferences(text: bytes) -> Preferences:
    """The preferences in a JSON object (empty text = none); see :func:`decode_json` for what counts as JSON.

    Raises Problem 422 ``invalid_preferences``, whose field names the member.
    """
    if not text.removeprefix(codecs.BOM_UTF8).strip():
        return Preferences()
    try:
        members = decode_json(text)
    except NotJson:
        raise _invalid("preferences must be JSON in UTF-8") from None
    return to_preferences(members)


def to_preferences(members: Any) -> Preferences:
    """The preferences in a JSON object that :func:`decode_json` has decoded. Raises as :func:`decode_preferences`."""
    if not isinstance(members, dict):
        raise _invalid("preferences must be a JSON object")
    return Preferences(**{name: _member(name, value) for name, value in members.items() if value is not None})


def _member(name: str, value: Any) -> Any:
    if name not in PREFERENCES:
        known = ", ".join(PREFERENCES)
        raise _invalid(f"there is no such preference; there are {known}", name[:100])
    if isinstance(value, float) and not math.isfinite(value):
        raise _invalid("the number is too large", name)
    try:
        if name == "color_palette":
            return _colours(value)
        return msgspec.convert(value, PREFERENCES[name])
    except msgspec.ValidationError as error:
        raise _invalid(str(error), name) from None


def _colours(value: Any) -> list[str]:
    """The colours without surrounding spaces and without blank ones. Raises ValidationError."""
    listed = value.split(",") if isinstance(value, str) else value
    colours = [colour.strip() for colour in msgspec.convert(listed, PREFERENCES["color_palette"])]
    return [colour for colour in colours if colour]


def _invalid(detail: str, name: str | None = None) -> Problem:
    return Problem(
        ProblemCode.INVALID_PREFERENCES, detail, field=f"preferences.{name}" if name else "preferences"
    )
