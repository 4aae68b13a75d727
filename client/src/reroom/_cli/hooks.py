"""Commands about endpoints for webhooks: `webhooks list`, `create`, `show`, `change`, `delete`, `rotate`, `test`,
`deliveries`."""

from __future__ import annotations

from functools import partial

import click

from reroom._cli.common import print_json, print_stderr, service_command
from reroom._sync import Client
from reroom.models import Webhook, WebhookMade

EVENTS = ("job.completed", "job.failed", "job.cancelled", "job.started")

_events = partial(click.option, "--event", "events", multiple=True, type=click.Choice(EVENTS))


@click.group()
def webhooks() -> None:
    """Manage the endpoints that are told what happens to your jobs."""


@service_command
def list_webhooks(client: Client, as_json: bool) -> None:
    """List your endpoints, the oldest first: id, state, URL, events."""
    found = client.webhooks()
    if as_json:
        print_json({"success": True, "webhooks": found})
        return
    for each in found:
        click.echo(_line(each))


@service_command
@click.argument("webhook_id", metavar="WEBHOOK")
def show(client: Client, webhook_id: str, as_json: bool) -> None:
    """Show WEBHOOK."""
    _print(client.webhook(webhook_id), as_json=as_json)


@service_command
@click.argument("endpoint", metavar="URL")
@_events(help="What it is told of; repeat for several. The three ends of a job unless said.")
@click.option("--description", default="", help="For you.")
def create(client: Client, endpoint: str, events: tuple[str, ...], description: str, as_json: bool) -> None:
    """Make an endpoint at URL, and print its secret, which is shown this once.

    The secret is on stdout, and everything else on stderr.
    """
    _print_secret(client.create_webhook(endpoint, events, description), as_json=as_json)


@service_command
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--endpoint", metavar="URL", help="Where it is.")
@_events(help="What it is told of from now on; repeat for several.")
@click.option("--description", help="For you.")
@click.option("--enable/--disable", "enabled", default=None, help="Send to it again; or nothing until then.")
def change(
    client: Client,
    webhook_id: str,
    endpoint: str | None,
    events: tuple[str, ...],
    description: str | None,
    enabled: bool | None,
    as_json: bool,
) -> None:
    """Change WEBHOOK; what is not said stays."""
    changed = client.change_webhook(
        webhook_id, url=endpoint, events=events or None, description=description, enabled=enabled
    )
    _print(changed, as_json=as_json)


@service_command
@click.argument("webhook_id", metavar="WEBHOOK")
def delete(client: Client, webhook_id: str, as_json: bool) -> None:
    """Delete WEBHOOK, and what waits for it."""
    client.delete_webhook(webhook_id)
    if as_json:
        print_json({"success": True, "id": webhook_id})
    else:
        click.echo(f"deleted {webhook_id}")


@service_command
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option(
    "--grace",
    type=click.IntRange(min=0, max=7 * 86400),
    metavar="SECONDS",
    help="How long the secret before goes on signing too; a day unless said.",
)
def rotate(client: Client, webhook_id: str, grace: int | None, as_json: bool) -> None:
    """Give WEBHOOK a new secret, and print it; it is shown this once."""
    _print_secret(client.rotate_webhook(webhook_id, grace), as_json=as_json)


@service_command
@click.argument("webhook_id", metavar="WEBHOOK")
def test(client: Client, webhook_id: str, as_json: bool) -> None:
    """Send WEBHOOK an event of the type webhook.test; `deliveries` says what became of it."""
    event = client.test_webhook(webhook_id)
    if as_json:
        print_json({"success": True, "event_id": event})
    else:
        click.echo(event)


@service_command
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most so many.")
def deliveries(client: Client, webhook_id: str, limit: int, as_json: bool) -> None:
    """List what became of the last events for WEBHOOK: time, what became of it, type, job, tries, last answer."""
    found = client.deliveries(webhook_id, limit)
    if as_json:
        print_json({"success": True, "deliveries": found})
        return
    for each in found:
        time = each.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        said = f"  ({each.last_answer})" if each.last_answer else ""
        job = each.job_id or "-"
        click.echo(f"{time}  {each.status:9}  {each.type:13}  {job:32}  tries: {each.tries}{said}")


for name, command in {
    "list": list_webhooks, "show": show, "create": create, "change": change, "delete": delete, "rotate": rotate,
    "test": test, "deliveries": deliveries,
}.items():  # fmt: skip
    webhooks.add_command(command, name)


def _line(webhook: Webhook) -> str:
    state = "enabled" if webhook.disabled is None else f"disabled: {webhook.disabled.reason}"
    return f"{webhook.id}  {state}  {webhook.url}  {' '.join(webhook.events)}"


def _print(webhook: Webhook, *, as_json: bool) -> None:
    if as_json:
        print_json(webhook)
    else:
        click.echo(_line(webhook))


def _print_secret(made: WebhookMade, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    print_stderr(f"{_line(made.webhook)}\nIts secret, which is shown this once:")
    click.echo(made.secret)
