"""What does a picture of each quality cost?

    python -m benchmarks.tiers                             # sd15_random, into results/tiers.json

``tflop``: 10¹² floating-point operations of one picture at the native size, counted and not measured, by quality and
graph: of the first picture of a photo, and of the second, in another style, for which what was seen in the photo is
reused. The random networks have the sizes of Stable Diffusion 1.5's. Ends with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from benchmarks.flops import FlopCounter
from export.bundle import load_bundle
from measuring import report
from measuring.gates import Gate

GOALS = {"best": Gate(at_most=58.0), "standard": Gate(at_most=27.0), "draft": Gate(at_most=6.0)}
"""TFLOP of a first picture of Stable Diffusion 1.5 at 512×512."""


def counted(name: str) -> dict[str, Any]:
    """The qualities of the bundle ``name``, each with the operations of a first and a second picture."""
    bundle = load_bundle(name)
    counter = FlopCounter(bundle)
    found: dict[str, Any] = {}
    for quality, kind in bundle.kinds.items():
        guided, plain = counter.steps(kind)
        first, second = (counter.picture(kind, seen=seen) for seen in (False, True))
        found[quality or "usual"] = {
            "guided_steps": guided,
            "plain_steps": plain,
            "tflop": sum(first.values()) / 1e12,
            "tflop_second": sum(second.values()) / 1e12,
            "second_over_first": sum(second.values()) / sum(first.values()),
            "by_graph": {graph: flops / 1e12 for graph, flops in first.items()},
        }
    return found


def table(found: dict[str, Any]) -> Table:
    made = Table(
        "quality", "guided steps", "others", "TFLOP", "goal", "second style", "of the first", box=None
    )
    for quality, each in found.items():
        goal = report.reached(GOALS[quality], each["tflop"]) if quality in GOALS else ""
        steps = str(each["guided_steps"]), str(each["plain_steps"])
        made.add_row(
            quality,
            *steps,
            f"{each['tflop']:.2f}",
            goal,
            f"{each['tflop_second']:.2f}",
            f"{each['second_over_first']:.3f}",
        )
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tiers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="sd15_random", help="a name in export/bundles")
    parser.add_argument("--out", type=Path, default=RESULTS / "tiers.json")
    given = parser.parse_args()
    found = counted(given.bundle)
    report.write(given.out, report.circumstances() | {"bundle": given.bundle, "counted": found})
    Console().print(table(found))
    goals = {quality: goal for quality, goal in GOALS.items() if quality in found}
    return int(not all(goal.passes(found[quality]["tflop"], goal.bound) for quality, goal in goals.items()))


if __name__ == "__main__":
    sys.exit(main())
