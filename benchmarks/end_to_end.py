"""How long does a restyle take here, and with diffusers in torch?

    python -m benchmarks.end_to_end                          # dollhouse, into results/end_to_end.json
    python -m benchmarks.end_to_end --bundle sd15_quarter --rounds 1 --out quarter.json

Both sides get the same photo of the bundle's native size, prompt, start noise, weights (FP32), solver, steps,
guidance and control scales, and both are warm. They take turns in one run, one restyle each, with a pause before
each for threads that still spin; the ratio is the median of the pairs' ratios.

What each side does is described in ``benchmarks.sides``: from the photo to the picture, without finishing. diffusers
runs with torch's default number of threads, and with one thread as well, since small networks may be faster so.

That both make the same picture is measured too: each with its own depth and edges, before rounding. Ends with 1
when they do not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from benchmarks.sides import Diffusers, Ours
from benchmarks.versus import PAUSE
from export.bundle import load_bundle
from measuring import report
from measuring.gates import Gate
from measuring.releases import Release, ready_release

GOAL = Gate(at_most=0.6)
SAME = 1.0
"""How far the two pictures may differ anywhere, in levels of 255. One level of depth, rounded differently, moves them
by some hundredths; a wrong step, prompt or hint by tens."""


@dataclass(frozen=True)
class Comparison:
    """Seconds of our restyles, and of diffusers' by torch's number of threads: one each in every round."""

    ours: list[float] = field(default_factory=list)
    theirs: dict[int, list[float]] = field(default_factory=dict)

    def ratio(self, threads: int) -> float:
        """Ours over theirs, the median over rounds."""
        pairs = zip(self.ours, self.theirs[threads], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    @property
    def best_threads(self) -> int:
        """With which diffusers is fastest."""
        return min(self.theirs, key=lambda threads: statistics.median(self.theirs[threads]))


def _rested(act: Callable[[], float]) -> float:
    time.sleep(PAUSE)
    return act()


def compare(
    ours: Callable[[], float], theirs: Callable[[], float], threads: list[int], rounds: int
) -> Comparison:
    """Both in turns; each returns the seconds that it took, and has run before."""
    found = Comparison(theirs={count: [] for count in threads})
    for number in range(1, rounds + 1):
        found.ours.append(_rested(ours))
        for count in threads:
            torch.set_num_threads(count)
            found.theirs[count].append(_rested(theirs))
        latest = ", ".join(f"{seconds[-1]:.2f} s with {count}" for count, seconds in found.theirs.items())
        print(f"round {number} of {rounds}: {found.ours[-1]:.2f} s; diffusers {latest} threads", flush=True)
    return found


def measure(release: Release, rounds: int) -> dict[str, Any]:
    """Everything that goes into the JSON."""
    around = report.circumstances()
    usual, _ = load_bundle(release.facts["bundle"]).usual
    default = torch.get_num_threads()
    with Ours(release) as ours, Diffusers.of(release) as theirs:
        # Also the warm-up of both.
        apart = np.abs(ours.exact(usual) - theirs.exact(usual))
        ours.paint(usual, 1)
        try:
            found = compare(
                lambda: ours.paint(usual, 1),
                lambda: theirs.paint(usual, 1),
                sorted({1, default}, reverse=True),
                rounds,
            )
        finally:
            torch.set_num_threads(default)
    return {
        "ratio_to_diffusers": found.ratio(default),
        "ratio_at_best_threads": found.ratio(found.best_threads),
        "seconds": statistics.median(found.ours),
        "diffusers_seconds": statistics.median(found.theirs[default]),
        "torch_threads": {"default": default, "best": found.best_threads},
        "picture": {"max_difference": float(apart.max()), "mean_difference": float(apart.mean())},
        "all": {"ours": found.ours, "diffusers": {str(count): all for count, all in found.theirs.items()}},
        **release.described,
        **around,
    }


def table(document: dict[str, Any]) -> Table:
    made = Table("figure", "value", "goal", box=None)
    made.columns[1].justify = "right"
    threads = document["torch_threads"]
    made.add_row("a restyle through Triton, s", f"{document['seconds']:.3f}", "")
    made.add_row(
        f"diffusers, {threads['default']} threads (default), s", f"{document['diffusers_seconds']:.3f}", ""
    )
    ratio = document["ratio_to_diffusers"]
    made.add_row("ratio to diffusers", f"{ratio:.3f}", report.reached(GOAL, ratio))
    made.add_row(f"… at its best threads ({threads['best']})", f"{document['ratio_at_best_threads']:.3f}", "")
    made.add_row(
        "largest difference of the pictures, of 255", f"{document['picture']['max_difference']:.3f}", ""
    )
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.end_to_end",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="the bundle to restyle with (dollhouse)")
    parser.add_argument("--rounds", type=int, default=15, help="restyles of each side (15)")
    parser.add_argument("--out", type=Path, default=RESULTS / "end_to_end.json")
    given = parser.parse_args()
    document = measure(ready_release(given.bundle), given.rounds)
    report.write(given.out, document)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")
    if document["picture"]["max_difference"] > SAME:
        console.print("[red]the two sides made different pictures: the times are of no use[/]")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
