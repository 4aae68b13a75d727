"""Proof that an ONNX file does what the torch module does: same outputs, and the very same weights.

Outputs alone are not enough: with random or redundant weights most small changes disappear in the activations, so every
parameter is also compared with its initializer, by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from torch import nn

from export.bundle import FLOAT_TOLERANCE
from export.contract import Sizes, buckets
from export.spec import Axis, ModelSpec


class ParityError(Exception):
    """The exported graph differs from its source; the message names model, tensor and difference."""


@dataclass(frozen=True)
class Reference:
    """Inputs, and the torch module's outputs for them."""

    inputs: dict[str, np.ndarray]
    outputs: tuple[np.ndarray, ...]


Case = tuple[int, dict[str, int]]
"""A batch size, and sizes of axes by name; axes that are not named have those of the spec's examples."""


def corner_cases(spec: ModelSpec, sizes: Sizes) -> list[Case]:
    """The corners of what a service sends: one sample of the native size, a full batch of the smallest bucket, and one
    sample of the largest.

    The full batch is without guidance (one row of text), the others are with it.
    """
    areas = sorted(buckets(sizes), key=lambda size: (size[0] * size[1], size))
    native = (sizes.native_size, sizes.native_size)
    corners = [(1, native, 2), (sizes.max_batch_size, areas[0], 1), (1, areas[-1], 2)]
    axes = {dim.name for tensor in spec.inputs for dim in tensor.dims if isinstance(dim, Axis)}
    cases: list[Case] = []
    for batch, (height, width), rows in corners:
        latent = {"h": height // sizes.vae_factor, "w": width // sizes.vae_factor}
        every = {"H": height, "W": width, "K": rows, **latent}
        cases.append((batch, {axis: size for axis, size in every.items() if axis in axes}))
    # Where no side varies, the first and the last are the same.
    return cases if axes else cases[:2]


EXAMPLES: tuple[Case, ...] = ((1, {}), (3, {}))
"""One sample and an odd batch of a spec's example sizes."""


def references(module: nn.Module, spec: ModelSpec, cases: Sequence[Case] = EXAMPLES) -> list[Reference]:
    """Torch's outputs for the spec's random inputs at each of ``cases``."""
    found = []
    for batch, sizes in cases:
        inputs = spec.example(batch, sizes)
        with torch.no_grad():
            outputs = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        found.append(Reference(inputs, tuple(output.numpy() for output in outputs)))
    return found


@dataclass(frozen=True)
class Tolerance:
    """By how much a graph's outputs may differ from torch's."""

    number: float
    """Of FP32 outputs, relative to the largest magnitude (at least 1)."""
    byte: int = 1
    """Of UINT8 outputs, which are rounded."""
    score: float = 0.0
    """Objects are compared where their scores differ from their neighbours', and from the threshold's padding, by more
    than this: the others may change places."""
    choice: float = 1e-3
    """Of outputs that hold choices: the share that may differ, because two scores lie within a rounding."""


FP32 = Tolerance(FLOAT_TOLERANCE)

FP16 = Tolerance(number=0.02, byte=4, score=0.01, choice=0.05)
"""For graphs that compute in FP16: its numbers have 11 bits, and some thousands of roundings follow each other.
Measured on random inputs: 0.3 % of the largest output a guided step, 1.5 % a text encoder (the dollhouse's)."""


ANY = Tolerance(number=np.inf, byte=255, score=FP16.score, choice=1.0)
"""For measuring alone."""


class Difference(NamedTuple):
    """How far an output is from torch's."""

    largest: float
    """In the output's own units; of choices, the share that differs."""
    share: float
    """The same as a share of what is allowed, 0..1."""


def check_outputs(
    spec: ModelSpec, path: Path, cases: list[Reference], tolerance: Tolerance = FP32
) -> dict[str, Difference]:
    """The largest differences per output over all cases. Raises ParityError beyond the tolerance."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # It warns of constants that it cannot fold in FP16.
    # What runs of one shape needed would be kept, and a plan of it, while runs of the next shape take more.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    worst = {tensor.name: Difference(0.0, 0.0) for tensor in spec.outputs}
    for case in cases:
        actual = dict(zip(worst, session.run(list(worst), case.inputs), strict=True))
        for name, difference in compare(spec, actual, case, tolerance).items():
            pairs = zip(worst[name], difference, strict=True)
            worst[name] = Difference(*(max(pair) for pair in pairs))
    return worst


def compare(
    spec: ModelSpec, actual: Mapping[str, np.ndarray], case: Reference, tolerance: Tolerance
) -> dict[str, Difference]:
    """The largest difference per output. Raises ParityError beyond the tolerance."""
    expected = dict(zip((tensor.name for tensor in spec.outputs), case.outputs, strict=True))
    rows = distinct(expected["scores"], tolerance.score) if "scores" in expected else None
    found = {}
    for tensor in spec.outputs:
        ours, theirs = actual[tensor.name], expected[tensor.name]
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise ParityError(
                f"{spec.name}.{tensor.name}: ONNX gives {ours.dtype}{ours.shape}, "
                f"torch {theirs.dtype}{theirs.shape}"
            )
        difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        if rows is not None:
            difference = difference[rows]
        largest = float(difference.max(initial=0.0))
        allowed = float(tolerance.byte)
        if tensor.choice:
            largest, allowed = float((difference > 0).mean()), tolerance.choice
        elif tensor.dtype == "FP32":
            allowed = tolerance.number * max(1.0, float(np.abs(theirs).max()))
        elif tensor.dtype == "INT64":
            allowed = 0.0 if tolerance.number < 1.0 else np.inf
        if not largest <= allowed:
            raise ParityError(
                f"{spec.name}.{tensor.name}: differs from torch by {largest:.3g}, allowed {allowed:.3g}"
            )
        found[tensor.name] = Difference(largest, largest / allowed if allowed else 0.0)
    return found


def distinct(scores: np.ndarray, margin: float) -> np.ndarray:
    """Which rows [B,K] of objects have a place of their own: their scores [B,K], in falling order, are further than
    ``margin`` from both neighbours'. With 0, all rows."""
    if not margin:
        return np.ones(scores.shape, bool)
    gaps = -np.diff(scores.astype(np.float64), axis=1, prepend=np.inf, append=-np.inf)
    return np.asarray((gaps[:, :-1] > margin) & (gaps[:, 1:] > margin))


def check_weights(
    name: str, stored: Mapping[str, np.ndarray], module: nn.Module, used: set[str]
) -> list[str]:
    """Which parameters of ``used`` (names in ``module``) are not in ``stored``, the graph's initializers; raises
    ParityError where one differs.

    The exporter may store a matrix transposed under a name of its own, or equal tensors once; such a parameter counts
    when it is found by value.
    """
    absent = []
    for parameter in sorted(used):
        array = module.get_parameter(parameter).detach().numpy()
        twin = stored.get(parameter)
        if twin is None or twin.shape != array.shape:
            absent.append((parameter, array))
        elif twin.dtype != array.dtype or not np.array_equal(twin, array):
            raise ParityError(f"{name}: weight {parameter} was changed by the export")
    # Only those of a size that is missing are hashed: the others may be gigabytes.
    sizes = {array.size for _, array in absent}
    others = {_fingerprint(array) for array in stored.values() if array.size in sizes}
    return [
        parameter
        for parameter, array in absent
        if _fingerprint(array) not in others and _fingerprint(array.T) not in others
    ]


def _fingerprint(array: np.ndarray) -> bytes:
    return hashlib.sha256(str(array.shape).encode() + np.ascontiguousarray(array).tobytes()).digest()
