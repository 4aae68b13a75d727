"""Where does the time of a restyle go: how much of it outside the denoiser, and how much in no model at all?

    python -m benchmarks.overhead                          # dollhouse and sd15_quarter, into results/overhead.json
    python -m benchmarks.overhead --bundle tiny --out tiny.json

One restyle at a time of a photo of the bundle's native size, at the bundle's defaults, measured by the client (gRPC
message, transport and events included); Triton's own statistics have what the models computed meanwhile.

outside_denoiser_share   1 − the denoiser's computing over the whole
loop_overhead_share      1 − the computing of every model over the whole: the loop, calls between models, queues,
                         resizing, the quality score, transport. Of the models that run side by side (depth with edges
                         and detector) the longest counts and the rest is overhead, so this is an upper bound

Of several bundles the last one, the largest, gives the figures at the top of the JSON. dollhouse makes four cheap
steps, so its share is high by nature. sd15_quarter has the structure and the proportions of Stable Diffusion 1.5 with
two ControlNets, guidance, 20 steps and 512×512 pixels, with random weights at a quarter of the width; it is too large
for the repository and is exported into .run when it is not there (minutes). A model's computing includes the copies
into and out of its backend.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from measuring import report
from measuring.counters import Counters, difference
from measuring.gates import Gate
from measuring.releases import Release, ready_release
from measuring.sample import sample_request
from measuring.service import Service
from measuring.serving import served

GOAL = Gate(at_most=0.15)
BUNDLES = ("dollhouse", "sd15_quarter")
SPAN = 10.0
"""Seconds that the restyles of one bundle should fill; at least one is made, at most MOST."""
MOST = 20
BESIDE = (("depth", "edges", "detector"),)
"""Models that run side by side. All others run one after the other."""


def computing(counters: Counters) -> float:
    """Seconds in which a model worked, its tensors' copies included."""
    return counters.compute_input + counters.compute_infer + counters.compute_output


def shares(whole: float, stages: Mapping[str, float], models: Mapping[str, Counters]) -> dict[str, Any]:
    """Figures of ``whole`` seconds of restyling, one at a time: what their stages took, and what the models did."""
    seconds = {name: computing(counters) for name, counters in models.items() if name != "restyle"}
    hidden = sum(
        sum(found) - max(found)
        for group in BESIDE
        if (found := [seconds[name] for name in group if name in seconds])
    )
    denoisers = sum(time for name, time in seconds.items() if name.startswith("denoiser"))
    return {
        "outside_denoiser_share": 1.0 - denoisers / whole,
        "loop_overhead_share": 1.0 - (sum(seconds.values()) - hidden) / whole,
        "transport_share": 1.0 - sum(stages.values()) / whole,
        "stage_shares": {name: time / whole for name, time in stages.items()},
        "model_shares": {name: time / whole for name, time in seconds.items()},
        "queue_shares": {name: models[name].queue / whole for name in seconds},
        "model_calls": {name: models[name].requests for name in seconds},
    }


async def restyle_alone(service: Service, release: Release) -> dict[str, Any]:
    """Restyle one at a time, after a warm-up, and account for the time."""
    asked = sample_request(release)
    begun = time.perf_counter()
    await service.answer(sample_request(release, steps=1))
    warm_up = time.perf_counter() - begun
    before = await service.counters()
    times: list[float] = []
    stages: dict[str, float] = {}
    while not times or (sum(times) < SPAN and len(times) < MOST):
        begun = time.perf_counter()
        result = await service.answer(asked)
        times.append(time.perf_counter() - begun)
        for stage, seconds in result.timings.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    models = difference(await service.counters(), before)
    return {
        "seconds": median(times),
        "restyles": len(times),
        "warm_up_seconds": warm_up,
        **shares(sum(times), stages, models),
    }


def measure(release: Release) -> dict[str, Any]:
    around = report.circumstances()

    async def ask(address: str) -> dict[str, Any]:
        async with Service(address, release) as service:
            return await restyle_alone(service, release)

    with served(release) as server:
        found = asyncio.run(ask(server.grpc))
    return {
        **found,
        **release.described,
        **around,
    }


def table(documents: Sequence[dict[str, Any]]) -> Table:
    made = Table("share of a restyle's time", *(each["release"] for each in documents), "goal", box=None)
    for column in made.columns[1:-1]:
        column.justify = "right"

    def row(name: str, values: Sequence[float | None], goal: str = "") -> None:
        made.add_row(name, *("" if value is None else f"{value:.1%}" for value in values), goal)

    outside = [each["outside_denoiser_share"] for each in documents]
    row("outside the denoiser", outside, report.reached(GOAL, outside[-1]))
    row("in no model (at most)", [each["loop_overhead_share"] for each in documents])
    row("transport", [each["transport_share"] for each in documents])
    for kind in ("stage", "model"):
        for name in {name: None for each in documents for name in each[f"{kind}_shares"]}:
            row(f"{kind} {name}", [each[f"{kind}_shares"].get(name) for each in documents])
    made.add_row("seconds", *(f"{each['seconds']:.3f}" for each in documents), "")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", action="append", help=f"may be repeated ({', '.join(BUNDLES)})")
    parser.add_argument("--out", type=Path, default=RESULTS / "overhead.json")
    given = parser.parse_args()
    documents = []
    for bundle in given.bundle or BUNDLES:
        print(f"{bundle} …", flush=True)
        documents.append(measure(ready_release(bundle)))
    headline = ("outside_denoiser_share", "loop_overhead_share")
    report.write(
        given.out,
        {
            **{name: documents[-1][name] for name in headline},
            "bundles": {each["release"]: each for each in documents},
        },
    )
    console = Console()
    console.print(table(documents))
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
