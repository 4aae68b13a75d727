"""The command ``reroom``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import msgspec
from rich.console import Console

from reroom import errors, events
from reroom._display import Display, display
from reroom._http import RetryPolicy
from reroom._operations import conclude
from reroom._sync import Client
from reroom.models import Analysis, JobStatus, Preferences, SeenObject

OK, FAILED, BAD_INPUT, UNREACHABLE, NOT_FOUND, CANCELLED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

EXIT_CODES = """\b
Exit codes:
  0    done
  1    the job failed, or the service refused or broke
  2    wrong usage or bad input
  3    the service cannot be reached, is not available, or did not end in time
  4    no such job
  5    the job was cancelled
  130  Ctrl-C; `restyle` first cancels its job, unless that has ended
"""

F = TypeVar("F", bound=Callable[..., Any])
stderr = Console(stderr=True)


def exit_code(error: errors.ReroomError) -> int:
    """The documented exit code for an error."""
    match error:
        case errors.InvalidRequest():
            return BAD_INPUT
        case errors.ConnectionFailed() | errors.Timeout() | errors.ServerError(status=502 | 503 | 504):
            return UNREACHABLE
        case errors.NotFound():
            return NOT_FOUND
        case errors.JobCancelled():
            return CANCELLED
        case _:
            return FAILED


def say(text: str) -> None:
    """A diagnostic; texts of a server are shown as they are, never as markup."""
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


def fail(message: str, code: int, *, as_json: bool, error: errors.ReroomError | None = None) -> NoReturn:
    """End the command: the reason on stderr, and with ``--json`` as an object on stdout too."""
    say(f"reroom: {message}")
    if as_json:
        detail = {
            name: getattr(error, name) for name in ("code", "field", "job_id") if getattr(error, name, None)
        }
        print_json({"success": False, "exit_code": code, "detail": message, **detail})
    raise SystemExit(code)


def print_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


@contextmanager
def reporting(*, as_json: bool) -> Iterator[None]:
    """Turns what went wrong into a sentence and an exit code."""
    try:
        yield
    except errors.ReroomError as error:
        field = getattr(error, "field", None)
        fail(f"{field}: {error}" if field else str(error), exit_code(error), as_json=as_json, error=error)
    except OSError as error:
        fail(str(error), BAD_INPUT, as_json=as_json)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED, as_json=as_json)


def client_at(url: str) -> Client:
    try:
        return Client(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from error


class Positive(click.FloatRange):
    """A finite number above 0, and at most ``max``."""

    def __init__(self, max: float | None = None) -> None:
        super().__init__(min=0, max=max, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


def common(command: F) -> F:
    """The options that every command has."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(
        command
    )
    return click.option(
        "--url",
        envvar="REROOM_URL",
        default="http://localhost:8000",
        show_default=True,
        show_envvar=True,
        help="Where the service is.",
    )(command)


def installed_version() -> str:
    try:
        return version("reroom")
    except PackageNotFoundError:
        return "not installed"


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(installed_version(), prog_name="reroom")
def main() -> None:
    """The same room in another style, by a reroom service."""


@main.command(epilog=EXIT_CODES)
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--style", default="modern", show_default=True, help="The look; see `reroom styles`.")
@click.option(
    "--output", "-o", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The result."
)
@click.option("--prompt", default="", help="Words that go before the style's own.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="For the same picture again.  [default: random]"
)
@click.option("--steps", type=click.IntRange(1, 100), help="Solver steps.  [default: the service's]")
@click.option("--strength", type=Positive(max=1), help="1 = from noise; less = from the photo.")
@click.option("--keep-furniture", is_flag=True, help="Keep the furniture's shapes and much of its colours.")
@click.option(
    "--palette", multiple=True, metavar="COLOUR", help="A colour in words; may be given several times."
)
@click.option("--timeout", type=Positive(), metavar="SECONDS", help="Wait no longer.")
@common
def restyle(
    photo: Path, style: str, output: Path, timeout: float | None, url: str, as_json: bool, **more: Any
) -> None:
    """Restyle PHOTO (JPEG, PNG or WebP) and save the result.

    Shows progress on stderr. When --timeout runs out, the job goes on: `reroom status` tells of it.
    """
    if not output.parent.is_dir():
        raise click.BadParameter(f"there is no folder {output.parent}", param_hint="--output")
    preferences = Preferences(color_palette=list(more.pop("palette")), **more)
    with client_at(url) as client, reporting(as_json=as_json):
        job = client.submit(photo, style, preferences)
        try:
            say(f"job {job.job_id}")
            with display(stderr) as shown:
                done = watch(client, job.job_id, timeout, shown)
        except KeyboardInterrupt:
            cancel_after_interrupt(url, job.job_id)
            raise
        assert done.result is not None, "a completed job has a result"
        client.download(done.result.transformed_url, output)
    if as_json:
        print_json({"success": True, "output": str(output), "data": done})
    else:
        click.echo(str(output))


def watch(client: Client, job: str, timeout: float | None, shown: Display) -> JobStatus:
    """Show the job's events; the completed job. Raises what :meth:`Client.wait` raises."""
    for event in client.events(job, after="0", timeout=timeout):
        shown.show(event)
        if isinstance(event, events.Terminal):
            return conclude(job, event)
    return client.wait(job)


def cancel_after_interrupt(url: str, job: str) -> None:
    """Ctrl-C: stop the work, with a new client (the old one's connections may be in any state) and little patience."""
    try:
        with Client(url, timeout=5.0, retry=RetryPolicy(attempts=1)) as client:
            client.cancel(job)
    except errors.Conflict:
        say(f"reroom: job {job} had ended already")
    except errors.ReroomError as error:
        say(f"reroom: job {job} may go on: {error}")
    else:
        say(f"reroom: cancelled job {job}")


@main.command(epilog=EXIT_CODES)
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


@main.command(epilog=EXIT_CODES)
@click.argument("job")
@common
def status(job: str, url: str, as_json: bool) -> None:
    """Show how JOB is doing."""
    with client_at(url) as client, reporting(as_json=as_json):
        show_status(client.status(job), as_json=as_json)


@main.command(epilog=EXIT_CODES)
@click.argument("job")
@common
def cancel(job: str, url: str, as_json: bool) -> None:
    """Cancel JOB, work on the GPU included."""
    with client_at(url) as client, reporting(as_json=as_json):
        show_status(client.cancel(job), as_json=as_json)


@main.command(epilog=EXIT_CODES)
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


def show_status(job: JobStatus, *, as_json: bool) -> None:
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
