"""The styles, read from ``styles.toml`` beside this file: data, not code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

DEFAULT_STYLE = "modern"


class Style(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A style. Its words follow the user's in the prompt."""

    title: str
    prompt: str
    negative_prompt: str


def load_styles(path: Path) -> Mapping[str, Style]:
    """Styles by name, in the file's order; raises msgspec.DecodeError or ValidationError."""
    return MappingProxyType(msgspec.toml.decode(path.read_bytes(), type=dict[str, Style]))


STYLES: Mapping[str, Style] = load_styles(Path(__file__).with_name("styles.toml"))
