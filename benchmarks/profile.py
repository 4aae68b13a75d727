"""How long do a release's graphs take on this device, for each size of picture and of batch?

    python -m benchmarks.profile                           # tiny, into its live version's folder, as profile.json
    python -m benchmarks.profile --bundle sd15_quarter --bucket 512x512 --batch 1 --batch 2

Measured through the embedded Triton: a step of each denoiser, guided and plain; each decoder; and what is seen in a
photo (depth twice, since the result is looked at too, objects and text). Seconds are a client's, medians of at least
three runs, with one size of each pair of buckets that are the same on their side.

`restyle` reads the profile when it starts, and tells it to the API and the workers, which then estimate by measured
instead of calculated costs (orchestrator/domain/cost.py). It holds for one kind of device: measure on the one that
serves, while nothing else uses it, and again after an export. The table's last column says what each further sample of
a batch costs, as a share of the first one: near 1 a batch saves nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from os import sched_getaffinity, sched_setaffinity
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from export.contract import Sizes, axis_sizes
from export.releases.folder import add_profile
from export.releases.specs import release_sizes, release_specs
from export.spec import ModelSpec
from measuring import report
from measuring.releases import Release, ready_release
from measuring.serving import served
from orchestrator.domain.cost import measured
from stack.device import devices_in
from stack.triton import devices_of

Bucket = tuple[int, int]
"""Height and width."""
Run = Callable[[str, dict[str, NDArray[Any]]], Coroutine[Any, Any, float]]
"""Runs a graph on tensors by name; returns the seconds that it took."""

LEAST_RUNS = 3
SEEN = {"depth": 2, "detector": 1, "segments": 1}
"""How often a job asks these, where a release has them."""


def batches_up_to(most: int) -> list[int]:
    """1, 2, 4, … and ``most``."""
    found = [1]
    while found[-1] * 2 < most:
        found.append(found[-1] * 2)
    return found if most == 1 else [*found, most]


def sizes_of(buckets: Sequence[Sequence[int]]) -> list[Bucket]:
    """One of each pair of buckets that are the same on their side."""
    return sorted({(min(bucket), max(bucket)) for bucket in buckets})


async def profile(
    release: Release, run: Run, buckets: Collection[Bucket], batches: Sequence[int], seconds: float
) -> dict[str, dict[str, list[float]]]:
    """Seconds by measured name and by bucket, of each of ``batches``; every one is run for ``seconds`` at least."""
    facts = release.facts
    specs, sizes = release_specs(facts), release_sizes(facts)
    found: dict[str, dict[str, list[float]]] = {}
    for bucket in buckets:
        name = f"{bucket[0]}x{bucket[1]}"
        for graph, spec in specs.items():
            if graph.startswith("denoiser"):
                for rows in (2, 1):
                    times = [
                        await _median(run, spec, sizes, bucket, rows, batch, seconds) for batch in batches
                    ]
                    found.setdefault(measured(graph, rows), {})[name] = times
            elif graph.endswith("decoder"):
                found.setdefault(graph, {})[name] = [
                    await _median(run, spec, sizes, bucket, 1, batch, seconds) for batch in batches
                ]
        perception = 0.0
        for graph, times_asked in SEEN.items():
            if graph in specs:
                once = await _median(run, specs[graph], sizes, bucket, 1, 1, seconds)
                perception += times_asked * once
        perception += await _median(run, specs["text_encoder"], sizes, bucket, 1, 2, seconds)
        if facts["defaults"].get("strength", 1.0) < 1.0:
            perception += await _median(run, specs["vae_encoder"], sizes, bucket, 1, 1, seconds)
        found.setdefault("perception", {})[name] = [perception]
        print(f"{name} is measured", flush=True)
    return found


async def _median(
    run: Run, spec: ModelSpec, sizes: Sizes, bucket: Bucket, rows: int, batch: int, seconds: float
) -> float:
    inputs = spec.example(batch, axis_sizes(spec, sizes, bucket, rows))
    await run(spec.name, inputs)
    times: list[float] = []
    while len(times) < LEAST_RUNS or sum(times) < seconds:
        times.append(await run(spec.name, inputs))
    return median(times)


class Server:
    """Runs graphs of the Triton at ``address``; an async context manager."""

    def __init__(self, address: str, release: Release) -> None:
        self._client = InferenceServerClient(address)
        facts = release.facts
        self._versions = {name: str(model["version"]) for name, model in facts["models"].items()}
        self._outputs = {
            name: [output.name for output in spec.outputs] for name, spec in release_specs(facts).items()
        }

    async def __aenter__(self) -> Run:
        return self._run

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def _run(self, graph: str, tensors: dict[str, NDArray[Any]]) -> float:
        inputs = []
        for name, array in tensors.items():
            kind = {"float32": "FP32", "uint8": "UINT8", "int64": "INT64"}[array.dtype.name]
            inputs.append(InferInput(name, list(array.shape), kind))
            inputs[-1].set_data_from_numpy(np.ascontiguousarray(array))
        outputs = [InferRequestedOutput(name) for name in self._outputs[graph]]
        begun = time.perf_counter()
        await self._client.infer(graph, inputs, self._versions[graph], outputs=outputs)
        return time.perf_counter() - begun


@contextmanager
def on_cores(cores: Collection[int] | None) -> Iterator[None]:
    """Processes that are started meanwhile run on these cores only; None = on all that this one may use."""
    before = sched_getaffinity(0)
    sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        sched_setaffinity(0, before)


def measure(
    release: Release,
    buckets: Collection[Bucket] | None = None,
    batches: Sequence[int] | None = None,
    *,
    seconds: float = 0.2,
    cores: Collection[int] | None = None,
) -> dict[str, Any]:
    """The profile, as orchestrator.domain.cost.Profile reads it, and where it was measured. None = all buckets, and
    1, 2, 4, … samples."""
    facts = release.facts
    chosen = sizes_of(facts["buckets"]) if buckets is None else buckets
    sizes = batches_up_to(facts["sizes"]["max_batch_size"]) if batches is None else sorted({1, *batches})
    around = report.circumstances()

    async def measured_at(address: str) -> dict[str, dict[str, list[float]]]:
        async with Server(address, release) as run:
            return await profile(release, run, chosen, sizes, seconds)

    with on_cores(cores), served(release) as server:
        found = asyncio.run(measured_at(server.grpc))
        devices = sorted(devices_in([devices_of(server.run)]))
    rounded = {
        name: {bucket: [float(f"{each:.4g}") for each in times] for bucket, times in by.items()}
        for name, by in found.items()
    }
    around |= {"cores": len(cores)} if cores else {}
    return {
        "release": facts["release"],
        "device": ", ".join(devices),
        "batches": sizes,
        "seconds": rounded,
        **around,
    }


def table(document: Mapping[str, Any]) -> Table:
    batches = document["batches"]
    made = Table("milliseconds", "bucket", *(f"batch {batch}" for batch in batches), "another", box=None)
    for column in made.columns[2:]:
        column.justify = "right"
    for name, by in document["seconds"].items():
        for bucket, times in by.items():
            columns = [f"{1000 * each:.1f}" for each in times] + [""] * (len(batches) - len(times))
            made.add_row(name, bucket, *columns, f"{another(batches, times):.2f}" if len(times) > 1 else "")
    return made


def another(batches: Sequence[int], times: Sequence[float]) -> float:
    """What a further sample costs, as a share of the first one: the mean over the batches."""
    steps = [
        (later - sooner) / (more - fewer)
        for (fewer, more), (sooner, later) in zip(pairwise(batches), pairwise(times), strict=True)
    ]
    return sum(steps) / len(steps) / times[0]


def a_bucket(text: str) -> Bucket:
    """HEIGHTxWIDTH."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"want HEIGHTxWIDTH, such as 512x512, not {text}")
    return int(height), int(width)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="tiny", help="the bundle to measure (tiny)")
    parser.add_argument(
        "--bucket", type=a_bucket, action="append", help="HEIGHTxWIDTH, may be repeated (all of the release)"
    )
    parser.add_argument("--batch", type=int, action="append", help="may be repeated (1, 2, 4, … the largest)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement at least (0.2)")
    parser.add_argument("--out", type=Path, help="another file than profile.json of the live version")
    given = parser.parse_args()
    release = ready_release(given.bundle)
    allowed = {tuple(bucket) for bucket in release.facts["buckets"]}
    if given.bucket and not set(given.bucket) <= allowed:
        names = ", ".join(f"{height}x{width}" for height, width in sorted(allowed))
        parser.error(f"{release.facts['release']} has no such bucket; it has {names}")
    most = release.facts["sizes"]["max_batch_size"]
    if given.batch and not all(1 <= batch <= most for batch in given.batch):
        parser.error(f"{release.facts['release']} takes batches of 1 to {most}")
    document = measure(release, given.bucket, given.batch, seconds=given.seconds)
    console = Console()
    console.print(table(document))
    file = given.out or add_profile(release.folder, document)
    if given.out:
        given.out.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
