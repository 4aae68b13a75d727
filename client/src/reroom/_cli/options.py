"""Options of a command that are made from the fields of a msgspec struct."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import msgspec
from msgspec import inspect

F = TypeVar("F", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A finite number within a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


class Text(click.types.StringParamType):
    """A text of at most ``max_length`` characters; None = of any length."""

    def __init__(self, max_length: int | None) -> None:
        self._max_length = max_length

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(super().convert(value, param, ctx))
        if self._max_length is not None and len(text) > self._max_length:
            self.fail(f"{len(text)} characters are more than {self._max_length}.", param, ctx)
        return text


class FieldOption(click.Option):
    """An option that was made from a field."""


class CommandWithFields(click.Command):
    """A command whose help lists the options that were made from fields under a heading of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        for heading, of_fields in (("Options", False), ("Preferences", True)):
            listed = [each for each in options if isinstance(each, FieldOption) is of_fields]
            with formatter.section(heading):
                formatter.write_dl([row for each in listed if (row := each.get_help_record(ctx))])


def options_from(struct: type[msgspec.Struct], names: Mapping[str, str]) -> Callable[[F], F]:
    """A decorator that gives a command an option for every field, with the field's type, limits and description.

    ``guidance_scale`` becomes ``--guidance-scale`` unless ``names`` has another name for the field. A bool is a flag, a
    list an option that may be repeated; each calls the command with the field's name. Raises TypeError for a field of a
    type that has no option.
    """

    def decorate(command: F) -> F:
        fields = inspect.type_info(struct).fields  # type: ignore[attr-defined]
        for field in reversed(fields):
            name = names.get(field.name, "--" + field.name.replace("_", "-"))
            command = click.option(name, field.name, cls=FieldOption, **_settings(field))(command)
        return command

    return decorate


def _settings(field: inspect.Field) -> dict[str, Any]:
    kind, text = _unwrapped(field.type)
    if isinstance(kind, inspect.BoolType):
        return {"is_flag": True, "help": text}
    if isinstance(kind, inspect.ListType):
        most = kind.max_length
        return {
            "type": _param_type(_unwrapped(kind.item_type)[0]),
            "multiple": True,
            "callback": lambda ctx, param, values: _listed(values, most),
            "help": f"{text} May be given {'several' if most is None else f'up to {most}'} times.",
        }
    by_service = field.default is None
    shown = "the service's choice" if by_service else field.default not in ("", msgspec.NODEFAULT)
    return {"type": _param_type(kind), "default": field.default, "show_default": shown, "help": text}


def _unwrapped(kind: inspect.Type) -> tuple[inspect.Type, str]:
    """A type without its description and without None; its description, or ""."""
    match kind:
        case inspect.Metadata(type=inner, extra_json_schema=schema):
            return _unwrapped(inner)[0], (schema or {}).get("description", "")
        case inspect.UnionType(types=(inner, inspect.NoneType())):
            return _unwrapped(inner)
        case _:
            return kind, ""


def _param_type(kind: inspect.Type) -> click.ParamType[Any]:
    match kind:
        case inspect.IntType(ge=least, le=most):
            return click.IntRange(least, most)
        case inspect.FloatType(ge=least, le=most):
            return Finite(least, most)
        case inspect.LiteralType(values=values):
            return click.Choice(values)
        case inspect.StrType(max_length=most):
            return Text(most)
        case _:
            raise TypeError(f"no option can be made for {kind}")


def _listed(values: tuple[Any, ...], most: int | None) -> list[Any]:
    if most is not None and len(values) > most:
        raise click.BadParameter(f"{len(values)} are more than {most}.")
    return list(values)
