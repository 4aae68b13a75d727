"""``python -m orchestrator keys|plans|dead-letters …``: what the service's operator does by hand. The servers are
``orchestrator.app`` and ``orchestrator.worker``."""

from __future__ import annotations

import argparse
import asyncio
import sys

from orchestrator.commands import dead_letters, keys, plans
from orchestrator.domain.plans import PlansError
from orchestrator.domain.styles import StylesError
from orchestrator.ports import DeadLetterNotFound, KeyNotFound, NotReplayed, Unavailable
from orchestrator.settings import SettingsError

FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 = done, 1 = not done, for the reason on stderr."""
    return asyncio.run(run(parser().parse_args(arguments)))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m orchestrator",
        description="Manages the service. It takes REDIS_URL and REROOM_REDIS_PREFIX from the environment, as the "
        "servers do.",
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    keys.add_commands(commands)
    plans.add_commands(commands)
    dead_letters.add_commands(commands)
    return made


async def run(options: argparse.Namespace) -> int:
    """Do what the parser understood. Returns the exit status."""
    try:
        await options.run(options)
    except KeyNotFound as error:
        print(f"there is no key {error}, or it was revoked: `keys list` shows all", file=sys.stderr)
    except DeadLetterNotFound as error:
        print(f"no job {error} was given up: `dead-letters list` shows all", file=sys.stderr)
    except NotReplayed as error:
        print(f"the job cannot be replayed: {error}", file=sys.stderr)
    except Unavailable as error:
        print(f"the store cannot be reached: {error}; is REDIS_URL right?", file=sys.stderr)
    except (PlansError, StylesError, SettingsError) as error:
        print(error, file=sys.stderr)
    else:
        return 0
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
