"""What the commands share: options, exit codes, and how they report errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn, TypeVar

import click
import msgspec
from rich.console import Console

from reroom import errors
from reroom._cli.options import Finite
from reroom._sync import Client
from reroom.models import JobStatus

OK, FAILED, BAD_INPUT, UNREACHABLE, NOT_FOUND, CANCELLED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

UNAUTHORIZED = 401

EXIT_CODES = """\b
Exit codes:
  0    done
  1    the job failed, or the service refused the request or has an internal error
  2    wrong usage or bad input
  3    the service cannot be reached, is not available, or did not end in time
  4    no such job
  5    the job was cancelled
  130  Ctrl-C; `restyle` first cancels its jobs, unless they have ended
With several photos: 0 when all are done; the code of those that failed when it is the same; else 1.
"""

Error = errors.ReroomError | OSError
"""What a command reports as a sentence and an exit code."""

F = TypeVar("F", bound=Callable[..., Any])
stderr = Console(stderr=True)


def exit_code(error: Error) -> int:
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


def error_message(error: Error) -> str:
    """The error's sentence, after the field of the request that caused it, if the service named one."""
    if isinstance(error, errors.Forbidden) and error.status == UNAUTHORIZED:
        return f"{error} (here: as REROOM_API_KEY or --api-key)"
    field = getattr(error, "field", None)
    return f"{field}: {error}" if field else str(error)


def error_data(message: str, code: int, error: Error | None = None) -> dict[str, Any]:
    """The error for ``--json``."""
    more = {name: getattr(error, name) for name in ("code", "field", "job_id") if getattr(error, name, None)}
    return {"success": False, "exit_code": code, "detail": message, **more}


def print_stderr(text: str) -> None:
    """Print a line on stderr. Texts from a server are printed as they are, never as markup."""
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


def print_warnings(job: JobStatus, label: str = "") -> None:
    """Print the result's warnings about preferences that were changed or had no effect."""
    for warning in job.result.warnings if job.result else ():
        print_stderr(f"reroom: {label}warning: {warning.detail} [{warning.code}]")


def print_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


def fail(message: str, code: int, *, as_json: bool, error: Error | None = None) -> NoReturn:
    """End the command: the reason on stderr, and with ``--json`` as an object on stdout too."""
    print_stderr(f"reroom: {message}")
    if as_json:
        print_json(error_data(message, code, error))
    raise SystemExit(code)


@contextmanager
def reporting_errors(*, as_json: bool) -> Iterator[None]:
    """Turn errors into a sentence and an exit code."""
    try:
        yield
    except (errors.ReroomError, OSError) as error:
        fail(error_message(error), exit_code(error), as_json=as_json, error=error)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED, as_json=as_json)


def client_at(url: str, api_key: str | None) -> Client:
    """A client of the service at a URL; raises click.BadParameter when that is not one, or the key cannot be one."""
    try:
        return Client(url, api_key=api_key)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url or --api-key") from error


def common_options(command: F) -> F:
    """Give a command ``--url``, ``--api-key`` and ``--json``, which every command has."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(
        command
    )
    command = click.option(
        "--api-key",
        envvar="REROOM_API_KEY",
        show_envvar=True,
        metavar="KEY",
        help="The key to the service. Others on this machine see options, but not variables.",
    )(command)
    return click.option(
        "--url",
        envvar="REROOM_URL",
        default="http://localhost:8000",
        show_default=True,
        show_envvar=True,
        help="The service's URL.",
    )(command)


def service_command(function: Callable[..., None]) -> click.Command:
    """Make a command of a function that takes ``client`` and ``as_json``; errors are reported."""

    @click.command(epilog=EXIT_CODES)
    @common_options
    @wraps(function)
    def command(url: str, api_key: str | None, as_json: bool, **arguments: Any) -> None:
        with client_at(url, api_key) as client, reporting_errors(as_json=as_json):
            function(client=client, as_json=as_json, **arguments)

    url, api_key, as_json, *own = command.params
    command.params = [*own, url, api_key, as_json]  # the order of the help
    return command


timeout_option = click.option(
    "--timeout",
    type=Finite(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop waiting after this time; the job goes on.",
)
