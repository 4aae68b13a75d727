"""What is spared when several pictures of one photo are asked for together?

    python -m benchmarks.variations                            # dollhouse, into results/variations.json
    python -m benchmarks.variations --bundle tiny --rounds 3 --out tiny.json

The whole stack on this machine, as in ``make demo``: API, Redis, a worker of four jobs, and Triton. Every round asks
for

alone      one picture
four       four variations in one submission
styles     two styles in one submission
at_once    four submissions of one picture each, at the same time

each of a photo that the service has not seen before, at the bundle's defaults. Every other round goes through them
backwards. The seconds are the client's, from the submission to the event of the end, which comes over the WebSocket.

four_over_alone      median over the rounds of four / (4 × alone): the goal
first_over_alone     of the first of the four variations / alone: the goal
second_over_first    of the second style's seconds, from the first one's end, / the first one's: the goal
four_over_at_once    of four / at_once: what one submission spares of four that run beside each other as well
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from measuring import report
from measuring.gates import Gate
from measuring.releases import Release, ready_release
from reroom import AsyncClient, Preferences, events
from stack.demo import JOB_SECONDS, SAMPLE
from stack.stack import Stack

GOALS = {
    "four_over_alone": Gate(at_most=0.85),
    "first_over_alone": Gate(at_most=1.1),
    "second_over_first": Gate(at_most=0.85),
}
ROUNDS = 20
STYLES_ASKED = ("industrial", "boho")
KINDS = ("alone", "four", "styles", "at_once")


class Photos:
    """The demo's photo with another first pixel each time, so that nothing is known of it."""

    def __init__(self) -> None:
        with Image.open(SAMPLE) as photo:
            self._pixels = np.array(photo.convert("RGB"))
        self._random = np.random.default_rng(0)

    def next(self) -> bytes:
        self._pixels[:16, :16] = self._random.integers(0, 256, 3)
        out = io.BytesIO()
        Image.fromarray(self._pixels).save(out, "JPEG", quality=95)
        return out.getvalue()


async def ends(
    client: AsyncClient, photo: bytes, styles: Sequence[str] = (), variations: int = 1
) -> list[float]:
    """Seconds until each picture's end, in the order of their ends. Raises AssertionError for one that failed."""
    begun, found = time.perf_counter(), []

    def note(event: events.Event) -> None:
        happened = event.event if isinstance(event, events.ChildChanged) else event
        assert not isinstance(happened, events.Failed | events.Cancelled), happened
        if isinstance(happened, events.Completed) and not happened.data.children:
            found.append(time.perf_counter() - begun)

    asked = Preferences(seed=0)
    await client.restyle(
        photo,
        STYLES_ASKED[0],
        asked,
        styles=styles,
        variations=variations,
        on_event=note,
        timeout=JOB_SECONDS,
    )
    return found


async def one_round(client: AsyncClient, photos: Photos, kinds: Sequence[str]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for kind in kinds:
        match kind:
            case "alone":
                found[kind] = await ends(client, photos.next())
            case "four":
                found[kind] = await ends(client, photos.next(), variations=4)
            case "styles":
                found[kind] = await ends(client, photos.next(), styles=STYLES_ASKED)
            case "at_once":
                asked = [ends(client, photos.next()) for _ in range(4)]
                found[kind] = sorted(end for each in await asyncio.gather(*asked) for end in each)
    return found


def ratios(rounds: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Medians over rounds, each the seconds of the ends by kind."""

    def over(share: Callable[[Mapping[str, Sequence[float]]], float]) -> float:
        return median(share(each) for each in rounds)

    return {
        "four_over_alone": over(lambda each: each["four"][-1] / (4 * each["alone"][0])),
        "first_over_alone": over(lambda each: each["four"][0] / each["alone"][0]),
        "second_over_first": over(lambda each: (each["styles"][1] - each["styles"][0]) / each["styles"][0]),
        "four_over_at_once": over(lambda each: each["four"][-1] / each["at_once"][-1]),
    }


async def measure(url: str, rounds: int) -> dict[str, Any]:
    photos, found = Photos(), []
    async with AsyncClient(url) as client:
        for number in range(rounds + 1):
            made = await one_round(client, photos, KINDS[:: -1 if number & 1 else 1])
            if number:
                found.append(made)
    return {
        **ratios(found),
        "rounds": rounds,
        "seconds": {
            kind: [median(each[kind][place] for each in found) for place in range(len(found[0][kind]))]
            for kind in KINDS
        },
    }


def run(release: Release, rounds: int) -> dict[str, Any]:
    """Everything that goes into the JSON."""
    around = report.circumstances()
    with (
        TemporaryDirectory(prefix="reroom-benchmark-") as folder,
        Stack(Path(folder) / "run", release=release.folder) as stack,
    ):
        found = asyncio.run(measure(stack.url, rounds))
    return {**found, **release.described, **around}


def table(document: Mapping[str, Any]) -> Table:
    made = Table(document["release"], "figure", "goal", box=None)
    for name, goal in GOALS.items():
        made.add_row(name, f"{document[name]:.3f}", report.reached(goal, document[name]))
    made.add_row("four_over_at_once", f"{document['four_over_at_once']:.3f}", "")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.variations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=RESULTS / "variations.json")
    given = parser.parse_args()
    document = run(ready_release(given.bundle), given.rounds)
    report.write(given.out, document)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
