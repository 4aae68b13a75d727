"""Commands about the service: `styles`, `health`."""

from __future__ import annotations

import click

from reroom._cli.common import UNREACHABLE, print_json, service_command
from reroom._sync import Client


@service_command
def styles(client: Client, as_json: bool) -> None:
    """List the styles: the name, the title, and the rooms that it suits best.

    Those that your plan does not include are left out; --json shows everything about each.
    """
    found = client.styles()
    if as_json:
        print_json({"styles": found})
        return
    width = max((len(style.name) for style in found), default=0)
    for style in found:
        if style.in_plan:
            rooms = f"  ({', '.join(style.rooms)})" if style.rooms else ""
            click.echo(f"{style.name:{width}}  {style.title}{rooms}")


@service_command
def health(client: Client, as_json: bool) -> None:
    """Show whether the service and its parts work.

    The exit code is 3 when a part does not.
    """
    found = client.health()
    if as_json:
        print_json(found)
    else:
        click.echo(found.status)
        for name, part in found.services.items():
            click.echo(f"{name}: {part.get('status', part) if isinstance(part, dict) else part}")
    if not found.healthy:
        raise SystemExit(UNREACHABLE)
