"""Is Stable Diffusion 1.5 exported at full size, whole and right, on a machine like this one?

    python -m benchmarks.export_full --random               # sd15_random, into results/export.json: over an hour
    python -m benchmarks.export_full --bundle sd15          # with the real weights, where a hub can be reached
    python -m benchmarks.export_full --bundle tiny --out tiny.json

The bundle is exported in FP32 and in FP16 as a user does it, and looked at from outside:

- ``parity_worst``: the largest difference of a graph's output from torch's, as a share of what is allowed;
  ``pictures_worst``: of whole pictures from diffusers', in levels of 255. Both by precision.
- ``export_peak_gb``: the most memory that the export's processes held at any moment (PSS, sampled every second, so that
  shared pages count once).
- ``resumed_seconds``: the same export called again, all of whose graphs are made already.
- ``sabotage``: weights of the files scaled by 1.01, one at a time, and how many the comparison with the source finds.
- ``triton``: one guided step and one decode by the FP32 graphs in a real Triton, against ONNX Runtime in this process.
- ``sm75_built``: FP16 graphs that TensorRT compiles for a T4 (it proves types and compilation, no numbers).

Ends with 1 when a gate is missed. What was exported stays in ``build/export_full``, where a later call goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.console import Console
from torch import nn
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype

from benchmarks import RESULTS, ROOT, tensorrt_gate
from benchmarks.perf_inputs import specs
from export.bundle import Precision, load_bundle
from export.graphs.fp16_initializers import stored_weights
from export.networks.modules import graph_networks, graph_precision, load_graph_module
from export.networks.precision import halve_module, round_weights
from export.proofs.parity import ParityError, check_weights
from export.proofs.tensorrt import check_release, table
from export.releases.folder import live_document
from export.releases.specs import graph_file
from export.sources.hub import local_folders, with_folders
from measuring import report
from measuring.gates import Gate
from measuring.memory import memory_of
from measuring.releases import Release
from stack.triton import TritonServer

FOLDER = ROOT / "build" / "export_full"
RANDOM = "sd15_random"
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
PEAK = Gate(at_most=16.0)
SABOTAGED = 100
SAME = 1e-3
"""Relative to the largest value: by how much Triton's answer may differ from ONNX Runtime's here. The embedded backend
uses other thread counts, and so other orders of summation."""

Tensors = dict[str, NDArray[Any]]


class Watch(threading.Thread):
    """Samples the memory of a process and its descendants, once a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._ended = pid, threading.Event()
        self.peak_mb = 0.0

    def run(self) -> None:
        while not self._ended.wait(1.0):
            # A process that ends between listing and reading.
            with suppress(OSError, AssertionError):
                self.peak_mb = max(self.peak_mb, memory_of(self._pid).shared_once_mb)

    def end(self) -> float:
        """10⁶ bytes."""
        self._ended.set()
        self.join()
        return self.peak_mb


def export(bundle: str, precision: Precision, console: Console) -> dict[str, Any]:
    """Export ``bundle`` as a user does. Raises CalledProcessError when that fails."""
    releases = FOLDER / precision
    command = [sys.executable, "-m", "export", bundle, "--precision", precision]
    command += ["--releases", str(releases), "--work", str(FOLDER / "work")]
    begun = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT) as process:
        watch = Watch(process.pid)
        watch.start()
        status = process.wait()
        peak = watch.end()
    if status:
        raise subprocess.CalledProcessError(status, command)
    seconds = time.monotonic() - begun
    console.print(f"{bundle}, {precision}: {seconds / 60:.1f} min, {peak / 1e3:.1f} GB")
    return {"seconds": seconds, "peak_gb": peak / 1e3}


def exported(bundle: str, precision: Precision) -> Release:
    """What :func:`export` made."""
    return Release(FOLDER / precision / bundle)


def described(release: Release) -> dict[str, Any]:
    """What the release and its proof say of themselves."""
    document = release.facts
    proof = json.loads((live_document(release.folder).parent / "proof.json").read_text())
    return {
        "gigabytes": sum(model["bytes"] for model in document["models"].values()) / 1e9,
        "graphs": proof["graphs"],
        "pictures_worst": max(case["difference"] for case in proof["whole"]["cases"]),
        "pictures_allowed": proof["whole"]["tolerance"],
        "pictures": len(proof["whole"]["cases"]),
        "rounding": {name: model.get("rounding", {}) for name, model in document["models"].items()},
    }


def sabotage(bundle: str, precision: Precision, count: int) -> dict[str, int]:
    """Scale ``count`` random weights of a release by 1.01, one at a time: how many does the comparison find?"""
    release = exported(bundle, precision)
    document = release.facts
    plain = msgspec.structs.replace(load_bundle(bundle), precision=precision)
    local = with_folders(plain, local_folders(plain))
    generator, tried, found = random.Random(12), 0, 0
    names = list(graph_networks(local))
    for index, name in enumerate(names):
        module = load_graph_module(local, name)
        if graph_precision(local, name) == "fp16":
            round_weights(name, module)
            halve_module(module)
        stored = stored_weights(graph_file(release.folder, document, name))
        used = held(name, module, stored, document)
        share = count // len(names) + (index < count % len(names))
        for parameter in generator.choices(not_zero(module, used), k=share):
            tried += 1
            found += finds(name, module, stored, parameter, used)
        del module, stored
    return {"tried": tried, "found": found}


