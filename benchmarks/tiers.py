"""What does a picture of each quality cost: in operations, in seconds beside diffusers, and in quality?

    python -m benchmarks.tiers                        # all of it, into results/tiers.json: a quarter of an hour
    python -m benchmarks.tiers --only counted         # sd15_random
    python -m benchmarks.tiers --only seconds --quality draft --rounds 3    # sd15_quarter
    python -m benchmarks.tiers --only pictures        # dollhouse

``counted``: ``tflop``, 10¹² floating-point operations of one picture at the native size, counted and not measured, by
quality and graph: of the first picture of a photo, and of the second, in another style, for which what was seen in the
photo is reused. The random networks have the sizes of Stable Diffusion 1.5's.

``seconds``: of a picture of each quality, ours and diffusers', in turns in one run, with the same weights and settings
(``benchmarks.sides`` says what each does); ``ratio_<quality>`` is ours over diffusers' eager pipeline, the median of
the rounds, ``outside_all_graphs`` the share of ours in which no model computed. The networks have the structure and
the proportions of Stable Diffusion 1.5's, at a quarter of its width.

``pictures``: quality of the trained networks in rooms apart from training, by tier or by number of steps
(``benchmarks.tier_quality``); ``loses_points`` names what loses more than three points.

A part that is measured again replaces its own figures, ``seconds`` those of its qualities while the release is the
same.
Ends with 1 when a goal is missed or a picture differs from diffusers'.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS, tier_quality
from benchmarks.end_to_end import SAME
from benchmarks.flops import FlopCounter
from benchmarks.sides import Diffusers, Kind, Ours
from benchmarks.versus import measure
from export.bundle import load_bundle
from measuring import ROOT, report
from measuring.gates import Gate
from measuring.releases import Release, ready_release

GOALS = {"best": Gate(at_most=58.0), "standard": Gate(at_most=27.0), "draft": Gate(at_most=6.0)}
"""TFLOP of a first picture of Stable Diffusion 1.5 at 512×512."""
OUTSIDE = Gate(at_most=0.05)
"""The share of a picture's time outside all graphs, at Stable Diffusion's proportions."""
PARTS = {"counted": "sd15_random", "seconds": "sd15_quarter", "pictures": "dollhouse"}
"""Each with its usual bundle."""
LOOKED_AT = ROOT / ".run" / "benchmarks" / "tiers"


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


def timed(release: Release, kinds: Sequence[Kind], rounds: int) -> dict[str, Any]:
    """The qualities of a release, each with the seconds of a picture on this machine's CPU, and what was around."""
    found: dict[str, Any] = {}
    for kind in kinds:
        around = report.circumstances()
        cells = measure([Ours(release, "cpu"), Diffusers.of(release)], [kind], [1], rounds)
        for side, why in cells[kind, 1].get("failed", {}).items():
            raise RuntimeError(f"{kind or 'usual'}: {side} failed: {why}")
        found[kind or "usual"] = {
            **cells[kind, 1],
            "rounds": rounds,
            **around,
            "load_average_after": report.circumstances()["load_average"],
        }
    return found


def seconds_part(document: dict[str, Any], name: str, kinds: Sequence[Kind], rounds: int) -> dict[str, Any]:
    """What ``document`` has of other qualities of the same release, with those of ``kinds`` measured."""
    release = ready_release(name)
    before = document.get("seconds", {})
    same = before.get("sha256") == release.digest
    qualities = (before["qualities"] if same else {}) | timed(
        release, kinds or list(load_bundle(name).kinds), rounds
    )
    return {
        **{f"ratio_{quality}": each["ratio"].get("eager") for quality, each in qualities.items()},
        "seconds": {
            "release": release.facts["release"],
            "bundle": name,
            "sha256": release.digest,
            "side": release.side,
            "torch_threads": torch.get_num_threads(),
            "qualities": qualities,
        },
    }


def count_table(found: dict[str, Any]) -> Table:
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


def seconds_table(found: dict[str, Any]) -> Table:
    made = Table("quality", "ours, s", "diffusers, s", "ratio", "outside graphs", "goal", box=None)
    for quality, each in found.items():
        seconds, outside = each["seconds"], each["outside_all_graphs"]
        made.add_row(
            quality,
            *(f"{seconds[side]:.2f}" for side in ("ours", "eager")),
            f"{each['ratio']['eager']:.3f}",
            f"{outside:.2%}",
            report.reached(OUTSIDE, outside),
        )
    return made


def pictures_table(found: dict[str, Any]) -> Table:
    names = (*tier_quality.FIGURES, "feature_distance", "seconds")
    made = Table("", *(name.replace("_", " ") for name in names), "loses", box=None)
    for kind, each in found["kinds"].items():
        lost = found["loses_points"].get(kind, {})
        said = ", ".join(f"[red]{points:.1f} points of {name}[/]" for name, points in lost.items())
        made.add_row(kind, *(f"{each[name]:.3f}" for name in names), said)
    return made


def missed(document: dict[str, Any], parts: Sequence[str]) -> list[str]:
    """Which goals of ``parts`` are missed, as sentences."""
    found = []
    for quality, goal in GOALS.items() if "counted" in parts else ():
        each = document["counted"].get(quality)
        if each and not goal.passes(each["tflop"], goal.bound):
            found.append(f"{quality} takes {each['tflop']:.2f} TFLOP, want {goal}")
    for quality, each in document["seconds"]["qualities"].items() if "seconds" in parts else ():
        outside, apart = each["outside_all_graphs"], max(each["max_difference"].values())
        if not OUTSIDE.passes(outside, OUTSIDE.bound):
            found.append(f"{quality} spends {outside:.1%} outside all graphs, want {OUTSIDE}")
        if not apart <= SAME:
            found.append(f"{quality} is another picture than diffusers': {apart:.2f} levels of 255 apart")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tiers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=tuple(PARTS), action="append", help="may be repeated")
    parser.add_argument("--bundle", help="a name in export/bundles, for the part of --only")
    parser.add_argument("--quality", action="append", default=[], help="of seconds; may be repeated (all)")
    parser.add_argument("--rounds", type=int, default=1, help="of seconds: turns of each side (1)")
    parser.add_argument("--rooms", type=int, default=24, help="of pictures, each in five styles (24)")
    parser.add_argument("--out", type=Path, default=RESULTS / "tiers.json")
    given = parser.parse_args()
    parts = given.only or list(PARTS)
    if given.bundle and len(parts) != 1:
        parser.error("--bundle wants one part, by --only")
    console = Console()
    for part in parts:
        name, document = given.bundle or PARTS[part], report.read(given.out)
        match part:
            case "counted":
                found = counted(name)
                document |= report.circumstances() | {"bundle": name, "counted": found}
                console.print(count_table(found))
            case "seconds":
                document |= seconds_part(document, name, given.quality, given.rounds)
                console.print(seconds_table(document["seconds"]["qualities"]))
            case "pictures":
                document["pictures"] = tier_quality.measure(ready_release(name), given.rooms, LOOKED_AT)
                console.print(pictures_table(document["pictures"]))
                console.print(f"pictures to look at: {LOOKED_AT}")
        report.write(given.out, document)
    faults = missed(document, parts)
    for fault in faults:
        console.print(f"[red]{fault}[/]")
    console.print(f"wrote {given.out}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
