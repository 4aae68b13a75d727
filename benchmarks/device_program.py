"""Runs graphs on the CPU and on the GPU, in the serving environment: the part of ``device_check`` that needs a GPU.

    PYTHONPATH=stack/backends/onnxruntime .triton/bin/python benchmarks/device_program.py PLAN.json

The plan names each graph's file and its cases; a case is two .npz files with inputs of the same shapes. What the graph
gives for them is written beside them, as <case>-<mode>.npz, and the answer to standard output, as JSON. It imports
nothing of ours but the backend's runners, since the environment has nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime

from runners import INSTALLED, Array, Device, Runner, Runtime, Setup, open_runner

MODES: dict[str, tuple[Device, int]] = {"cpu": ("cpu", 0), "cuda": ("cuda", 0), "graphs": ("cuda", 32)}
"""Device, and how many CUDA graphs may be recorded."""
LEAST_RUNS = 3


def measure(plan: dict[str, Any], runtime: Runtime = INSTALLED) -> dict[str, Any]:
    """``plan``: {seconds, graphs: [{file, cases: [[first.npz, second.npz]]}]}. Raises CudaUnavailable."""
    graphs = [
        _graph(Path(graph["file"]), graph["cases"], plan["seconds"], runtime) for graph in plan["graphs"]
    ]
    return {"onnxruntime": onnxruntime.__version__, "graphs": graphs}


def _graph(file: Path, cases: list[list[str]], seconds: float, runtime: Runtime) -> dict[str, Any]:
    """For each mode the seconds of a run in each case; for graphs also how many were recorded, and why not."""
    said: list[str] = []
    found: dict[str, Any] = {"seconds": {}}
    for mode, (device, graphs) in MODES.items():
        runner = open_runner(file, Setup(device=device, cuda_graphs=graphs), said.append, runtime)
        found["seconds"][mode] = [_case(runner, mode, pair, seconds) for pair in cases]
        if mode == "graphs":
            found |= {"recorded": getattr(runner, "graphs", 0), "said": said}
    return found


def _case(runner: Runner, mode: str, pair: list[str], seconds: float) -> float:
    files = [Path(each) for each in pair]
    inputs = [_load(file) for file in files]
    names = [output.name for output in runner.outputs]
    # In turns: a graph that is recorded with the first values must be replayed with the others.
    for _ in range(2):
        outputs = [runner.run(names, each) for each in inputs]
    for file, arrays in zip(files, outputs, strict=True):
        np.savez(file.with_name(f"{file.stem}-{mode}.npz"), **dict(zip(names, arrays, strict=True)))
    times: list[float] = []
    while len(times) < LEAST_RUNS or sum(times) < seconds:
        begun = time.perf_counter()
        runner.run(names, inputs[0])
        times.append(time.perf_counter() - begun)
    return median(times)


def _load(file: Path) -> dict[str, Array]:
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("plan", type=Path, help="which graphs, and with what: JSON")
    print(json.dumps(measure(json.loads(parser.parse_args().plan.read_text()))))
