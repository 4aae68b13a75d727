"""Commands about jobs: `list`, `status`, `watch`, `download`, `favourite`, `cancel`, `erase`."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Literal

import click

from reroom._cli.common import (
    print_json,
    print_stderr,
    print_warnings,
    service_command,
    stderr,
    timeout_option,
)
from reroom._cli.display import display
from reroom._cli.outputs import STDOUT, check_output, is_stdout, write_stdout
from reroom._sync import Client
from reroom.models import JobStatus


@service_command
@click.option(
    "--status", "states", multiple=True, metavar="STATE", help="Those in this state; repeat for several."
)
@click.option("--style", help="Those of this style.")
@click.option("--favourites", is_flag=True, help="Only favourites.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
def list_jobs(
    client: Client, states: tuple[str, ...], style: str | None, favourites: bool, limit: int, as_json: bool
) -> None:
    """List your jobs, the newest first: id, state, style, when it was made, until when it is kept; * for favourites."""
    found = client.jobs(
        status=states or None, style=style, favourite=True if favourites else None, page=min(limit, 100)
    )
    jobs = list(islice(found, limit))
    if as_json:
        print_json({"success": True, "jobs": jobs})
        return
    for job in jobs:
        until = "*" if job.favourite else f"until {_local(job.expires_at)}" if job.expires_at else ""
        line = f"{job.job_id}  {job.status:12}  {job.style:12}  {_local(job.created_at):16}  {until}"
        click.echo(line.rstrip())


@service_command
@click.argument("job")
@click.option("--off", is_flag=True, help="Let it be deleted in its time, like other jobs.")
def favourite(client: Client, job: str, off: bool, as_json: bool) -> None:
    """Keep JOB and its pictures until you erase it or say --off."""
    print_status(client.favourite(job, not off), as_json=as_json)


@service_command
@click.argument("job")
def status(client: Client, job: str, as_json: bool) -> None:
    """Show the state of JOB."""
    print_status(client.status(job), as_json=as_json)


@service_command
@click.argument("job")
@timeout_option
@click.option(
    "--over",
    type=click.Choice(["websocket", "http"]),
    default="websocket",
    show_default=True,
    help="How events come; http where WebSockets do not get through.",
)
def watch(
    client: Client, job: str, timeout: float | None, over: Literal["websocket", "http"], as_json: bool
) -> None:
    """Follow JOB until it has ended.

    Shows progress on stderr, then the job's state on stdout. Ctrl-C stops watching; the job goes on.
    """
    try:
        with display(stderr) as display_for:
            done = client.wait(job, timeout=timeout, on_event=display_for("").show, over=over)
    except KeyboardInterrupt:
        print_stderr(f"reroom: job {job} goes on")
        raise
    print_status(done, as_json=as_json)


@service_command
@click.argument("job")
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="FILE|FOLDER|-",
    help="Where to save the picture: .jpg, .png or .webp. In a folder it is named after the job. - is stdout.",
)
def download(client: Client, job: str, output: str, as_json: bool) -> None:
    """Save the picture of JOB, which must have completed."""
    if as_json and is_stdout(output):
        raise click.UsageError("--json and the picture cannot both go to stdout.")
    check_output(output)
    if output == STDOUT:
        write_stdout(client.picture(job))
        return
    saved = client.download(job, output)
    if as_json:
        print_json({"success": True, "job_id": job, "output": str(saved)})
    elif not is_stdout(output):
        click.echo(str(saved))


@service_command
@click.argument("job")
def cancel(client: Client, job: str, as_json: bool) -> None:
    """Cancel JOB, including its work on the GPU."""
    print_status(client.cancel(job), as_json=as_json)


@service_command
@click.argument("job")
def erase(client: Client, job: str, as_json: bool) -> None:
    """Erase JOB, which must have ended, and its pictures."""
    client.erase(job)
    if as_json:
        print_json({"success": True, "job_id": job})
    else:
        click.echo(f"erased {job}")


def _local(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")


def print_status(job: JobStatus, *, as_json: bool) -> None:
    print_warnings(job)
    if as_json:
        print_json(job)
        return
    click.echo(f"{job.status}  {job.progress:.0%}  {job.message}".rstrip())
    if job.queue_position is not None:
        click.echo(f"jobs before it: {job.queue_position}")
    if job.error is not None:
        click.echo(f"error: {job.error.detail} [{job.error.code}]")
    if job.result is not None:
        click.echo(f"result: {job.result.transformed_url}")
    if job.favourite or job.expires_at is not None:
        click.echo(f"kept until: {'you unmark or erase it' if job.favourite else _local(job.expires_at)}")
