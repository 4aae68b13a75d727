"""The port to TensorRT on a machine with a GPU, and its errors.

::

    PlanError               a sentence for people
    ├── NoGpuError          there is no GPU, or more than one kind, or TensorRT cannot be used: nothing can be done here
    └── EngineError         one graph cannot be compiled or run; the others may
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from export.graphs.tensorrt import Compiler
from export.plans.key import Machine
from export.spec import ModelSpec


class PlanError(Exception):
    """Plans cannot be made or used; the message is one sentence that says why."""


class NoGpuError(PlanError):
    """This machine cannot make or run plans."""


class EngineError(PlanError):
    """TensorRT refuses one graph; the message has its words."""


class Builder(Protocol):
    """What compiles graphs."""

    def build(self, graph: Path, spec: ModelSpec, plan: Path, timing: Path) -> float:
        """Compile the ONNX file ``graph``, with the spec's ranges of shapes, into the new file ``plan``; returns the
        seconds that it took. ``timing`` keeps what the builder measures of a GPU, for later graphs.

        Raises EngineError; ``plan`` is not there then.
        """


class Engines(Builder, Protocol):
    """TensorRT with the GPU that plans are made for."""

    def machine(self) -> Machine:
        """The GPU and the library. Raises NoGpuError."""

    def run(
        self, plan: Path, spec: ModelSpec, inputs: Sequence[dict[str, np.ndarray]]
    ) -> list[dict[str, np.ndarray]]:
        """What the plan gives for each of ``inputs``, on the GPU. Raises EngineError."""


def built_by(compiler: Compiler, graph: Path, spec: ModelSpec, plan: Path, timing: Path) -> float:
    """:meth:`Builder.build` by one of TensorRT's libraries."""
    compiled = compiler.compile(graph, spec, plan, timing)
    if not compiled.built:
        plan.unlink(missing_ok=True)
        raise EngineError(f"TensorRT cannot compile it: {compiled.error}")
    return compiled.seconds
