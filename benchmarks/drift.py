"""Does a result's quality say which part of the room a restyle has rebuilt?

    python -m benchmarks.drift                              # 200 rooms for each fault, into results/drift.json
    python -m benchmarks.drift --split train --rooms 40     # rooms on which the measures' numbers may be chosen
    python -m benchmarks.drift --seconds 200                # as many as there is time for; run again, it goes on

The rooms are renders, so the truth is known (dollhouse/evaluate/drifted.py). The photo is one of them; its faithful
restyles are true renders of the same room in four other styles, as soft as a network leaves them; in a faulty one a
window has moved, a door is gone, a wall stands further out, the camera has turned, or straight lines are bent. The
models of a real Triton see every picture, and `restyle`'s own code measures it. In the first RESTYLED rooms the release
restyles the photo too: those results are not judged, but shown beside the others.

below        share of rooms in which the fault's kind is lower than in every faithful restyle
own_most     share of rooms in which no other kind falls by as much, from the median of the faithful restyles
auc          how often a faulty picture has less of its kind than a faithful one, of all pairs of all rooms
nothing_done the photo, only softened: how much is ``changed``, and how often every faithful restyle has a better score
share_of_a_picture   seconds of measuring, and of detecting objects once more, over those of a restyle
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS, ROOT
from dollhouse.data.dataset import SPLITS
from dollhouse.evaluate.drifted import FAULTS, KINDS, drifted
from dollhouse.evaluate.held_out import MEASURED
from dollhouse.evaluate.perceived import Perceived, perceive
from dollhouse.evaluate.planted import FIRST, SOFT
from dollhouse.render.rooms import LABELS
from measuring import report
from measuring.counters import difference
from measuring.gates import Gate
from measuring.releases import Release, ready_release
from measuring.service import Service
from measuring.serving import asked
from orchestrator.domain.preferences import Preferences
from restyle.pictures.quality import measure_quality
from restyle.pictures.structure import Sight, measure_structure

ROOMS = 200
RESTYLED = 60
GATES = {
    "below": Gate(at_least=0.9),
    "own_most": Gate(at_least=0.9),
    "auc": Gate(at_least=0.95),
}
CHANGED = Gate(at_most=0.05)
SHARE = Gate(at_most=0.05)
NOTHING = "nothing_done"
PERCENTILES = (5, 50, 95)

Measures = dict[str, float]


class Record(msgspec.Struct):
    """One room: the quality of its faithful restyles, of the photo itself, of each fault, and of the release's own
    result; seconds of measuring a picture."""

    seed: int
    faithful: list[Measures]
    faulty: dict[str, Measures]
    nothing: Measures
    seconds: list[float]
    restyled: Measures | None = None
    restyle_seconds: float | None = None


def soft(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), SOFT * picture.shape[1] / 256.0), np.uint8)


def sight(seen: Perceived) -> Sight:
    """What `restyle` measures by."""
    found = seen.objects
    objects = [
        {"label": LABELS[label], "score": float(score), "box": [float(value) for value in box]}
        for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True)
    ]
    return Sight(seen.picture, seen.depth, objects)


async def measure_room(
    service: Service, seed: int, wanted: Sequence[str], *, restyled: bool
) -> Record | None:
    """None where the room has no place for any of the wanted faults."""
    made = drifted(seed, service.release.side, soft, wanted=wanted)
    if made is None:
        return None
    photo = await perceive(service, made.photo)
    before, seconds = sight(photo), []

    async def measured(picture: NDArray[np.uint8]) -> Measures:
        seen = await perceive(service, picture)
        after = sight(seen)
        begun = time.thread_time()
        structure = measure_structure(before, after)
        seconds.append(time.thread_time() - begun)
        quality = measure_quality(photo.picture, photo.edges, photo.depth, picture, seen.edges, seen.depth)
        return {**structure, "changed": quality["changed"], "score": quality["score"]}

    record = Record(
        seed,
        [await measured(each) for each in made.faithful.values()],
        {name: await measured(each) for name, each in made.faulty.items()},
        await measured(soft(made.photo)),
        seconds,
    )
    if restyled:
        begun = time.perf_counter()
        answer = await service.restyle(made.photo, next(iter(made.faithful)), Preferences(seed=seed))
        record.restyle_seconds = time.perf_counter() - begun
        record.restyled = answer.result.quality
    return record


async def measure_rooms(
    service: Service, seeds: Sequence[int], rooms: int, done: list[Record], file: Path, until: float
) -> bool:
    """Measure until every fault has been planted in that many rooms; each record goes to the ``file`` at once. False
    when the time was up before (``until``: of time.monotonic)."""
    counts = {name: sum(name in record.faulty for record in done) for name in FAULTS}
    begin = seeds.index(done[-1].seed) + 1 if done else 0
    with file.open("a") as records:
        for seed in seeds[begin:]:
            wanted = [name for name in FAULTS if counts[name] < rooms]
            if not wanted:
                return True
            if time.monotonic() > until:
                return False
            record = await measure_room(service, seed, wanted, restyled=len(done) < RESTYLED)
            if record is not None:
                done.append(record)
                records.write(msgspec.json.encode(record).decode() + "\n")
                records.flush()
                for name in record.faulty:
                    counts[name] += 1
    return not [name for name in FAULTS if counts[name] < rooms]


def figures(records: Sequence[Record]) -> dict[str, Any]:
    """Everything that goes into the JSON about the pictures."""
    return {
        "faults": {name: _fault(name, records) for name in FAULTS},
        "faithful": _spread([each for record in records for each in record.faithful]),
        NOTHING: {
            "rooms": len(records),
            "most_changed": max(record.nothing["changed"] for record in records),
            "worse_than_faithful": _mean(
                record.nothing["score"] < min(each["score"] for each in record.faithful) for record in records
            ),
        },
        "results_of_the_release": {
            "rooms": sum(record.restyled is not None for record in records),
            **_spread([record.restyled for record in records if record.restyled is not None]),
        },
    }


def _fault(name: str, records: Sequence[Record]) -> dict[str, Any]:
    kind = KINDS[name]
    rooms = [record for record in records if name in record.faulty]
    drops = [_drops(record, name) for record in rooms]
    return {
        "kind": kind,
        "rooms": len(rooms),
        "below": _mean(
            _of(record.faulty[name], kind) < min(_of(each, kind) for each in record.faithful)
            for record in rooms
        ),
        "own_most": _mean(
            each[kind] > max(fall for other, fall in each.items() if other != kind) for each in drops
        ),
        "auc": auc(
            [_of(each, kind) for record in rooms for each in record.faithful],
            [_of(record.faulty[name], kind) for record in rooms],
        ),
        "measures": _spread([record.faulty[name] for record in rooms]),
    }


def _of(measures: Mapping[str, float], kind: str) -> float:
    """What could not be measured is no reason to refuse a picture."""
    return measures.get(kind, 1.0)


def _drops(record: Record, name: str) -> dict[str, float]:
    return {
        kind: median(_of(each, kind) for each in record.faithful) - _of(record.faulty[name], kind)
        for kind in dict.fromkeys(KINDS.values())
    }


def auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """How often a value of ``lower`` is lower than one of ``higher``; ties count as a half."""
    above, below = np.array(higher)[:, None], np.array(lower)
    return float((above > below).mean() + 0.5 * (above == below).mean())


def _spread(measures: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Percentiles (PERCENTILES) of every measure."""
    names = [*dict.fromkeys(KINDS.values()), "structure", "changed"]
    found = {name: [each[name] for each in measures if name in each] for name in names}
    return {name: np.percentile(each, PERCENTILES).tolist() for name, each in found.items() if each}


