"""How much sooner does the second style of a photo come than the first?

    python -m benchmarks.reuse                             # dollhouse, into results/reuse.json
    python -m benchmarks.reuse --bundle tiny --out tiny.json

In every round a photo is restyled three times, one at a time, at the bundle's defaults: under a new photo_id (first),
in another style under the same id (second), and in that style without an id, when nothing is kept (off). Every other
round begins with the last, and every two rounds the styles change places, so that neither a drift of the machine's
speed nor a style counts for one of the three. The seconds are the client's.

second_over_first    median over the rounds of second / first: the goal
second_over_off      of second / off: what one job is spared
first_over_off       of first / off: what keeping costs the job that computes (digests and copies)

With Stable Diffusion 1.5 the steps dwarf what is seen, so the gain grows as the steps get fewer: ``benchmarks.tiers``
counts it for each quality.
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from measuring import report
from measuring.counters import difference
from measuring.gates import Gate
from measuring.releases import Release, ready_release
from measuring.sample import sample_request
from measuring.service import Service
from measuring.serving import asked
from orchestrator.domain.styles import STYLES
from reroom.triton import RestyleRequest

GOAL = Gate(at_most=0.9)
ROUNDS = 40
STYLES_ASKED = ("industrial", "boho")
KINDS = ("first", "second", "off")


def ratios(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians over rounds, each the seconds by kind."""
    pairs = (("second", "first"), ("second", "off"), ("first", "off"))
    return {f"{one}_over_{other}": median(each[one] / each[other] for each in rounds) for one, other in pairs}


def requests_of(release: Release, number: int) -> dict[str, RestyleRequest]:
    """Those of a round, by kind, in their order."""
    asked, photo_id = sample_request(release), uuid.uuid4().hex
    one, other = (
        msgspec.structs.replace(asked, prompt=style.prompt, negative_prompt=style.negative_prompt)
        for style in (STYLES[name] for name in STYLES_ASKED[:: -1 if number & 2 else 1])
    )
    round_ = {
        "first": msgspec.structs.replace(one, photo_id=photo_id),
        "second": msgspec.structs.replace(other, photo_id=photo_id),
        "off": other,
    }
    kinds = ("off", "first", "second") if number & 1 else KINDS
    return {kind: round_[kind] for kind in kinds}


async def restyle(service: Service) -> dict[str, Any]:
    """ROUNDS rounds, after one that warms up."""
    rounds: list[dict[str, float]] = []
    stages = {kind: Counter[str]() for kind in KINDS}
    calls = {kind: Counter[str]() for kind in KINDS}
    reused: dict[str, list[str]] = {}
    for number in range(ROUNDS + 1):
        found: dict[str, float] = {}
        for kind, request in requests_of(service.release, number).items():
            before = await service.counters()
            begun = time.perf_counter()
            result = await service.answer(request)
            found[kind] = time.perf_counter() - begun
            if number:
                ran = difference(await service.counters(), before)
                calls[kind].update({name: each.requests for name, each in ran.items()})
                stages[kind].update(result.timings)
                reused[kind] = result.reused
        if number:
            rounds.append(found)
    return {
        **ratios(rounds),
        "rounds": ROUNDS,
        "seconds": {kind: median(each[kind] for each in rounds) for kind in KINDS},
        "stage_seconds": {
            kind: {name: value / ROUNDS for name, value in each.items()} for kind, each in stages.items()
        },
        "model_calls": {
            kind: {name: count / ROUNDS for name, count in each.items()} for kind, each in calls.items()
        },
        "reused": reused,
    }


def table(document: Mapping[str, Any]) -> Table:
    made = Table(document["release"], "first", "second", "second / first", "goal", box=None)
    first, second = (document["seconds"][kind] for kind in ("first", "second"))
    ratio = document["second_over_first"]
    made.add_row("seconds", f"{first:.3f}", f"{second:.3f}", f"{ratio:.3f}", report.reached(GOAL, ratio))
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reuse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse")
    parser.add_argument("--out", type=Path, default=RESULTS / "reuse.json")
    given = parser.parse_args()
    release = ready_release(given.bundle)
    around = report.circumstances()
    document = {**asked(release, restyle), **release.described, **around}
    report.write(given.out, document)
    console = Console()
    console.print(table(document))
    console.print(f"second / without an id {document['second_over_off']:.3f}", end=", ")
    console.print(f"first / without an id {document['first_over_off']:.3f}; wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
