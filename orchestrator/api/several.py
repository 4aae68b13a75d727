"""The fields ``styles`` and ``variations`` of a submission: several pictures of one photo."""

from __future__ import annotations

from typing import Any

from orchestrator.api.errors import Problem
from orchestrator.api.json_text import NotJson, decode_json
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.job import MAX_STYLES, MAX_VARIATIONS
from orchestrator.domain.styles import STYLES

STYLES_FIELD, VARIATIONS_FIELD = "styles", "variations"


def known_style(text: str, field: str = "style") -> str:
    """The style's name; case and surrounding spaces are ignored. Raises Problem for an unknown style."""
    style = text.strip().lower()
    if style not in STYLES:
        known = ", ".join(STYLES)
        raise Problem(ProblemCode.UNKNOWN_STYLE, f"there is no such style; there are {known}", field=field)
    return style


def styles_text(text: bytes | bytearray) -> tuple[str, ...]:
    """The styles in a field of a form: a JSON array, or names separated by commas. Raises Problem."""
    try:
        return known_styles(decode_json(bytes(text)))
    except NotJson:
        return known_styles(text.decode("utf-8-sig", "replace").split(","))


def known_styles(names: Any) -> tuple[str, ...]:
    """The styles of a list, each once; none of null. Raises Problem."""
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Problem(ProblemCode.UNKNOWN_STYLE, "styles must be a list of names", field=STYLES_FIELD)
    styles = tuple(dict.fromkeys(known_style(name, STYLES_FIELD) for name in names))
    if not 1 <= len(styles) <= MAX_STYLES:
        detail = f"one submission may have 1 to {MAX_STYLES} styles"
        raise Problem(ProblemCode.INVALID_BODY, detail, field=STYLES_FIELD)
    return styles


def variations_text(text: bytes | bytearray) -> int:
    """The number in a field of a form. Raises Problem."""
    try:
        return variations(decode_json(bytes(text).strip()))
    except NotJson:
        return variations(text)


def variations(number: Any) -> int:
    """The number of pictures of each style; 1 for null. Raises Problem."""
    if number is None:
        return 1
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= MAX_VARIATIONS:
        return number
    detail = f"variations must be a whole number from 1 to {MAX_VARIATIONS}"
    raise Problem(ProblemCode.INVALID_BODY, detail, field=VARIATIONS_FIELD)
