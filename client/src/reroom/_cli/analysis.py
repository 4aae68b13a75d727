"""`analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from reroom._cli.common import print_json, service_command
from reroom._sync import Client
from reroom.models import Analysis, SeenObject


@service_command
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder for depth.png and edges.png; made if it is missing.",
)
def analyze(client: Client, photo: Path, output: Path | None, as_json: bool) -> None:
    """Show what is in PHOTO: type of room, objects, depth and edges.

    PHOTO is a JPEG, PNG, WebP, HEIC or AVIF file. With --json, boxes are [x0, y0, x1, y1] in 0..1 of the photo, and
    the pictures are PNG files in base64, or their paths with --output.
    """
    if output and not output.parent.is_dir():
        raise click.BadParameter(f"there is no folder {output.parent}", param_hint="--output")
    found = client.analyze(photo)
    saved = found.save(output) if output else ()
    if as_json:
        print_json({"success": True, "data": analysis_data(found, saved)})
    else:
        print_analysis(found)
        for path in saved:
            click.echo(str(path))


def analysis_data(found: Analysis, saved: tuple[Path, ...]) -> dict[str, Any]:
    """The analysis for ``--json``; pictures that were saved are replaced by their paths."""
    data = msgspec.structs.asdict(found)
    for path, name in zip(saved, ("depth_png", "edges_png"), strict=False):
        data[name] = str(path)
    return data


def print_analysis(found: Analysis) -> None:
    if found.room_confidence > 0:
        click.echo(f"{found.room_type.replace('_', ' ')}, {found.room_confidence:.0%} sure")
    else:
        click.echo("no kind of room in particular")
    # Names of objects can be given to `restyle --keep`; an older service has labels only.
    widest = max((len(each.name or each.label) for each in found.objects), default=0)
    for each in found.objects:
        click.echo(f"{each.name or each.label:<{widest}}  {each.score:4.0%}  {position(each)}")


def position(found: SeenObject) -> str:
    """Where an object is, in per cent of the photo's width from the left and of its height from the top."""
    left, top, right, bottom = (round(100 * side) for side in found.box)
    return f"{left}–{right} % across, {top}–{bottom} % down"
