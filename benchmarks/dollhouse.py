"""Does a bundle restyle rooms: in the style asked for, with the room kept, quickly, in little memory?

    python -m benchmarks.dollhouse                                   # everything, into results/dollhouse.json
    python -m benchmarks.dollhouse --only rooms --rooms 20           # only how well it restyles and sees
    python -m benchmarks.dollhouse --bundle tiny --rooms 2 --out /tmp/tiny.json

Every answer comes from a real Triton. A part that is measured anew replaces its figures; those of the other parts stay
as long as they are of the same release. Restyled pictures are kept under .run/benchmarks: a stopped run goes on where
it was. Ends with 1 when a figure misses its gate.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS, report
from benchmarks.answers import Answers, Kept, ask_all
from benchmarks.figures import (
    another_room_figures,
    changed_style_accuracy,
    render_figures,
    restyling_figures,
    seeing_figures,
    style_figures,
)
from benchmarks.gates import GATES, missed
from benchmarks.held_out import SEEDS, held_out_rooms
from benchmarks.judge import read_judge
from benchmarks.releases import Release, find_release
from benchmarks.service import Service
from benchmarks.serving import JOBS, measure_memory, served
from benchmarks.whole_stack import measure_seconds
from export.dollhouse.rooms import STYLES

Document = dict[str, Any]
PARTS = ("seconds", "memory", "rooms")
"""In this order: the first wants a machine that is idle."""


def measure_part(part: str, release: Release, rooms: int, jobs: int) -> Document:
    """Figures of one of PARTS, with their circumstances under the part's name."""
    around = report.circumstances()
    match part:
        case "seconds":
            seconds = measure_seconds(release)
            return {
                "restyle_seconds": statistics.median(seconds),
                "seconds": {**around, "photo": "1024×768", "all": seconds},
            }
        case "memory":
            memory = measure_memory(release)
            return {
                "triton_peak_mb": memory.peak_mb,
                "bundle_mb": release.megabytes,
                "memory": {
                    **around,
                    "jobs": JOBS,
                    "processes": memory.processes,
                    "shared_once_mb": memory.shared_once_mb,
                },
            }
    return {
        **room_figures(restyle_rooms(release, rooms, jobs)),
        "rooms": {**around, "rooms": rooms, "results": rooms * len(STYLES), "side": release.side},
    }


def restyle_rooms(release: Release, rooms: int, jobs: int) -> list[Answers]:
    """The release's answers on the first held-out rooms, with a line on the terminal for each."""
    begun = time.perf_counter()

    def tell(done: int) -> None:
        print(f"room {done} of {rooms}, {time.perf_counter() - begun:.0f} s", flush=True)

    some = held_out_rooms(SEEDS[:rooms], release.side)

    async def ask_for_all(address: str) -> list[Answers]:
        async with Service(address, release) as service:
            return await ask_all(service, some, STYLES, Kept.of(release), jobs, tell)

    with served(release) as server:
        return asyncio.run(ask_for_all(server.grpc))


def room_figures(answers: list[Answers]) -> Document:
    """Everything that is measured on rooms."""
    judge = read_judge().name_styles
    renders = render_figures(answers, judge)
    return {
        **restyling_figures(answers, judge),
        **seeing_figures(answers),
        "judge_accuracy": renders["style_accuracy"],
        "style_accuracy_of_changes": changed_style_accuracy(answers, judge),
        "styles": {style: style_figures(answers, style, judge) for style in STYLES},
        "renders": renders,
        "another_room": another_room_figures(answers),
    }


def update(document: Document, release: Release, parts: Document) -> Document:
    """The document with new parts; what is of another release is dropped."""
    facts = release.facts
    same = document.get("release", {}).get("sha256") == release.digest
    return {
        **(document if same else {}),
        **parts,
        "release": {
            "name": facts["release"],
            "sha256": release.digest,
            "precision": facts["precision"],
            **facts["defaults"],
        },
    }


def table(document: Document) -> Table:
    """Figures beside their gates."""
    made = Table("figure", "value", "gate", "of the renders", box=None)
    for column in made.columns[1:]:
        column.justify = "right"
    wrong = missed(document)
    for name, gate in GATES.items():
        value = f"{document[name]:.3f}" if name in document else "–"
        best = document.get("renders", {}).get(name)
        mark = "[red]✗[/]" if name in wrong else "[green]✓[/]"
        made.add_row(name, value, f"{gate} {mark}", f"{best:.3f}" if best is not None else "")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dollhouse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--rooms", type=int, default=200, help="held-out rooms, each in five styles (200)")
    parser.add_argument("--jobs", type=int, default=2, help="rooms at a time (2)")
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    parser.add_argument("--out", type=Path, default=RESULTS / "dollhouse.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    release = find_release(given.bundle)
    for part in [part for part in PARTS if part in (given.only or PARTS)]:
        print(f"{part} …", flush=True)
        measured = measure_part(part, release, given.rooms, given.jobs)
        report.write(given.out, update(report.read(given.out), release, measured))
    document = report.read(given.out)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")
    return 1 if missed(document) else 0


if __name__ == "__main__":
    raise SystemExit(main())
