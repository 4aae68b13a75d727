"""Is the room type right where `restyle` says that it is sure?

    python -m benchmarks.room_confidence                             # 400 rooms, into results/room_confidence.json
    python -m benchmarks.room_confidence --rooms 40 --out /tmp/few.json

Every answer comes from a real Triton. No setting was chosen on these rooms, ``objects.SHARPNESS`` neither.
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
from objects import SHARPNESS
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS, report
from benchmarks.held_out import MEASURED, held_out_rooms
from benchmarks.releases import Release, find_release
from benchmarks.serving import served
from reroom.triton import TritonClient

GROUPS = 5
"""Groups of rooms from the least sure to the surest, as equal in number as can be."""

Told = tuple[float, bool]
"""Of one room: the confidence, and whether its type is right."""


async def ask(address: str, rooms: int, side: int) -> list[Told]:
    """What is told of so many rooms."""
    told = []
    async with TritonClient(address) as triton:
        for room in held_out_rooms(MEASURED[:rooms], side):
            seen = await triton.analyse(room.photo)
            told.append((seen.room_confidence, seen.room_type == room.room_type))
    return told


def figures(told: Sequence[Told]) -> dict[str, Any]:
    """Accuracy of all, of the surer half and of the other; the groups; and by how much confidence and accuracy differ
    in them on average (the expected calibration error)."""
    ordered = np.array(sorted(told, key=lambda each: each[0]), np.float64)
    half = len(ordered) // 2
    groups = [_group(part) for part in np.array_split(ordered, GROUPS)]
    wrong = ordered[ordered[:, 1] == 0, 0]
    return {
        "rooms": len(ordered),
        **_group(ordered),
        "accuracy_of_the_surer_half": float(ordered[half:, 1].mean()),
        "accuracy_of_the_other_half": float(ordered[:half, 1].mean()),
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
        told = asyncio.run(ask(server.grpc, rooms, release.side))
    facts = {"name": release.facts["release"], "sha256": release.digest}
    return {**figures(told), "sharpness": SHARPNESS, "release": facts, **around}


def table(document: dict[str, Any]) -> Table:
    made = Table("rooms", "confidence", "accuracy", box=None)
    for name, group in (
        ("all", document),
        *((f"fifth {n + 1}", each) for n, each in enumerate(document["groups"])),
    ):
        made.add_row(name, f"{group['confidence']:.3f}", f"{group['accuracy']:.3f}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.room_confidence",
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
