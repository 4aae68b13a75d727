"""Where results go: ``--output`` as files, checked before any work is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import click

from reroom._files import (
    is_folder,
    may_write,
    may_write_descriptor,
    named_descriptor,
    wanted_format,
    write_descriptor,
)
from reroom._pictures import FORMATS

STDOUT = "-"

output_option = click.option(
    "--output",
    "-o",
    metavar="FILE|FOLDER|-",
    help="The result: .jpg, .png or .webp. In a folder it is called after the photo and the style. "
    "{name} and {style} stand for those. - is stdout.",
)


def is_stdout(output: str) -> bool:
    """Whether the picture goes to stdout, where nothing else may go then."""
    return output == STDOUT or named_descriptor(Path(output)) == 1


def write_stdout(picture: bytes) -> None:
    """Raises OSError, BrokenPipeError among them when nobody reads on."""
    sys.stdout.flush()
    write_descriptor(sys.stdout.fileno(), picture)


def outputs_for(photos: Sequence[Path], style: str, output: str) -> list[str]:
    """A file for each photo, or STDOUT; folders are made. Raises click.BadParameter where one cannot be written."""
    several = len(photos) > 1
    if "{name}" in output or "{style}" in output:
        if several and "{name}" not in output:
            _bad("for several photos the name needs {name} in it")
        files = [output.replace("{name}", photo.stem).replace("{style}", style) for photo in photos]
    elif is_folder(output) or several:
        _make_folder(output)
        files = [os.path.join(output, f"{photo.stem}-{style}.jpg") for photo in photos]
    else:
        files = [output]
    files = list(_distinct(files))
    for photo, file in zip(photos, files, strict=True):
        check_output(file)
        if file != STDOUT and os.path.exists(file) and os.path.samefile(photo, file):
            _bad(f"{file} is the photo itself")
    return files


def check_output(output: str) -> None:
    """Raises click.BadParameter unless a picture can be written there, as far as that can be known now."""
    if output == STDOUT:
        if sys.stdout.isatty():
            _bad("a picture is nothing for a terminal: send stdout to a file or a program")
        return
    try:
        wanted_format(output)
    except ValueError as error:
        _bad(str(error))
    descriptor = named_descriptor(Path(output))
    if descriptor is not None:
        if not may_write_descriptor(descriptor):
            _bad(f"{output} is not open for writing")
        return
    # Where a link leads, for that is what will be written.
    path = Path(os.path.realpath(output))
    if not path.parent.is_dir():
        _bad(f"there is no folder {path.parent if Path(output).is_symlink() else Path(output).parent}")
    if not may_write(path if path.exists() else path.parent):
        _bad(f"{output} may not be written")


def _make_folder(output: str) -> None:
    path = Path(output)
    if output == STDOUT or path.suffix.lower() in FORMATS or (path.exists() and not path.is_dir()):
        _bad(f"several photos need a folder, or a name with {{name}} in it, not {output}")
    if not path.parent.is_dir():
        _bad(f"there is no folder {path.parent}")
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        _bad(str(error))


def _distinct(files: Iterable[str]) -> Iterable[str]:
    """Photos of the same name in different folders get different results: room.jpg, room-2.jpg, …"""
    taken: set[str] = set()
    for file in files:
        path, number = Path(file), 1
        while file in taken:
            number += 1
            file = str(path.with_stem(f"{path.stem}-{number}"))
        taken.add(file)
        yield file


def _bad(message: str) -> NoReturn:
    raise click.BadParameter(message, param_hint="--output")
