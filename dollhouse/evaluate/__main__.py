"""Does a bundle restyle rooms: in the style asked for, with the room kept, quickly, in little memory?

    python -m dollhouse.evaluate                                   # everything, into results/dollhouse.json
    python -m dollhouse.evaluate --only rooms --rooms 20           # only how well it restyles and perceives
    python -m dollhouse.evaluate --bundle tiny --rooms 2 --out /tmp/tiny.json

Every answer comes from a real Triton. A part that is measured again replaces its own figures; those of the other parts
stay while the release is the same. Restyled pictures are kept under .run/benchmarks, so a stopped run continues. The
exit status is 1 when a figure misses its gate.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from dollhouse.evaluate import RESULTS, wishes
from dollhouse.evaluate.answers import Answers, PictureCache, ask_all
from dollhouse.evaluate.figures import (
    CONTROLS,
    changed_style_accuracy,
    over_styles,
    perception_figures,
    style_figures,
)
from dollhouse.evaluate.finishing import ROOMS as FINISHED
from dollhouse.evaluate.finishing import finishing_figures
from dollhouse.evaluate.gates import GATES, missed
from dollhouse.evaluate.held_out import MEASURED, held_out_rooms
from dollhouse.evaluate.memory import measure_memory
from dollhouse.evaluate.planted import Scores, score_figures, score_rooms
from dollhouse.evaluate.style_classifier import read_classifier
from dollhouse.evaluate.wishes import WishAnswers, wish_figures
from dollhouse.render.rooms import STYLES
from measuring import report
from measuring.releases import Release, find_release
from measuring.service import Service
from measuring.serving import JOBS, asked
from measuring.whole_stack import measure_seconds

Document = dict[str, Any]


def seconds_part(release: Release, rooms: int, jobs: int) -> Document:
    around, made = report.circumstances(), measure_seconds(release)
    sizes = sorted({"×".join(map(str, each.size)) for each in made})
    seconds = [each.seconds for each in made]
    return {
        "restyle_seconds": statistics.median(seconds),
        "seconds": {**around, "photo": "1024×768", "result": ", ".join(sizes), "all": seconds},
    }


def memory_part(release: Release, rooms: int, jobs: int) -> Document:
    around = report.circumstances()
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


def rooms_part(release: Release, rooms: int, jobs: int) -> Document:
    """How well the release restyles and perceives."""
    around, some = report.circumstances(), held_out_rooms(MEASURED[:rooms], release.side)

    async def ask_for_all(service: Service) -> list[Answers]:
        return await ask_all(service, some, STYLES, PictureCache.of(release), jobs, _counting(rooms))

    return {
        **room_figures(asked(release, ask_for_all)),
        "rooms": {
            **around,
            "first_seed": MEASURED.start,
            "rooms": rooms,
            "results": rooms * len(STYLES),
            "side": release.side,
        },
    }


def wishes_part(release: Release, rooms: int, jobs: int) -> Document:
    """Whether colours and seeds do anything, on every second room."""
    rooms = -(-rooms // 2)
    around, some = report.circumstances(), held_out_rooms(MEASURED[: 2 * rooms : 2], release.side)

    async def ask_for_all(service: Service) -> tuple[list[WishAnswers], list[WishAnswers]]:
        return await wishes.ask_all(service, some, PictureCache.of(release), _counting(rooms))

    made, true = asked(release, ask_for_all)
    return {**wish_figures(made), "wishes": {**around, "rooms": rooms, "renders": wish_figures(true)}}


def finishing_part(release: Release, rooms: int, jobs: int) -> Document:
    """What finishing gains when the network's result is perfect; no network runs."""
    around, some = report.circumstances(), MEASURED[: min(rooms, FINISHED)]
    figures = finishing_figures(some)
    return {
        **{name: figures.pop(name) for name in ("finish_gain_db", "finish_gain_sharp", "finish_ms_per_mp")},
        "finishing": {**around, "rooms": len(some), **figures},
    }


def score_part(release: Release, rooms: int, jobs: int) -> Document:
    """Whether planted faults lower the quality score."""
    around, some = report.circumstances(), held_out_rooms(MEASURED[:rooms], release.side)

    async def ask_for_all(service: Service) -> list[Scores]:
        return await score_rooms(service, some, jobs, _counting(rooms))

    figures = score_figures(asked(release, ask_for_all))
    order = figures.pop("score_order")
    return {**figures, "score": {**around, "rooms": rooms, "strong_below_mild": order}}


PARTS: dict[str, Callable[[Release, int, int], Document]] = {
    "seconds": seconds_part,
    "memory": memory_part,
    "rooms": rooms_part,
    "wishes": wishes_part,
    "finishing": finishing_part,
    "score": score_part,
}
"""By name: (release, rooms, jobs at a time) → the part's figures, and their circumstances under the part's name.

The order is that of measuring: seconds first, while the machine is idle."""


def _counting(rooms: int) -> Callable[[int], None]:
    """Prints a line for each room."""
    begun = time.perf_counter()

    def print_progress(done: int) -> None:
        print(f"room {done} of {rooms}, {time.perf_counter() - begun:.0f} s", flush=True)

    return print_progress


def room_figures(answers: list[Answers]) -> Document:
    """Figures of restyling and perception, in all, by style and for every control."""
    classifier = read_classifier().name_styles

    def restyling(answers: list[Answers]) -> Document:
        styles = {style: style_figures(answers, style, classifier) for style in STYLES}
        return {**over_styles(styles), "styles": styles}

    controls = {name: restyling(made(answers)) for name, made in CONTROLS.items()}
    return {
        **restyling(answers),
        **perception_figures(answers),
        "classifier_accuracy": controls["renders"]["style_accuracy"],
        "style_accuracy_of_changes": changed_style_accuracy(answers, classifier),
        **controls,
    }


def update(document: Document, release: Release, parts: Document) -> Document:
    """The document with new parts; figures of another release are dropped."""
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
    made = Table("figure", "value", "gate", "of the renders", "of the photo", box=None)
    for column in made.columns[1:]:
        column.justify = "right"
    wrong = missed(document)
    best = {**document.get("renders", {}), **document.get("wishes", {}).get("renders", {})}
    for name, gate in GATES.items():
        mark = "[red]✗[/]" if name in wrong else "[green]✓[/]"
        others = (_text(name, best), _text(name, document.get("nothing_done", {})))
        made.add_row(name, _text(name, document) or "–", f"{gate} {mark}", *others)
    return made


def _text(name: str, figures: Document) -> str:
    return f"{figures[name]:.3f}" if name in figures else ""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--rooms", type=int, default=200, help="held-out rooms, each in five styles (200)")
    parser.add_argument("--jobs", type=int, default=2, help="rooms at a time (2)")
    parser.add_argument("--only", choices=tuple(PARTS), action="append", help="may be repeated")
    parser.add_argument("--out", type=Path, default=RESULTS / "dollhouse.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    release = find_release(given.bundle)
    for part in [part for part in PARTS if part in (given.only or PARTS)]:
        print(f"{part} …", flush=True)
        measured = PARTS[part](release, given.rooms, given.jobs)
        report.write(given.out, update(report.read(given.out), release, measured))
    document = report.read(given.out)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")
    return 1 if missed(document) else 0


if __name__ == "__main__":
    raise SystemExit(main())
