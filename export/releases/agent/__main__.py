"""The command line of the agent: see the package."""

from __future__ import annotations

import argparse
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from export.releases import agent as package
from export.releases.agent.agent import Agent
from export.releases.checksums import ReleaseDamaged
from export.releases.folder import only_agent
from export.releases.places.port import PlaceError
from export.releases.rollout import RolloutError
from export.releases.served import ServedError
from export.releases.sources import open_source


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when it was asked to stop, 1 with one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m export.releases.agent", description=(package.__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("release", type=Path, help="the folder that Triton serves (its REROOM_RELEASE)")
    parser.add_argument(
        "--triton",
        action="append",
        required=True,
        metavar="HOST:PORT",
        help="its gRPC endpoint; may be repeated",
    )
    parser.add_argument(
        "--source",
        help="what to follow, where RELEASE is the host's own: a folder, or s3://bucket/prefix (RELEASE itself)",
    )
    parser.add_argument("--name", default="", help="of this host, for operators")
    given = parser.parse_args(arguments)

    def report(sentence: str) -> None:
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {sentence}", flush=True)

    try:
        source = open_source(given.release, given.source, report)
        with only_agent(given.release):
            agent = Agent(given.release, given.triton, source, name=given.name, report=report)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: agent.stopping.set())
            report(f"follows what shall be live of {given.release.name} for {', '.join(given.triton)}")
            agent.run()
    except (OSError, RolloutError, PlaceError, ServedError, ReleaseDamaged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
