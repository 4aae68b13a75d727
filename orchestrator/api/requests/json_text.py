"""Reads JSON by the rules of JSON Schema, which differ from msgspec's where clients write numbers in another way."""

from __future__ import annotations

import codecs
import math
import re
from decimal import Decimal
from typing import Any

import msgspec


class NotJson(ValueError):
    """The text is not JSON in UTF-8."""


def decode_json(text: bytes) -> Any:
    """The value of ``text``: JSON in UTF-8, which may begin with a byte order mark. Raises NotJson.

    A whole number is an int however it is written (42, 42.0, 4.2e1), as in JSON Schema. A number too large for a float
    becomes infinite, so that the caller can name the member that contains it.
    """
    try:
        return _decode(text.removeprefix(codecs.BOM_UTF8))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NotJson("not JSON in UTF-8") from None


def complaint(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong, and the name of the member, or ``body``. msgspec says both: "Expected `int` - at `$.size`"."""
    sentence, _, place = str(error).partition(" - at ")
    member = re.search(r"\$\.(\w+)", place) or re.search(r"field `(\w+)`", sentence)
    return sentence, member[1] if member else "body"


def _number(literal: str) -> int | float:
    """The value of a literal that has a fraction or an exponent."""
    value = float(literal)
    if not math.isfinite(value) or not value.is_integer():
        return value
    # Not int(value), because above 2**53 a float may differ from the number that was written.
    exact = Decimal(literal) if value else Decimal(0)
    whole = exact.to_integral_value()
    return int(whole) if whole == exact else value


_decode = msgspec.json.Decoder(float_hook=_number).decode
