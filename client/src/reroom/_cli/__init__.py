"""The command ``reroom``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from reroom._cli import analysis, hooks, jobs, restyling, service
from reroom._cli.common import EXIT_CODES


def installed_version() -> str:
    try:
        return version("reroom")
    except PackageNotFoundError:
        return "not installed"


@click.group(
    epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(installed_version(), prog_name="reroom")
def main() -> None:
    """Restyle photos of rooms with a reroom service."""


for command in (
    restyling.restyle,
    jobs.status,
    jobs.favourite,
    jobs.watch,
    jobs.download,
    jobs.cancel,
    jobs.erase,
    analysis.analyze,
    service.styles,
    service.health,
    hooks.webhooks,
):
    main.add_command(command)
main.add_command(jobs.list_jobs, "list")
