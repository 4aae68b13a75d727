"""What the commands share: options, exit codes, and how they say what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click
import msgspec
from rich.console import Console

from reroom import errors
from reroom._cli.options import Finite
from reroom._sync import Client
from reroom.models import JobStatus

OK, FAILED, BAD_INPUT, UNREACHABLE, NOT_FOUND, CANCELLED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

EXIT_CODES = """\b
Exit codes:
  0    done
  1    the job failed, or the service refused or broke
  2    wrong usage or bad input
  3    the service cannot be reached, is not available, or did not end in time
  4    no such job
  5    the job was cancelled
  130  Ctrl-C; `restyle` first cancels its jobs, unless they have ended
Of several photos: 0 when all are done, their code when all that failed have the same, else 1.
"""

Problem = errors.ReroomError | OSError
F = TypeVar("F", bound=Callable[..., Any])
stderr = Console(stderr=True)


def exit_code(error: Problem) -> int:
    """The documented exit code for an error."""
    match error:
        case BrokenPipeError():
            return FAILED
        case errors.InvalidRequest() | OSError():
            return BAD_INPUT
        case errors.ConnectionFailed() | errors.Timeout() | errors.ServerError(status=502 | 503 | 504):
            return UNREACHABLE
        case errors.NotFound():
            return NOT_FOUND
        case errors.JobCancelled():
            return CANCELLED
        case _:
            return FAILED


def sentence(error: Problem) -> str:
    """What went wrong, with the field of the request that is to blame."""
    field = getattr(error, "field", None)
    return f"{field}: {error}" if field else str(error)


def problem(message: str, code: int, error: Problem | None = None) -> dict[str, Any]:
    """What went wrong, for ``--json``."""
    more = {name: getattr(error, name) for name in ("code", "field", "job_id") if getattr(error, name, None)}
    return {"success": False, "exit_code": code, "detail": message, **more}


def say(text: str) -> None:
    """A diagnostic; texts of a server are shown as they are, never as markup."""
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


def warn(job: JobStatus, label: str = "") -> None:
    """What the result says of preferences that did not do what they say."""
    for warning in job.result.warnings if job.result else ():
        say(f"reroom: {label}warning: {warning.detail} [{warning.code}]")


def print_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


def fail(message: str, code: int, *, as_json: bool, error: Problem | None = None) -> NoReturn:
    """End the command: the reason on stderr, and with ``--json`` as an object on stdout too."""
    say(f"reroom: {message}")
    if as_json:
        print_json(problem(message, code, error))
    raise SystemExit(code)


@contextmanager
def reporting(*, as_json: bool) -> Iterator[None]:
    """Turns what went wrong into a sentence and an exit code."""
    try:
        yield
    except (errors.ReroomError, OSError) as error:
        fail(sentence(error), exit_code(error), as_json=as_json, error=error)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED, as_json=as_json)


def client_at(url: str) -> Client:
    try:
        return Client(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from error


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


timeout_option = click.option(
    "--timeout",
    type=Finite(min=0, min_open=True),
    metavar="SECONDS",
    help="Wait no longer; the job goes on.",
)
