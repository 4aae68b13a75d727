"""``--output``: the files for the results, checked before anything is submitted."""

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
    help="Where to save the result: .jpg, .png or .webp. In a folder it is named after the photo and the style; "
    "{name}, {style} and {variation} in a file's name stand for these. - is stdout.",
)


def is_stdout(output: str) -> bool:
    """Whether the picture goes to stdout; nothing else may be printed there then."""
    return output == STDOUT or named_descriptor(Path(output)) == 1


def write_stdout(picture: bytes) -> None:
    """Write a picture to stdout; raises OSError: a BrokenPipeError when the reader has closed it."""
    sys.stdout.flush()
    write_descriptor(sys.stdout.fileno(), picture)


def outputs_for(
    photos: Sequence[Path], styles: Sequence[str], variations: int, output: str
) -> list[list[str]]:
    """The files for each photo's results, by style and then by variation, or STDOUT; a folder is made if it is missing.

    Raises click.BadParameter when one cannot be written.
    """
    several = {"{name}": len(photos) > 1, "{style}": len(styles) > 1, "{variation}": variations > 1}
    template = output
    if any(field in output for field in several):
        for field, is_needed in several.items():
            if is_needed and field not in output:
                what = "photos" if field == "{name}" else f"{field.strip('{}')}s"
                _reject(f"for several {what} the file's name must contain {field}")
    elif is_folder(output) or any(several.values()):
        _make_folder(output, "photos" if several["{name}"] else "pictures")
        template = os.path.join(
            output, "{name}-{style}" + ("-{variation}" if variations > 1 else "") + ".jpg"
        )
    files = [
        template.replace("{name}", photo.stem)
        .replace("{style}", style)
        .replace("{variation}", str(variation))
        for photo in photos
        for style in styles
        for variation in range(1, variations + 1)
    ]
    files, each = list(_distinct(files)), len(styles) * variations
    by_photo = [files[start : start + each] for start in range(0, len(files), each)]
    for photo, own in zip(photos, by_photo, strict=True):
        for file in own:
            check_output(file)
            if file != STDOUT and os.path.exists(file) and os.path.samefile(photo, file):
                _reject(f"{file} is the photo itself")
    return by_photo


def check_output(output: str) -> None:
    """Raises click.BadParameter when a picture cannot be written there, as far as that can be known beforehand."""
    if output == STDOUT:
        if sys.stdout.isatty():
            _reject("a picture cannot be shown in a terminal: redirect stdout to a file or a program")
        return
    try:
        wanted_format(output)
    except ValueError as error:
        _reject(str(error))
    descriptor = named_descriptor(Path(output))
    if descriptor is not None:
        if not may_write_descriptor(descriptor):
            _reject(f"{output} is not open for writing")
        return
    # The target of a symbolic link is what will be written.
    path = Path(os.path.realpath(output))
    if not path.parent.is_dir():
        _reject(f"there is no folder {path.parent if Path(output).is_symlink() else Path(output).parent}")
    if not may_write(path if path.exists() else path.parent):
        _reject(f"{output} cannot be written: permission denied")


def _make_folder(output: str, what: str) -> None:
    path = Path(output)
    if output == STDOUT or path.suffix.lower() in FORMATS or (path.exists() and not path.is_dir()):
        field = "{name}" if what == "photos" else "{style} or {variation}"
        _reject(f"several {what} need a folder, or a file's name with {field}, not {output}")
    if not path.parent.is_dir():
        _reject(f"there is no folder {path.parent}")
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        _reject(str(error))


def _distinct(files: Iterable[str]) -> Iterable[str]:
    """The files, numbered when photos in different folders have the same name: room.jpg, room-2.jpg, …"""
    used: set[str] = set()
    for file in files:
        path, number = Path(file), 1
        while file in used:
            number += 1
            file = str(path.with_stem(f"{path.stem}-{number}"))
        used.add(file)
        yield file


def _reject(message: str) -> NoReturn:
    raise click.BadParameter(message, param_hint="--output")
