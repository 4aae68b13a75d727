"""The command ``reroom``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from reroom._cli import jobs, looking, restyling
from reroom._cli.common import EXIT_CODES


def installed_version() -> str:
    try:
        return version("reroom")
    except PackageNotFoundError:
        return "not installed"


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(installed_version(), prog_name="reroom")
def main() -> None:
    """The same room in another style, by a reroom service."""


for command in (
    restyling.restyle,
    jobs.status,
    jobs.watch,
    jobs.download,
    jobs.cancel,
    jobs.erase,
    looking.analyze,
    looking.styles,
    looking.health,
):
    main.add_command(command)
