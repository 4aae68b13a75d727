"""`restyle`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from reroom._cli.batch import Batch, Order, code_of
from reroom._cli.common import (
    EXIT_CODES,
    OK,
    client_at,
    common,
    print_json,
    reporting,
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
@click.option("--style", default="modern", show_default=True, help="The look; see `reroom styles`.")
@output_option
@options_from(Preferences, {"color_palette": "--palette"})
@timeout_option
@click.option("--detach", is_flag=True, help="Print the jobs' ids and wait for nothing.")
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="Of several photos, so many at a time.",
)
@common
def restyle(
    photos: tuple[Path, ...],
    style: str,
    output: str | None,
    timeout: float | None,
    detach: bool,
    at_once: int,
    url: str,
    as_json: bool,
    **preferences: Any,
) -> None:
    """Restyle each PHOTO (JPEG, PNG or WebP) and save the result.

    Shows progress on stderr, and warnings about options without effect. Ctrl-C cancels the jobs. When --timeout runs
    out, a job goes on: `reroom status`, `watch` and `download` take its id.
    """
    client_at(url).close()  # is it a URL?
    orders = _orders(photos, style, output, timeout, detach=detach, as_json=as_json)
    with reporting(as_json=as_json), display(stderr) as displays:
        batch = Batch(
            url,
            style,
            Preferences(**preferences),
            timeout=timeout,
            at_once=at_once,
            display=displays,
            quiet=as_json,
        )
        outcomes = asyncio.run(batch.run(orders))
    code = code_of(outcomes)
    if as_json:
        told = [outcome.data() for outcome in outcomes]
        print_json(told[0] if len(told) == 1 else {"success": code == OK, "exit_code": code, "results": told})
    raise SystemExit(code)


def _orders(
    photos: tuple[Path, ...],
    style: str,
    output: str | None,
    timeout: float | None,
    *,
    detach: bool,
    as_json: bool,
) -> list[Order]:
    """Raises click.UsageError where the options do not go together."""
    if detach:
        if output is not None or timeout is not None:
            raise click.UsageError("--detach waits for nothing: leave --output to `reroom download`.")
        return [Order(photo, None) for photo in photos]
    if output is None:
        raise click.UsageError("Missing option '--output' / '-o' (or --detach).")
    if as_json and is_stdout(output):
        raise click.UsageError("--json and the picture cannot both go to stdout.")
    return [Order(*pair) for pair in zip(photos, outputs_for(photos, style, output), strict=True)]
