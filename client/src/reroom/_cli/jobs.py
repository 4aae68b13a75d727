"""About a job that is there: `status`, `watch`, `download`, `cancel`, `erase`."""

from __future__ import annotations

import click

from reroom._cli.common import (
    EXIT_CODES,
    client_at,
    common,
    print_json,
    reporting,
    say,
    stderr,
    timeout_option,
    warn,
)
from reroom._cli.display import display
from reroom._cli.outputs import STDOUT, check_output, is_stdout, write_stdout
from reroom.models import JobStatus


@click.command(epilog=EXIT_CODES)
@click.argument("job")
@common
def status(job: str, url: str, as_json: bool) -> None:
    """Show how JOB is doing."""
    with client_at(url) as client, reporting(as_json=as_json):
        show_status(client.status(job), as_json=as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("job")
@timeout_option
@common
def watch(job: str, timeout: float | None, url: str, as_json: bool) -> None:
    """Follow JOB to its end: progress on stderr, then its status.

    Ctrl-C ends the watching, not the job.
    """
    with client_at(url) as client, reporting(as_json=as_json):
        try:
            with display(stderr) as displays:
                done = client.wait(job, timeout=timeout, on_event=displays("").show)
        except KeyboardInterrupt:
            say(f"reroom: job {job} goes on")
            raise
        show_status(done, as_json=as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("job")
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="FILE|FOLDER|-",
    help="The result: .jpg, .png or .webp. In a folder it is called after the job. - is stdout.",
)
@common
def download(job: str, output: str, url: str, as_json: bool) -> None:
    """Save the result of JOB, which must be completed."""
    if as_json and is_stdout(output):
        raise click.UsageError("--json and the picture cannot both go to stdout.")
    check_output(output)
    with client_at(url) as client, reporting(as_json=as_json):
        if output == STDOUT:
            write_stdout(client.picture(job))
            return
        saved = client.download(job, output)
    if as_json:
        print_json({"success": True, "job_id": job, "output": str(saved)})
    elif not is_stdout(output):
        click.echo(str(saved))


@click.command(epilog=EXIT_CODES)
@click.argument("job")
@common
def cancel(job: str, url: str, as_json: bool) -> None:
    """Cancel JOB, work on the GPU included."""
    with client_at(url) as client, reporting(as_json=as_json):
        show_status(client.cancel(job), as_json=as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("job")
@common
def erase(job: str, url: str, as_json: bool) -> None:
    """Erase JOB, which must have ended, and its pictures from the service."""
    with client_at(url) as client, reporting(as_json=as_json):
        client.erase(job)
    if as_json:
        print_json({"success": True, "job_id": job})
    else:
        click.echo(f"erased {job}")


def show_status(job: JobStatus, *, as_json: bool) -> None:
    warn(job)
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
