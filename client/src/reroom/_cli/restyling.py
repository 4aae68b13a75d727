"""`restyle`."""

from __future__ import annotations

import asyncio
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

EXAMPLES = """\b
Examples:
  reroom restyle room.jpg --style boho -o result.png
  reroom restyle kitchen.jpg hall.jpg --style boho -o results/
  reroom restyle *.jpg -o 'results/{name}-{style}.webp'
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
    "--style", default="modern", show_default=True, help="The new style; `reroom styles` lists them."
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
    photo_jobs = _photo_jobs(photos, style, output, timeout, detach=detach, as_json=as_json)
    with reporting_errors(as_json=as_json), display(stderr) as display_for:
        batch = Batch(
            url,
            api_key,
            style,
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


def _photo_jobs(
    photos: tuple[Path, ...],
    style: str,
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
        return [PhotoJob(photo, None) for photo in photos]
    if output is None:
        raise click.UsageError("Missing option '--output' / '-o' (or --detach).")
    if as_json and is_stdout(output):
        raise click.UsageError("--json and the picture cannot both go to stdout.")
    return [PhotoJob(*pair) for pair in zip(photos, outputs_for(photos, style, output), strict=True)]
