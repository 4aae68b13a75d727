"""One graph, in two stages whose results stay in a folder: what was made once is not made again.

::

    <work>/<graph>-<fingerprint>/
        order.json            what to make: the bundle and the sizes
        model.onnx (+ .data)  stage "write": torch → ONNX, every weight compared with its source
        references.npz            and torch's outputs at the corners of what a service sends
        written.json              which says that the stage has ended
        facts.json            stage "prove": the file in ONNX Runtime against these outputs

The fingerprint covers the weights' files, the bundle's settings, this package's code and the tools' versions; a folder
with another one is removed once its successor is whole. Torch's networks and ONNX Runtime's are never in memory
together, nor are two graphs': each stage of a large graph is a process of its own, which gives all memory back.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from torch import nn

from export.bundle import Bundle, BundleError, Precision, Stored
from export.contract import Sizes, graph_specs
from export.digests import sha256
from export.graphs.apart import ProcessDied, apart
from export.graphs.onnx import export_onnx
from export.networks.load import skeleton
from export.networks.modules import (
    bundle_of_graph,
    graph_networks,
    graph_precision,
    load_graph_module,
)
from export.networks.precision import HalfArithmetic, halve_module, round_weights, safe_attention
from export.proofs import parity
from export.proofs.parity import ParityError
from export.sources.lora import LORA_NETWORKS
from export.sources.opening import source_folder
from export.spec import ModelSpec

TOOLS = ("torch", "diffusers", "transformers", "onnx", "onnxscript")

APART_BYTES = 1_000_000_000
"""Graphs with more weights than this are made in processes of their own; for smaller ones the start would cost more."""

MODEL = "model.onnx"
_ORDER, _REFERENCES, _WRITTEN, _FACTS = "order.json", "references.npz", "written.json", "facts.json"

_CODE = (
    *("networks/*.py", "graphs/onnx.py", "graphs/fp16_initializers.py", "proofs/parity.py"),
    *("contract.py", "sampling.py", "seats.py", "spec.py"),
    *(f"sources/{name}.py" for name in ("lora", "single_file", "ultralytics", "weights_from_graphs")),
)
"""The files of this package that a graph's content and its proof depend on."""

Report = Callable[[str], None]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A graph to make."""

    graph: str
    bundle: Bundle
    sizes: Sizes

    @property
    def precision(self) -> Precision:
        return graph_precision(self.bundle, self.graph)

    @property
    def spec(self) -> ModelSpec:
        return graph_specs(self.sizes, self.bundle.seats, [self.graph])[self.graph]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The end of the first stage."""

    folded: list[str]
    """Parameters that the graph holds only inside precomputed constants."""
    rounding: dict[str, float]
    """For FP16: by how much its roundings alone change each output at the smallest corner, in torch."""
    seconds: float
    peak_bytes: int


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A graph that is proved, and what it took."""

    graph: str
    precision: Precision
    stored: Stored
    sha256: dict[str, str]
    """By file name: a large graph has its weights in a second file."""
    bytes: int
    parity: dict[str, float]
    """Largest difference from torch per output, in the output's own units."""
    share: dict[str, float]
    """The same as a share, 0..1, of what is allowed."""
    rounding: dict[str, float]
    folded: list[str]
    seconds: float
    peak_bytes: int
    """Largest resident memory of the processes, mapped files included."""


def make_graph(order: Order, work: Path, report: Report) -> tuple[Made, Path]:
    """The graph and the folder of its files, from ``work`` when it is there. Raises BundleError and ParityError."""
    folder = work / f"{order.graph}-{fingerprint(order)[:16]}"
    made = _read(folder / _FACTS, Made)
    if made is not None and _whole(made, folder):
        report(f"{order.graph}: made before")
        return made, folder
    if made is not None:
        shutil.rmtree(folder)  # somebody has changed its files
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _ORDER).write_bytes(msgspec.json.encode(order))
    stage = _stage_apart if weight_bytes(order) > APART_BYTES else _stage_here
    if _read(folder / _WRITTEN, Written) is None:
        report(f"{order.graph}: torch → ONNX, {order.precision} …")
        stage("write", folder)
    report(f"{order.graph}: ONNX Runtime against torch …")
    stage("prove", folder)
    made = _read(folder / _FACTS, Made)
    assert made is not None
    for other in work.glob(f"{order.graph}-*"):
        if other != folder:
            shutil.rmtree(other)
    differences = ", ".join(f"{name} {value:.2g}" for name, value in made.parity.items())
    report(
        f"{order.graph}: {made.bytes / 1e6:,.1f} MB in {made.seconds:.0f} s, differs from torch by {differences}"
    )
    return made, folder


