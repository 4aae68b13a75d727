"""The styles, read from ``styles.toml`` beside this file: data, not code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

DEFAULT_STYLE = "modern"

NAME = "^[a-z0-9][a-z0-9_-]{0,39}$"
"""What the name of a style looks like."""

OWN_PREFIX = "my-"
"""What the names of the styles begin with that callers make for themselves; no style of the service's does."""

OWN_NAME = "^my-[a-z0-9][a-z0-9_-]{0,36}$"

OWN = "custom"
"""What all of those count as together, in metrics, usage and plans: their names may be anything."""

MAX_WORDS = 600
"""Characters of a style's prompt, which stands in a request beside the user's."""

RoomType = Literal["living room", "bedroom", "dining room", "kitchen", "bathroom", "office"]
"""The kinds of rooms that analyses name, without ``unknown``."""
Color = Annotated[str, Meta(pattern="^#[0-9a-f]{6}$")]


class StyleWords(msgspec.Struct, frozen=True, kw_only=True):
    """What a style says to the model, and what a job takes along from its submission. They follow the user's words in
    the prompt."""

    prompt: str
    negative_prompt: str = ""


class Style(StyleWords, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A style."""

    prompt: Annotated[str, Meta(min_length=1, max_length=MAX_WORDS)]
    negative_prompt: Annotated[str, Meta(max_length=MAX_WORDS)] = ""
    title: Annotated[str, Meta(min_length=1, max_length=60)]
    rooms: list[RoomType] = []
    """The rooms that it suits best; none: any."""
    colors: Annotated[list[Color], Meta(max_length=8)] = []
    """What it is known by, as sRGB ``#rrggbb``: for pages that show it. The model gets words alone."""
    offered: bool = True
    """Whether it can be chosen. A file takes a style of this version's away with False."""

    @property
    def words(self) -> StyleWords:
        return StyleWords(prompt=self.prompt, negative_prompt=self.negative_prompt)


class StylesError(Exception):
    """A file of styles cannot be used. The message says where, and what is wrong, in one sentence."""


def load_styles(path: Path, base: Mapping[str, Style] | None = None) -> Mapping[str, Style]:
    """Styles by name, in the file's order, as :func:`parse_styles` reads them. Raises StylesError."""
    try:
        return parse_styles(path.read_text(), base)
    except StylesError as error:
        raise StylesError(f"{path}: {error}") from None
    except OSError as error:
        raise StylesError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise StylesError(f"{path} is not a text in UTF-8") from None


def parse_styles(text: str, base: Mapping[str, Style] | None = None) -> Mapping[str, Style]:
    """The styles of ``base`` and those of the tables in TOML, by name. A table of a name that is there already says
    only what differs. Raises StylesError."""
    try:
        tables = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise StylesError(f"this is not TOML: {error}") from None
    styles = dict(base or {})
    for name, table in tables.items():
        styles[name] = _style(name, table, styles.get(name))
    offered = {name: style for name, style in styles.items() if style.offered}
    if base is not None and DEFAULT_STYLE not in offered:
        raise StylesError(f"{DEFAULT_STYLE} is what jobs get that name no style: it must be offered")
    return MappingProxyType(offered)


def _style(name: str, table: object, before: Style | None) -> Style:
    if not re.fullmatch(NAME, name) or name == OWN:
        said = f"it has 1 to 40 of a-z, 0-9, _ and -, and is not {OWN}"
        raise StylesError(f"{name!r} is no name of a style: {said}")
    if name.startswith(OWN_PREFIX):
        raise StylesError(f"{name}: only styles that callers make for themselves begin with {OWN_PREFIX}")
    if not isinstance(table, dict):
        raise StylesError(f"{name} stands outside of a style: begin the style with a line such as [art-deco]")
    try:
        return msgspec.convert(({} if before is None else msgspec.to_builtins(before)) | table, Style)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at `$")
        raise StylesError(f"{name}{place.rstrip('`')}: {sentence}") from None


def counted_as(style: str) -> str:
    """The style's name where its jobs are counted by style, which must be few."""
    return OWN if style.startswith(OWN_PREFIX) else style


BUILT_IN = Path(__file__).with_name("styles.toml")
STYLES: Mapping[str, Style] = load_styles(BUILT_IN)
"""Those that come with this version."""
