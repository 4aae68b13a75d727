"""`restyle`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from reroom._cli.batch import Batch, PhotoJob, common_exit_code
from reroom._cli.common import (
    EXIT_CODES,
    OK,
    client_at,
    common_options,
    print_json,
    reporting_errors,
    stderr,
    timeout_option,
)
from reroom._cli.display import display
from reroom._cli.options import CommandWithFields, options_from
from reroom._cli.outputs import is_stdout, output_option, outputs_for
from reroom.models import Preferences

STYLES_AT_ONCE = 8
"""How many styles a service takes in one submission."""

EXAMPLES = """\b
Examples:
  reroom restyle room.jpg --style boho -o result.png
  reroom restyle kitchen.jpg hall.jpg --style boho -o results/
  reroom restyle *.jpg -o 'results/{name}-{style}.webp'
  reroom restyle room.jpg --style boho,japandi --variations 2 -o results/
  reroom restyle room.jpg --style all -o results/
  reroom restyle room.jpg --keep window --keep sofa#2 --lossless png -o room.png
  reroom restyle room.jpg --palette 'sage green' --reference hotel.jpg -o result.jpg
  reroom restyle room.jpg -o - | display
  reroom watch $(reroom restyle room.jpg --detach)

"""


@click.command(cls=CommandWithFields, epilog=EXAMPLES + EXIT_CODES)
@click.argument(
    "photos",
    metavar="PHOTO...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--style",
    default="modern",
    show_default=True,
    metavar="STYLE[,STYLE...]|all",
    help="The new style, or several; `reroom styles` lists them.",
)
@click.option(
    "--variations",
    type=click.IntRange(1, 4),
    default=1,
    show_default=True,
    metavar="N",
    help="How many pictures to make of each style. With --seed, they have it and those that follow.",
)
@output_option
@options_from(Preferences, {"color_palette": "--palette"})
@click.option(
    "--keep-mask",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A picture of the photo's shape: what is light in it stays as photographed. For one PHOTO.",
)
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A picture whose colours and contrasts are wanted.",
)
@timeout_option
@click.option("--detach", is_flag=True, help="Only submit: print the jobs' ids and do not wait.")
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="How many photos are restyled at a time.",
)
@common_options
def restyle(
    photos: tuple[Path, ...],
    style: str,
    variations: int,
    output: str | None,
    keep_mask: Path | None,
    reference: Path | None,
    timeout: float | None,
    detach: bool,
    at_once: int,
    url: str,
    api_key: str | None,
    as_json: bool,
    **preferences: Any,
) -> None:
    """Restyle each PHOTO and save the result.

    PHOTO is a JPEG, PNG, WebP, HEIC or AVIF file. Progress and warnings go to stderr. Ctrl-C cancels the jobs. After
    --timeout a job goes on: `reroom status`, `watch` and `download` take its id.
    """
    if keep_mask is not None and len(photos) > 1:
        raise click.UsageError("--keep-mask goes with one PHOTO.")
    client_at(url, api_key).close()  # refuses what is not a URL
    with reporting_errors(as_json=as_json), display(stderr) as display_for:
        styles = _styles(style, url, api_key)
        photo_jobs = _photo_jobs(photos, styles, variations, output, timeout, detach=detach, as_json=as_json)
        batch = Batch(
            url,
            api_key,
            Preferences(**preferences),
            keep_mask=keep_mask,
            reference=reference,
            timeout=timeout,
            at_once=at_once,
            display_for=display_for,
            quiet=as_json,
        )
        outcomes = asyncio.run(batch.run(photo_jobs))
    code = common_exit_code(outcomes)
    if as_json:
        data = [outcome.data() for outcome in outcomes]
        print_json(data[0] if len(data) == 1 else {"success": code == OK, "exit_code": code, "results": data})
    raise SystemExit(code)


def _styles(text: str, url: str, api_key: str | None) -> list[str]:
    """The names in ``--style``, each once. Raises click.UsageError, and ReroomError when the service is asked."""
    if text.strip().lower() == "all":
        with client_at(url, api_key) as client:
            return [style.name for style in client.styles() if style.in_plan]
    found = list(dict.fromkeys(name for part in text.split(",") if (name := part.strip().lower())))
    if not found:
        raise click.UsageError("--style has no name in it.")
    return found


def _photo_jobs(
    photos: tuple[Path, ...],
    styles: list[str],
    variations: int,
    output: str | None,
    timeout: float | None,
    *,
    detach: bool,
    as_json: bool,
) -> list[PhotoJob]:
    """Raises click.UsageError when options exclude each other."""
    if detach:
        if output is not None or timeout is not None:
            raise click.UsageError("--detach does not wait: give --output to `reroom download` instead.")
        return [
            PhotoJob(photo, tuple(some), variations, None) for photo in photos for some in _at_once(styles)
        ]
    if output is None:
        raise click.UsageError("Missing option '--output' / '-o' (or --detach).")
    if as_json and is_stdout(output):
        raise click.UsageError("--json and the picture cannot both go to stdout.")
    jobs = []
    for photo, files in zip(photos, outputs_for(photos, styles, variations, output), strict=True):
        left = iter(files)
        for some in _at_once(styles):
            own = tuple(islice(left, len(some) * variations))
            jobs.append(PhotoJob(photo, tuple(some), variations, own))
    return jobs


def _at_once(styles: list[str]) -> Iterator[list[str]]:
    """The styles, as many together as one submission may have."""
    for start in range(0, len(styles), STYLES_AT_ONCE):
        yield styles[start : start + STYLES_AT_ONCE]
