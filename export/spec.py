"""Specs of models and tensors, from which input names, dynamic shapes, examples and config.pbtxt are derived.

A dimension is a number, or a named axis whose size may differ from call to call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

DTYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP32": np.float32,
    "STRING": np.object_,
}
"""Triton's names of the element types in use, with numpy's."""


@dataclass(frozen=True)
class Axis:
    """A named dimension: its size in examples, and the smallest and the largest that `restyle` gives it."""

    name: str
    example: int
    least: int = 1
    most: int | None = None
    """None: any size. A model that is compiled needs a limit."""


@dataclass(frozen=True)
class Tensor:
    """One input or output. ``dims`` leave the batch axis out where the model batches."""

    name: str
    dtype: str
    dims: tuple[int | Axis, ...]
    optional: bool = False
    choice: bool = False
    """Each place holds the one of several answers that scored best, so a tie may fall either way."""

    @property
    def triton_dims(self) -> list[int]:
        """The dims as config.pbtxt writes them: −1 where they vary."""
        return [-1 if isinstance(dim, Axis) else dim for dim in self.dims]

    def shape(self, sizes: Mapping[str, int]) -> list[int]:
        """The dims as numbers: ``sizes`` has those of axes by name, the others have their examples'."""
        return [sizes.get(dim.name, dim.example) if isinstance(dim, Axis) else dim for dim in self.dims]


@dataclass(frozen=True)
class ModelSpec:
    """One model of the repository.

    ``max_batch_size`` 0 means that the model takes one request at a time, without a batch axis. ``backend`` is Triton's
    name of it; an "ensemble" has steps instead of a file.
    """

    name: str
    backend: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int = 0
    decoupled: bool = False
    steps: tuple[tuple[str, dict[str, str], dict[str, str]], ...] = ()
    """For an ensemble: (model, its input → our tensor, its output → our tensor)."""
    cuda_graphs: int = 0
    """How many shapes of inputs the embedded backend may record as CUDA graphs on a GPU; NVIDIA's takes no notice."""

    def ranges(self, tensor: Tensor) -> tuple[list[int], list[int], list[int]]:
        """The smallest, the usual and the largest shape of ``tensor``, with the batch axis: an optimisation profile.

        Raises ValueError when an axis has no limit.
        """
        shapes: tuple[list[int], list[int], list[int]] = ([1], [1], [self.max_batch_size])
        for dim in tensor.dims:
            axis = dim if isinstance(dim, Axis) else Axis("", dim, dim, dim)
            if axis.most is None:
                raise ValueError(f"{self.name}.{tensor.name}: the axis {axis.name} has no largest size")
            for shape, size in zip(shapes, (axis.least, axis.example, axis.most), strict=True):
                shape.append(size)
        return shapes

    def example(self, batch: int, sizes: dict[str, int] | None = None) -> dict[str, np.ndarray]:
        """Random inputs of this model, reproducible; ``sizes`` overrides the axes' example sizes by name."""
        rng = np.random.default_rng(0)
        return {tensor.name: _random(tensor, batch, sizes or {}, rng) for tensor in self.inputs}


def _random(tensor: Tensor, batch: int, sizes: dict[str, int], rng: np.random.Generator) -> np.ndarray:
    shape = [batch, *tensor.shape(sizes)]
    if tensor.dtype == "UINT8":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    if tensor.dtype == "INT64":
        return rng.integers(0, 200, shape, dtype=np.int64)
    return rng.standard_normal(shape).astype(DTYPES[tensor.dtype])
