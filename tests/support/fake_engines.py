"""TensorRT on a GPU that is not here: a class of :class:`export.plans.engines.Engines`.

Its plan of a graph is the graph's own file, which ONNX Runtime runs; what it refuses, it refuses in words that were
recorded from TensorRT. ``tests/contract/test_plans.py`` holds the words to the library's own.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from export.plans.engines import EngineError, NoGpuError
from export.plans.key import Machine
from export.proofs.parity import graph_outputs
from export.spec import ModelSpec

T4 = Machine(gpu="Tesla T4", compute_capability="7.5", tensorrt="10.14.1")

REFUSAL = (
    "TensorRT cannot compile it: Transpose turn_bytes: ITensor::getDimensions: Error Code 4: API Usage Error "
    "(turn_bytes: first input has type UInt8 but must have type Float, Half, BFloat16, FP8, E8M0, FP4, Int4, Int8, "
    "Int64, Int32, or Bool.)"
)
"""What TensorRT says to bytes that are transposed."""


@dataclass
class FakeEngines:
    """A machine with a GPU, or None, on which some graphs fail."""

    here: Machine | None = T4
    refused: Sequence[str] = ()
    """Graphs that cannot be compiled."""
    wrong: Sequence[str] = ()
    """Graphs whose plans give other numbers."""
    killed_at: str = ""
    """The graph in whose middle the process is killed."""
    built: list[str] = field(default_factory=list)
    compared: dict[str, list[int]] = field(default_factory=dict)
    """The batches that each plan was run with."""

    def machine(self) -> Machine:
        if self.here is None:
            raise NoGpuError("there is no GPU")
        return self.here

    def build(self, graph: Path, spec: ModelSpec, plan: Path, timing: Path) -> float:
        if spec.name in self.refused:
            raise EngineError(REFUSAL)
        self.built.append(spec.name)
        if spec.name == self.killed_at:
            plan.write_bytes(graph.read_bytes()[:100])
            os.kill(os.getpid(), signal.SIGKILL)
        shutil.copyfile(graph, plan)
        timing.write_bytes(b"measured")
        return 1.5

    def run(
        self, plan: Path, spec: ModelSpec, inputs: Sequence[dict[str, np.ndarray]]
    ) -> list[dict[str, np.ndarray]]:
        self.compared[spec.name] = [len(next(iter(arrays.values()))) for arrays in inputs]
        found = list(graph_outputs(spec, plan, inputs))
        if spec.name in self.wrong:
            # As TensorRT-RTX did on Turing once: zeros, and no error.
            return [{name: np.zeros_like(array) for name, array in outputs.items()} for outputs in found]
        return found
