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


class AreaOfPhoto(click.ParamType[Any]):
    """A word for things in the photo, or a box as four numbers with commas."""

    name = "word or box"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "THING|X0,Y0,X1,Y1"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or "," not in value:
            return value
        try:
            box = [float(side) for side in value.split(",")]
        except ValueError:
            box = []
        if len(box) != 4:
            self.fail(f"{value!r} is neither a word nor a box as in 0.1,0.2,0.5,0.9.", param, ctx)
        return box


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
    """A decorator that gives a click command one option for each field, with the field's type, limits and description.

    The command's parameters are called as the fields are. The option of ``guidance_scale`` is ``--guidance-scale``, or
    what ``names`` has for the field, dashes included. A bool becomes a flag, a list an option that may be repeated.
    Raises TypeError for a field whose type has no option.
    """

    def decorate(command: F) -> F:
        for field in reversed(msgspec.structs.fields(struct)):
            name = names.get(field.name, "--" + field.name.replace("_", "-"))
            command = click.option(name, field.name, cls=FieldOption, **_settings(field))(command)
        return command

    return decorate


def _settings(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    def check(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        """All limits of the field; those of numbers are also in the option's type, for the help."""
        try:
            return msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            raise click.BadParameter(f"{error}.") from error

    kind, text = _unwrapped(inspect.type_info(field.type))
    settings: dict[str, Any] = {"help": text, "callback": check}
    if isinstance(kind, inspect.BoolType):
        return settings | {"is_flag": True}
    if isinstance(kind, inspect.ListType):
        several = f"{text} May be given {f'up to {kind.max_length}' if kind.max_length else 'several'} times."
        return settings | {
            "help": several,
            "multiple": True,
            "type": _param_type(_unwrapped(kind.item_type)[0]),
        }
    shown = "the service's choice" if field.default is None else field.default not in ("", msgspec.NODEFAULT)
    return settings | {"default": field.default, "show_default": shown, "type": _param_type(kind)}


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
        case inspect.StrType():
            return click.STRING
        case inspect.UnionType(types=(inspect.Metadata(type=inspect.StrType()) | inspect.StrType(), _)):
            return AreaOfPhoto()
        case _:
            raise TypeError(f"no option can be made for {kind}")