def weight_bytes(order: Order) -> int:
    """Bytes of the weights of the graph's networks, as its file holds them."""
    numbers = sum(
        parameter.numel()
        for part in graph_networks(order.bundle)[order.graph]
        for parameter in skeleton(order.bundle, part).parameters()
    )
    return numbers * (2 if order.precision == "fp16" or order.bundle.stored == "fp16" else 4)


def fingerprint(order: Order) -> str:
    """SHA-256 of everything that the graph depends on. Raises BundleError."""
    bundle = order.bundle
    parts = {part: bundle.networks[part] for part in graph_networks(bundle)[order.graph]}
    loras = bundle_of_graph(bundle, order.graph).loras if set(LORA_NETWORKS) & set(parts) else []
    threshold = bundle.object_threshold if "detector" in parts else None
    settings = (
        *(order.graph, order.precision, order.spec, parity.corner_cases(order.spec, order.sizes), parts),
        *(loras, threshold, bundle.stored, bundle.tolerance, bundle.seed),
    )
    digest = hashlib.sha256(msgspec.json.encode(settings))
    for part, weights in parts.items():
        source = source_folder(bundle, part)
        if source is None:
            continue
        if source.is_file():
            # What stands beside it belongs to others; its configuration is another network's.
            digest.update(msgspec.json.encode(weights.like))
        for file in [source] if source.is_file() else sorted(source.iterdir()):
            if file.is_file():
                digest.update(f"{part}/{file.name} {sha256(file)}\n".encode())
    for lora in loras:
        digest.update(sha256(lora.file).encode())
    package = Path(__file__).parents[1]
    for code in sorted(file for pattern in _CODE for file in package.glob(pattern)):
        digest.update(f"{code.relative_to(package)} {sha256(code)}\n".encode())
    digest.update("".join(f"{tool} {package_version(tool)}\n" for tool in TOOLS).encode())
    return digest.hexdigest()


def _stage_here(stage: str, folder: Path) -> None:
    _STAGES[stage](folder)


def _stage_apart(stage: str, folder: Path) -> None:
    try:
        apart(_quietly, stage, folder)
    except ProcessDied:
        raise BundleError(
            f"{folder.name}: the process ended before its work ({stage}), most likely for want of "
            "memory: it needs about 16 GB for Stable Diffusion 1.5"
        ) from None


def _quietly(stage: str, folder: Path) -> None:
    warnings.simplefilter("ignore")
    _STAGES[stage](folder)


def write(folder: Path) -> None:
    """The first stage, for the order in ``folder``. Raises BundleError, ParityError."""
    begun = time.monotonic()
    order = _decode(folder / _ORDER, Order)
    spec = order.spec
    module = load_graph_module(order.bundle, order.graph)
    half = order.precision == "fp16"
    if half:
        round_weights(order.graph, module)
    cases = parity.corner_cases(spec, order.sizes)
    _save_references(spec, parity.references(module, spec, cases), folder / _REFERENCES)
    rounding = _halve(order, spec, module, (1, cases[1][1])) if half else {}
    folded = export_onnx(module, spec, folder / MODEL, order.bundle.stored)
    seconds = time.monotonic() - begun
    _save(folder / _WRITTEN, Written(folded=folded, rounding=rounding, seconds=seconds, peak_bytes=_peak()))