def held(name: str, module: nn.Module, stored: Tensors, document: dict[str, Any]) -> set[str]:
    """The parameters of ``module`` that the graph ``name`` holds: without those that its constants hold instead, and
    those that no output depends on."""
    parameters = {key for key, _ in module.named_parameters()} - set(document["models"][name]["folded"])
    return parameters - set(check_weights(name, stored, module, parameters))


def finds(name: str, module: nn.Module, stored: Tensors, parameter: str, used: set[str]) -> bool:
    """Whether the comparison finds that the file's ``parameter``, which is not all zeros, is scaled by 1.01.

    The file may hold it transposed, or only under the name of an equal tensor.
    """
    array = module.get_parameter(parameter).detach().numpy()
    place = (
        parameter
        if parameter in stored
        else next(key for key, other in stored.items() if same(other, array) or same(other, array.T))
    )
    scaled = (stored[place].astype(np.float64) * 1.01).astype(stored[place].dtype)
    assert not np.array_equal(scaled, stored[place])
    try:
        return bool(check_weights(name, {**stored, place: scaled}, module, used))
    except ParityError:
        return True


def not_zero(module: nn.Module, parameters: set[str]) -> list[str]:
    """Those of ``parameters`` that scaling changes."""
    return sorted(key for key in parameters if module.get_parameter(key).any())


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether shape and numbers agree."""
    return one.shape == other.shape and np.array_equal(one, other)


def through_triton(bundle: str, console: Console) -> dict[str, Any]:
    """One guided step and one decode by the FP32 graphs, in a real Triton and in ONNX Runtime here."""
    release = exported(bundle, "fp32")
    found = {}
    for name in ("denoiser", "vae_decoder"):
        # One at a time: both, twice, would be more than the machine has.
        repository = FOLDER / "repository"
        shutil.rmtree(repository, ignore_errors=True)
        repository.mkdir()
        (repository / name).symlink_to(release.folder / "models" / name)
        spec = specs(release)[name]
        inputs, outputs = spec.example(1), [tensor.name for tensor in spec.outputs]
        with TritonServer([repository]) as server:
            begun = time.monotonic()
            ours = asyncio.run(infer(server.grpc, name, outputs, inputs))
            seconds = time.monotonic() - begun
        file = graph_file(release.folder, release.facts, name)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        theirs = dict(zip(outputs, session.run(outputs, inputs), strict=True))
        del session
        difference = max(
            float(np.abs(ours[key] - theirs[key]).max() / max(1.0, np.abs(theirs[key]).max()))
            for key in outputs
        )
        console.print(f"{name} in Triton: {seconds:.1f} s, differs by {difference:.2g}")
        found[name] = {"seconds": seconds, "difference": difference}
    return found


async def infer(address: str, model: str, outputs: list[str], inputs: Tensors) -> Tensors:
    """One unary call."""
    given = []
    for name, array in inputs.items():
        tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        given.append(tensor)
    async with InferenceServerClient(address) as client:
        answer = await client.infer(model, given)
        return {name: answer.as_numpy(name) for name in outputs}


def compiled(bundle: str, console: Console) -> dict[str, Any]:
    """What TensorRT says to the FP16 graphs."""
    verdicts = list(check_release(exported(bundle, "fp16").folder))
    console.print(table(verdicts))
    return tensorrt_gate.document({bundle: verdicts})


def parity_share(graphs: dict[str, Any]) -> float:
    """The largest of the graphs' differences, as a share of what is allowed."""
    return max(float(graph["share"]) for graph in graphs.values())


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.export_full",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--random", action="store_const", const=RANDOM, dest="bundle", help=f"the bundle {RANDOM}"
    )
    which.add_argument("--bundle", help="a name in export/bundles")
    parser.add_argument("--out", type=Path, default=RESULTS / "export.json")
    given = parser.parse_args()
    console, found = Console(), report.circumstances() | {"bundle": given.bundle}
    for precision in PRECISIONS:
        took = export(given.bundle, precision, console)
        again = export(given.bundle, precision, console)
        found[precision] = took | described(exported(given.bundle, precision))
        found[precision]["resumed_seconds"] = again["seconds"]
        report.write(given.out, found)
    found["sabotage"] = {
        precision: sabotage(given.bundle, precision, SABOTAGED // 2) for precision in PRECISIONS
    }
    found["triton"] = through_triton(given.bundle, console)
    found["tensorrt"] = compiled(given.bundle, console)
    found["sm75_built"] = found["tensorrt"]["sm75_built"]
    found["export_peak_gb"] = max(found[precision]["peak_gb"] for precision in PRECISIONS)
    found["parity_worst"] = {precision: parity_share(found[precision]["graphs"]) for precision in PRECISIONS}
    report.write(given.out, found)
    passed = {
        f"export_peak_gb {report.reached(PEAK, found['export_peak_gb'])}": PEAK.passes(
            found["export_peak_gb"], PEAK.bound
        ),
        "every scaled weight is found": all(
            each["found"] == each["tried"] for each in found["sabotage"].values()
        ),
        "Triton agrees": all(each["difference"] <= SAME for each in found["triton"].values()),
        "every graph compiles for a T4": found["sm75_built"] == found["tensorrt"]["graphs"],
    }
    for name, good in passed.items():
        console.print(f"{name}: {'yes' if good else 'NO'}")
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
