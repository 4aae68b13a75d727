"""All mistakes of a document at once: msgspec, which knows the types, stops at the first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec


def every_problem(document: Any, kind: Any) -> list[str]:
    """What keeps ``document``, of dictionaries and lists, from being a ``kind``, in msgspec's words.

    ``kind`` is a msgspec structure, whose members are converted one by one. Numbers must be finite too, which TOML does
    not ask for.
    """
    endless = list(_not_finite(document, ""))
    places = {_place(problem) for problem in endless}
    return endless + [problem for problem in _problems(document, kind, "") if _place(problem) not in places]


def _place(problem: str) -> str:
    return problem.partition(" - at ")[2]


def _problems(document: Any, kind: Any, place: str) -> list[str]:
    """``place`` is where the document stands in the whole one: "" or such as ".networks.unet"."""
    if isinstance(document, dict) and _is_struct(kind):
        return list(_members(document, kind, place))
    if isinstance(document, dict) and get_origin(kind) is dict and _is_struct(get_args(kind)[1]):
        keys, values = get_args(kind)
        return [
            problem
            for name, value in document.items()
            for problem in (
                *_problems(name, keys, f"{place} (a name)"),
                *_problems(value, values, f"{place}.{name}"),
            )
        ]
    try:
        msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        return [f"{message} - at `${place}{inner.removesuffix('`')}`"]
    return []


def _members(document: dict[str, Any], kind: Any, place: str) -> Iterator[str]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    where = f" - at `${place}`" if place else ""
    for name in document:
        if name not in fields:
            yield f"Object contains unknown field `{name}`{where}"
    for name, field in fields.items():
        if name in document:
            yield from _problems(document[name], field.type, f"{place}.{name}")
        elif field.required:
            yield f"Object missing required field `{name}`{where}"


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _not_finite(value: Any, place: str) -> Iterator[str]:
    """Floats that are infinite or no number."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"every number must be finite, not {value} - at `${place}`"
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _not_finite(member, f"{place}.{name}")
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _not_finite(member, f"{place}[{index}]")
