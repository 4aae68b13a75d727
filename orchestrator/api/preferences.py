"""The user's ``preferences``: decoded, and every range checked, here and nowhere else."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from orchestrator.api.errors import Problem
from orchestrator.jobs.models import Preferences

_Colour = Annotated[str, Meta(min_length=1, max_length=40)]
PREFERENCES: dict[str, Any] = {
    "keep_furniture": bool,
    "color_palette": Annotated[list[_Colour], Meta(max_length=8)],
    "prompt": Annotated[str, Meta(max_length=1000)],
    "negative_prompt": Annotated[str, Meta(max_length=1000)],
    "seed": Annotated[int, Meta(ge=0, le=2**63 - 1)],
    "steps": Annotated[int, Meta(ge=1, le=100)],
    "strength": Annotated[float, Meta(gt=0, le=1)],
    "guidance_scale": Annotated[float, Meta(ge=0, le=30)],
    "preview_every": Annotated[int, Meta(ge=0, le=100)],
}
"""A member's type and limits. null is the same as leaving the member out."""


def decode_preferences(text: bytes) -> Preferences:
    """The preferences in a JSON object (empty text = none).

    Raises Problem 422 ``invalid_preferences``, whose field names the member.
    """
    if not text.strip():
        return Preferences()
    try:
        members = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("preferences must be JSON in UTF-8") from None
    if not isinstance(members, dict):
        raise _invalid("preferences must be a JSON object")
    return Preferences(**{name: _member(name, value) for name, value in members.items() if value is not None})


def _member(name: str, value: Any) -> Any:
    if name not in PREFERENCES:
        known = ", ".join(PREFERENCES)
        raise _invalid(f"there is no such preference; there are {known}", name[:100])
    if name == "color_palette":
        value = _colours(value)
    try:
        converted = msgspec.convert(value, PREFERENCES[name])
    except msgspec.ValidationError as error:
        raise _invalid(str(error), name) from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise _invalid("must be a finite number", name)
    return converted


def _colours(value: Any) -> Any:
    """Items without the spaces around them; one string holds them separated by commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list):
        return [part.strip() if isinstance(part, str) else part for part in value]
    return value


def _invalid(detail: str, name: str | None = None) -> Problem:
    return Problem(422, "invalid_preferences", detail, field=f"preferences.{name}" if name else "preferences")
