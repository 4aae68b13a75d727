"""Does an NVIDIA GPU compute what the CPU does, and how much faster, with CUDA graphs and without?

    make .triton DEVICE=cuda                         # once: the environment with onnxruntime-gpu
    python -m benchmarks.device_check                # tiny and dollhouse, into results/device.json
    python -m benchmarks.device_check sd15 --environment /elsewhere/venv --out sd15.json

Every graph of the releases runs through the embedded backend's runners: on the CPU, on the GPU, and on the GPU with
CUDA graphs; at the corners of what a service sends (one sample, a full batch, the largest bucket), each with two sets
of values in turns, so that a replay with stale inputs would be seen. The GPU's outputs are compared with the CPU's,
with the tolerances of the export's proofs. ``cpu_over_cuda`` and ``cuda_over_graphs`` are ratios of a run's time, with
its copies to and from the card.

Where there is no GPU it says so in one sentence, with status 2. The status is 1 when an output is beyond its tolerance.
It has not run on a GPU yet; tests run it on a stand-in.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS, ROOT
from export.proofs.parity import ANY, FP16, FP32, ParityError, Reference, compare, corner_cases
from export.releases.specs import graph_file, release_sizes, release_specs
from export.spec import ModelSpec
from measuring import report
from measuring.gpu import Gpu
from measuring.releases import Release, ready_release
from stack.device import chosen_device
from stack.process import StackError
from stack.triton import BACKENDS, ENVIRONMENT

BUNDLES = ("tiny", "dollhouse")
NO_GPU = 2
Program = Callable[[dict[str, Any]], dict[str, Any]]
"""``device_program.measure``, in whatever process."""


@dataclass(frozen=True)
class Graph:
    """One graph of a release, and the files of its cases: two sets of inputs for each."""

    spec: ModelSpec
    file: Path
    precision: str
    cases: list[tuple[str, Path, Path]]
    """A name, and the files."""


def prepared(release: Release, folder: Path) -> list[Graph]:
    """The graphs of the release's live version, with inputs that are written into ``folder``."""
    facts = release.facts
    specs, sizes = release_specs(facts), release_sizes(facts)
    found = []
    for name, model in facts["models"].items():
        spec, cases = specs[name], []
        for number, (batch, axes) in enumerate(corner_cases(spec, sizes)):
            first = spec.example(batch, axes)
            second = {tensor: array[..., ::-1] for tensor, array in first.items()}
            files = [folder / f"{facts['release']}-{name}-{number}{letter}.npz" for letter in "ab"]
            for file, inputs in zip(files, (first, second), strict=True):
                np.savez(file, **inputs)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
            words = [f"batch {batch}", *(f"{axis} {size}" for axis, size in axes.items())]
            cases.append((", ".join(words), files[0], files[1]))
        graph = graph_file(release.folder, facts, name)
        found.append(Graph(spec, graph, model.get("precision", "fp32"), cases))
    return found


def checked(graphs: list[Graph], seconds: float, program: Program) -> dict[str, Any]:
    """Run them all; what goes into the JSON."""
    plan = {
        "seconds": seconds,
        "graphs": [
            {"file": str(graph.file), "cases": [[str(a), str(b)] for _, a, b in graph.cases]}
            for graph in graphs
        ],
    }
    answer = program(plan)
    found = {
        graph.spec.name: {
            "recorded": measured["recorded"],
            "said": measured["said"],
            "cases": [
                _case(graph, number, {mode: times[number] for mode, times in measured["seconds"].items()})
                for number in range(len(graph.cases))
            ],
        }
        for graph, measured in zip(graphs, answer["graphs"], strict=True)
    }
    return {"onnxruntime": answer["onnxruntime"], "graphs": found}


