"""The fields ``styles`` and ``variations`` of a submission: several pictures of one photo."""

from __future__ import annotations

from typing import Any

from orchestrator.api.requests.json_text import NotJson, decode_json
from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.job import MAX_STYLES, MAX_VARIATIONS
from orchestrator.services.styles import StyleService, UnknownStyle

STYLES_FIELD, VARIATIONS_FIELD = "styles", "variations"


def known_style(text: str, styles: StyleService) -> str:
    """The style's name; case and surrounding spaces are ignored. Raises UnknownStyle for one that no caller has."""
    style = text.strip().lower()
    styles.check_name(style)
    return style


def styles_text(text: bytes | bytearray, styles: StyleService) -> tuple[str, ...]:
    """The styles in a field of a form: a JSON array, or names separated by commas. Raises Problem."""
    try:
        return known_styles(decode_json(bytes(text)), styles)
    except NotJson:
        return known_styles(text.decode("utf-8-sig", "replace").split(","), styles)


def known_styles(names: Any, styles: StyleService) -> tuple[str, ...]:
    """The styles of a list, each once. Raises Problem."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Problem(ProblemCode.UNKNOWN_STYLE, "styles must be a list of names", field=STYLES_FIELD)
    if not 1 <= len(names) <= MAX_STYLES:
        detail = f"one submission may have 1 to {MAX_STYLES} styles"
        raise Problem(ProblemCode.INVALID_BODY, detail, field=STYLES_FIELD)
    try:
        return tuple(dict.fromkeys(known_style(name, styles) for name in names))
    except UnknownStyle as unknown:
        raise Problem(ProblemCode.UNKNOWN_STYLE, unknown.detail, field=STYLES_FIELD) from None


def variations_text(text: bytes | bytearray) -> int:
    """The number in a field of a form. Raises Problem."""
    try:
        return variations(decode_json(bytes(text).strip()))
    except NotJson:
        return variations(text)


def variations(number: Any) -> int:
    """The number of pictures of each style. Raises Problem."""
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= MAX_VARIATIONS:
        return number
    detail = f"variations must be a whole number from 1 to {MAX_VARIATIONS}"
    raise Problem(ProblemCode.INVALID_BODY, detail, field=VARIATIONS_FIELD)
