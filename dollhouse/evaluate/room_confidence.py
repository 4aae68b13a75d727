"""Is the room type right where `restyle` names one, and as often as its confidence claims?

    python -m dollhouse.evaluate.room_confidence                  # 400 rooms, into results/room_confidence.json
    python -m dollhouse.evaluate.room_confidence --rooms 40 --out /tmp/few.json

Every answer comes from a real Triton, on each room as it is rendered and once more as another camera and other lamps
would show it (``dollhouse.data.jitter``). No setting was chosen on these rooms; the numbers in ``restyle.objects`` were
chosen on rooms of the train split.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from dollhouse.data.jitter import jittered
from dollhouse.evaluate import RESULTS
from dollhouse.evaluate.held_out import MEASURED, held_out_rooms
from measuring import report
from measuring.releases import Release, find_release
from measuring.serving import served
from reroom.triton import TritonClient

GROUPS = 5
"""Groups of named rooms by rising confidence, as equal in number as possible."""

Answer = tuple[float, bool]
"""(confidence, whether the type is right) of one room; confidence 0 = the type is unknown."""


async def ask(address: str, rooms: int, side: int) -> dict[str, list[Answer]]:
    """Ask the model `analyse` at ``address`` for the room type of the first ``rooms`` rooms of MEASURED.

    The rooms have sides of ``side`` pixels. Returns (confidence, whether it is right) for each room, as rendered
    (``clean``) and as another camera would show it (``jittered``).
    """
    found: dict[str, list[Answer]] = {"clean": [], "jittered": []}
    async with TritonClient(address) as triton:
        for room in held_out_rooms(MEASURED[:rooms], side):
            pictures = (room.photo, jittered(room.photo, np.random.default_rng(room.seed)))
            for answers, picture in zip(found.values(), pictures, strict=True):
                seen = await triton.analyse(picture)
                answers.append((seen.room_confidence, seen.room_type == room.room_type))
    return found


def figures(answers: Sequence[Answer]) -> dict[str, Any]:
    """Over all rooms: the shares ``named`` and ``named_rightly``. Over the named ones: ``confidence``, ``accuracy``,
    both again in ``groups``, and their mean difference in these (``calibration_error``, the expected calibration
    error)."""
    named = np.array(sorted(each for each in answers if each[0] > 0), np.float64)
    groups = [_group(part) for part in np.array_split(named, GROUPS)]
    wrong = named[named[:, 1] == 0, 0]
    return {
        "rooms": len(answers),
        "named": len(named) / len(answers),
        "named_rightly": float(named[:, 1].sum()) / len(answers),
        **_group(named),
        "confidence_where_wrong": float(wrong.mean()) if len(wrong) else None,
        "calibration_error": float(
            np.mean([abs(group["confidence"] - group["accuracy"]) for group in groups])
        ),
        "groups": groups,
    }


def _group(part: NDArray[np.float64]) -> dict[str, float]:
    return {"confidence": float(part[:, 0].mean()), "accuracy": float(part[:, 1].mean())}


def measure(release: Release, rooms: int) -> dict[str, Any]:
    around = report.circumstances()
    with served(release) as server:
        answers = asyncio.run(ask(server.grpc, rooms, release.side))
    facts = {"name": release.facts["release"], "sha256": release.digest}
    return {**{kind: figures(each) for kind, each in answers.items()}, "release": facts, **around}


def table(document: dict[str, Any]) -> Table:
    made = Table("rooms", "share", "confidence", "accuracy", box=None)
    for kind in ("clean", "jittered"):
        found = document[kind]
        rows = [
            (f"{kind}, named", found),
            *((f"  fifth {n + 1}", each) for n, each in enumerate(found["groups"])),
        ]
        for name, group in rows:
            share = f"{group['named']:.3f}" if "named" in group else ""
            made.add_row(name, share, f"{group['confidence']:.3f}", f"{group['accuracy']:.3f}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.evaluate.room_confidence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--rooms", type=int, default=400, help="held-out rooms (400)")
    parser.add_argument("--out", type=Path, default=RESULTS / "room_confidence.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    document = measure(find_release(given.bundle), given.rooms)
    report.write(given.out, document)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
