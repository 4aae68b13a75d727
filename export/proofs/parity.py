"""Proof that an ONNX file does what the torch module does: same outputs, and the very same weights.

Outputs alone are not enough: with random or redundant weights most small changes disappear in the activations, so every
parameter is also compared with its initializer, by name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from export.bundle import FLOAT_TOLERANCE
from export.graphs.fp16_initializers import weights_of
from export.spec import Axis, ModelSpec

BYTE_TOLERANCE = 1
"""UINT8 outputs are rounded, so they may differ by one."""

CHOICE_TOLERANCE = 1e-3
"""Share of the numbers of an output that holds choices: so many scores may lie within a rounding of each other."""


class ParityError(Exception):
    """The exported graph differs from its source; the message names model, tensor and difference."""


@dataclass(frozen=True)
class Reference:
    """Inputs, and the torch module's outputs for them."""

    inputs: dict[str, np.ndarray]
    outputs: tuple[np.ndarray, ...]


def references(module: nn.Module, spec: ModelSpec) -> list[Reference]:
    """Torch's outputs for a single sample, an odd batch, and every axis at another size."""
    axes = {dim for tensor in spec.inputs for dim in tensor.dims if isinstance(dim, Axis)}
    wide = _other_sizes(axes)
    cases = [(1, {}), (3, {}), (2, wide)] if wide else [(1, {}), (3, {})]
    found = []
    for batch, sizes in cases:
        inputs = spec.example(batch, sizes)
        with torch.no_grad():
            outputs = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        found.append(Reference(inputs, tuple(output.numpy() for output in outputs)))
    return found


def _other_sizes(axes: set[Axis]) -> dict[str, int]:
    """Sides that are neither square nor native and still fit each other: heights ¾, widths 1¼ of the example."""
    factors = {"h": 0.75, "H": 0.75, "w": 1.25, "W": 1.25, "K": 0.5}
    return {axis.name: int(axis.example * factors[axis.name]) for axis in axes}


def check_outputs(
    spec: ModelSpec, path: Path, cases: list[Reference], float_tolerance: float = FLOAT_TOLERANCE
) -> dict[str, float]:
    """The largest difference per output over all cases, in its own units. Raises ParityError beyond the tolerance.

    The tolerance of float outputs is relative to the largest magnitude of the reference (at least 1).
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst: dict[str, float] = {tensor.name: 0.0 for tensor in spec.outputs}
    for case in cases:
        actual = session.run(list(worst), case.inputs)
        for tensor, ours, theirs in zip(spec.outputs, actual, case.outputs, strict=True):
            if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
                raise ParityError(
                    f"{spec.name}.{tensor.name}: ONNX gives {ours.dtype}{ours.shape}, "
                    f"torch {theirs.dtype}{theirs.shape}"
                )
            difference = float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max())
            tolerance = float(BYTE_TOLERANCE)
            if tensor.choice:
                difference, tolerance = float((ours != theirs).mean()), CHOICE_TOLERANCE
            elif tensor.dtype == "FP32":
                tolerance = float_tolerance * max(1.0, float(np.abs(theirs).max()))
            elif tensor.dtype == "INT64":
                tolerance = 0.0
            if not difference <= tolerance:
                raise ParityError(
                    f"{spec.name}.{tensor.name}: differs from torch by {difference:.3g}, allowed {tolerance:.3g}"
                )
            worst[tensor.name] = max(worst[tensor.name], difference)
    return worst


def check_weights(name: str, model: onnx.ModelProto, module: nn.Module, used: set[str]) -> list[str]:
    """Which parameters of ``used`` (names in ``module``) are not in ``model``; raises ParityError where one differs.

    The exporter may store a matrix transposed under a name of its own; such a parameter counts when found by value.
    """
    stored = weights_of(model)
    by_value = {_fingerprint(array) for array in stored.values()}
    absent = []
    for parameter in sorted(used):
        array = module.get_parameter(parameter).detach().numpy()
        twin = stored.get(parameter)
        if twin is not None and twin.shape == array.shape:
            if not np.array_equal(twin, array):
                raise ParityError(f"{name}: weight {parameter} was changed by the export")
        elif _fingerprint(array) not in by_value and _fingerprint(array.T) not in by_value:
            absent.append(parameter)
    return absent


def _fingerprint(array: np.ndarray) -> bytes:
    return hashlib.sha256(str(array.shape).encode() + np.ascontiguousarray(array).tobytes()).digest()