def _mean(outcomes: Iterator[bool]) -> float:
    return float(np.mean(list(outcomes)))


def costs(records: Sequence[Record], detector_seconds: float) -> dict[str, float]:
    """Medians: of measuring a picture, of a whole restyle through Triton, and what share of it measuring takes."""
    measuring = median(each for record in records for each in record.seconds)
    restyling = median(record.restyle_seconds for record in records if record.restyle_seconds is not None)
    return {
        "measuring_seconds": measuring,
        "detector_seconds": detector_seconds,
        "restyle_seconds": restyling,
        "share_of_a_picture": (measuring + detector_seconds) / restyling,
    }


async def detector_seconds(service: Service, photo: NDArray[np.uint8], rounds: int = 40) -> float:
    """Seconds of one run of the detector, as Triton counts them."""
    before = await service.counters()
    for _ in range(rounds):
        await service.perceive(photo)
    ran = difference(await service.counters(), before)["detector"]
    return ran.compute_infer / ran.requests


def table(document: Mapping[str, Any]) -> Table:
    made = Table("fault", "kind", "rooms", *GATES, box=None)
    for name, found in document["faults"].items():
        reached = (f"{found[each]:.3f} {report.reached(gate, found[each])}" for each, gate in GATES.items())
        made.add_row(name, found["kind"], str(found["rooms"]), *reached)
    return made


def read_records(file: Path) -> list[Record]:
    if not file.is_file():
        return []
    return [msgspec.convert(json.loads(line), Record) for line in file.read_text().splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse")
    parser.add_argument("--rooms", type=int, default=ROOMS, help=f"for each fault ({ROOMS})")
    parser.add_argument("--split", choices=("train", "held_out"), default="held_out")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="stop then, to go on another time"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "drift.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    release: Release = ready_release(given.bundle)
    seeds = SPLITS["train"][FIRST:] if given.split == "train" else MEASURED
    file = ROOT / "build" / "drift" / f"{release.facts['release']}-{given.split}-{given.rooms}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    records, around = read_records(file), report.circumstances()
    until = time.monotonic() + given.seconds

    async def ask(service: Service) -> tuple[bool, float]:
        whole = await measure_rooms(service, seeds, given.rooms, records, file, until)
        made = drifted(seeds[0], release.side, soft)
        assert made is not None
        return whole, await detector_seconds(service, made.photo)

    whole, detecting = asked(release, ask)
    console = Console()
    document = {
        "split": given.split,
        "complete": whole,
        **figures(records),
        "cost": costs(records, detecting),
        **release.described,
        **around,
    }
    report.write(given.out, document)
    if whole:
        file.unlink()
    else:
        console.print(f"{len(records)} rooms are measured; run it again to go on")
    console.print(table(document))
    nothing, cost = document[NOTHING], document["cost"]
    console.print(
        f"nothing done: changed at most {report.reached(CHANGED, nothing['most_changed'])}", end=", "
    )
    console.print(f"worse than every faithful restyle in {nothing['worse_than_faithful']:.3f} of the rooms")
    console.print(
        f"of a picture's time {report.reached(SHARE, cost['share_of_a_picture'])}; wrote {given.out}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