def _halve(order: Order, spec: ModelSpec, module: nn.Module, case: parity.Case) -> dict[str, float]:
    """Make ``module`` compute in FP16; returns what its roundings change at ``case``, by output."""
    (exact,) = parity.references(module, spec, [case])
    halve_module(module)
    with safe_attention(), HalfArithmetic():
        (rounded,) = parity.references(module, spec, [case])
    outputs = dict(zip((tensor.name for tensor in spec.outputs), rounded.outputs, strict=True))
    if infinite := [name for name, array in outputs.items() if not np.isfinite(array).all()]:
        raise ParityError(
            f"{order.graph}.{infinite[0]}: FP16 overflows in these networks: write "
            f'fp32_graphs = ["{order.graph}"] into the bundle'
        )
    found = parity.compare(spec, outputs, exact, parity.ANY)
    return {name: difference.largest for name, difference in found.items()}


def tolerance_of(precision: Precision, bundle: Bundle) -> parity.Tolerance:
    """How far the outputs of a graph of ``bundle`` may be from torch's."""
    return parity.FP16 if precision == "fp16" else parity.Tolerance(bundle.tolerance)


def prove(folder: Path) -> None:
    """The second stage, for what the first one left in ``folder``. Raises ParityError."""
    begun = time.monotonic()
    order, written = _decode(folder / _ORDER, Order), _decode(folder / _WRITTEN, Written)
    spec = order.spec
    tolerance = tolerance_of(order.precision, order.bundle)
    differences = parity.check_outputs(
        spec, folder / MODEL, _load_references(spec, folder / _REFERENCES), tolerance
    )
    files = sorted(folder.glob(f"{MODEL}*"))
    made = Made(
        graph=order.graph,
        precision=order.precision,
        stored=order.bundle.stored,
        sha256={file.name: sha256(file) for file in files},
        bytes=sum(file.stat().st_size for file in files),
        parity={name: difference.largest for name, difference in differences.items()},
        share={name: difference.share for name, difference in differences.items()},
        rounding=written.rounding,
        folded=written.folded,
        seconds=written.seconds + time.monotonic() - begun,
        peak_bytes=max(written.peak_bytes, _peak()),
    )
    _save(folder / _FACTS, made)
    (folder / _REFERENCES).unlink()


_STAGES: dict[str, Callable[[Path], None]] = {"write": write, "prove": prove}


def _save_references(spec: ModelSpec, references: list[parity.Reference], file: Path) -> None:
    arrays = {
        f"{number}/{name}": array
        for number, case in enumerate(references)
        for name, array in case.inputs.items()
    }
    for number, case in enumerate(references):
        names = (f"{number}/out/{tensor.name}" for tensor in spec.outputs)
        arrays |= dict(zip(names, case.outputs, strict=True))
    with file.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _load_references(spec: ModelSpec, file: Path) -> list[parity.Reference]:
    with np.load(file, allow_pickle=False) as arrays:
        numbers = range(len({name.partition("/")[0] for name in arrays}))
        return [
            parity.Reference(
                {tensor.name: arrays[f"{number}/{tensor.name}"] for tensor in spec.inputs},
                tuple(arrays[f"{number}/out/{tensor.name}"] for tensor in spec.outputs),
            )
            for number in numbers
        ]


def _read(file: Path, kind: type[Any]) -> Any:
    """What a stage wrote at its end; None when it did not get there."""
    try:
        return _decode(file, kind)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _decode(file: Path, kind: type[Any]) -> Any:
    return msgspec.json.decode(file.read_bytes(), type=kind)


def _save(file: Path, content: msgspec.Struct) -> None:
    """In one rename: a file that is there is whole."""
    new = file.with_suffix(".new")
    new.write_bytes(msgspec.json.format(msgspec.json.encode(content)))
    os.replace(new, file)


def _whole(made: Made, folder: Path) -> bool:
    """Whether the files are those that were proved; publishing links to them, so they are not hashed once more."""
    files = {file.name: file.stat().st_size for file in folder.glob(f"{MODEL}*")}
    return set(files) == set(made.sha256) and sum(files.values()) == made.bytes


def _peak() -> int:
    """Bytes: the largest resident memory of this process so far, mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