def _case(graph: Graph, number: int, seconds: dict[str, float]) -> dict[str, Any]:
    name, *files = graph.cases[number]
    wrong: list[str] = []
    shares = dict.fromkeys(("cuda", "graphs"), 0.0)
    largest: dict[str, float] = {}
    for file in files:
        expected = _arrays(_answered(file, "cpu"))
        outputs = tuple(expected[tensor.name] for tensor in graph.spec.outputs)
        reference = Reference(_arrays(file), outputs)
        for mode in shares:
            actual = _arrays(_answered(file, mode))
            for output, difference in compare(graph.spec, actual, reference, ANY).items():
                largest[output] = max(largest.get(output, 0.0), difference.largest)
            try:
                differences = compare(
                    graph.spec, actual, reference, FP16 if graph.precision == "fp16" else FP32
                )
                shares[mode] = max(shares[mode], *(each.share for each in differences.values()))
            except ParityError as error:
                wrong.append(f"{mode}: {error}")
    return {
        "case": name,
        "seconds": seconds,
        "cpu_over_cuda": seconds["cpu"] / seconds["cuda"],
        "cuda_over_graphs": seconds["cuda"] / seconds["graphs"],
        "largest_difference": largest,
        "share_of_tolerance": shares,
        "wrong": wrong,
    }


def _answered(file: Path, mode: str) -> Path:
    return file.with_name(f"{file.stem}-{mode}.npz")


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


def in_process(python: Path, folder: Path) -> Program:
    """The program, run by another Python. Raises CalledProcessError, whose stderr says why."""

    def program(plan: dict[str, Any]) -> dict[str, Any]:
        file = folder / "plan.json"
        file.write_text(json.dumps(plan))
        env = {**os.environ, "PYTHONPATH": str(BACKENDS / "onnxruntime")}
        command = [python, ROOT / "benchmarks" / "device_program.py", file]
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
        # CUDA's libraries may have been complained of above.
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return program


def card() -> dict[str, Any]:
    """The first GPU, as its driver describes it; empty where that tells nothing."""
    gpu = Gpu.found()
    return {} if gpu is None else gpu.described


def table(bundles: dict[str, Any]) -> Table:
    made = Table("graph", "case", "CPU ms", "CUDA ms", "graphs ms", "of tolerance", box=None)
    for column in made.columns[2:]:
        column.justify = "right"
    for bundle, graphs in bundles.items():
        for name, graph in graphs.items():
            for case in graph["cases"]:
                times = (f"{1000 * case['seconds'][mode]:.2f}" for mode in ("cpu", "cuda", "graphs"))
                share = max(case["share_of_tolerance"].values())
                verdict = "[red]beyond it[/]" if case["wrong"] else f"{share:.0%}"
                made.add_row(f"{bundle} {name}", case["case"], *times, verdict)
    return made


def sentences(bundles: dict[str, Any]) -> Iterable[str]:
    """What was wrong, and what was said on the way."""
    for bundle, graphs in bundles.items():
        for name, graph in graphs.items():
            for sentence in [*graph["said"], *(each for case in graph["cases"] for each in case["wrong"])]:
                yield f"{bundle} {name}: {sentence}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.device_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bundles", nargs="*", default=BUNDLES, metavar="BUNDLE", help=f"({', '.join(BUNDLES)})"
    )
    parser.add_argument(
        "--environment", type=Path, default=ENVIRONMENT, help="with onnxruntime-gpu (.triton)"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of each case in each mode (1)")
    parser.add_argument("--out", type=Path, default=RESULTS / "device.json")
    given = parser.parse_args()
    try:
        chosen_device("cuda", given.environment)
    except StackError as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return NO_GPU
    around, console = report.circumstances() | {"gpu": card()}, Console()
    found: dict[str, Any] = {}
    for bundle in given.bundles:
        console.print(f"{bundle} …")
        with tempfile.TemporaryDirectory() as folder:
            graphs = prepared(ready_release(bundle), Path(folder))
            program = in_process(given.environment / "bin" / "python", Path(folder))
            found[bundle] = checked(graphs, given.seconds, program)
    bundles = {bundle: each["graphs"] for bundle, each in found.items()}
    report.write(given.out, {"bundles": found} | around)
    console.print(table(bundles))
    for sentence in sentences(bundles):
        console.print(sentence)
    console.print(f"wrote {given.out}")
    return int(
        any(
            case["wrong"] for graphs in bundles.values() for each in graphs.values() for case in each["cases"]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
