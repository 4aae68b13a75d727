"""What is not about a job: `analyze`, `styles`, `health`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from reroom._cli.common import EXIT_CODES, UNREACHABLE, client_at, common, print_json, reporting
from reroom.models import Analysis, SeenObject


@click.command(epilog=EXIT_CODES)
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder for depth.png and edges.png; made if it is missing.",
)
@common
def analyze(photo: Path, output: Path | None, url: str, as_json: bool) -> None:
    """Tell what is in PHOTO (JPEG, PNG or WebP): the kind of room, its objects, depth and edges.

    With --json, boxes are [x0, y0, x1, y1] in 0..1 of the photo, and without --output the pictures are PNG in base64.
    """
    if output and not output.parent.is_dir():
        raise click.BadParameter(f"there is no folder {output.parent}", param_hint="--output")
    with client_at(url) as client, reporting(as_json=as_json):
        seen = client.analyze(photo)
        saved = seen.save(output) if output else ()
    if as_json:
        print_json({"success": True, "data": analysis_data(seen, saved)})
    else:
        show_analysis(seen)
        for path in saved:
            click.echo(str(path))


def analysis_data(seen: Analysis, saved: tuple[Path, ...]) -> dict[str, Any]:
    """The analysis for ``--json``, with paths in place of pictures that were saved."""
    data = msgspec.structs.asdict(seen)
    for path, name in zip(saved, ("depth_png", "edges_png"), strict=False):
        data[name] = str(path)
    return data


def show_analysis(seen: Analysis) -> None:
    if seen.room_confidence > 0:
        click.echo(f"{seen.room_type.replace('_', ' ')}, {seen.room_confidence:.0%} sure")
    else:
        click.echo("no kind of room in particular")
    widest = max((len(each.label) for each in seen.objects), default=0)
    for each in seen.objects:
        click.echo(f"{each.label:<{widest}}  {each.score:4.0%}  {where(each)}")


def where(seen: SeenObject) -> str:
    """An object's place, in per cent of the photo's width from the left and of its height from the top."""
    left, top, right, bottom = (round(100 * side) for side in seen.box)
    return f"{left}–{right} % across, {top}–{bottom} % down"


@click.command(epilog=EXIT_CODES)
@common
def styles(url: str, as_json: bool) -> None:
    """List the styles."""
    with client_at(url) as client, reporting(as_json=as_json):
        names = client.styles()
    if as_json:
        print_json({"styles": names})
    else:
        for name in names:
            click.echo(name)


@click.command(epilog=EXIT_CODES)
@common
def health(url: str, as_json: bool) -> None:
    """Show how the service and its parts are; exit code 3 when a part is down."""
    with client_at(url) as client, reporting(as_json=as_json):
        found = client.health()
    if as_json:
        print_json(found)
    else:
        click.echo(found.status)
        for name, part in found.services.items():
            click.echo(f"{name}: {part.get('status', part) if isinstance(part, dict) else part}")
    if not found.healthy:
        raise SystemExit(UNREACHABLE)
