"""A Python-based Triton backend that serves ``backend: "onnxruntime"`` models, on the CPU or on an NVIDIA GPU.

It stands in for NVIDIA's native backend where only Triton's Python backend is available, and honours the part of its
configuration that both understand: ``default_model_filename``, ``max_batch_size``, dynamic batching, the parameters
``intra_op_thread_count``, ``inter_op_thread_count`` and ``execution_mode``, and the options of a
``gpu_execution_accelerator`` named cuda. The parameter ``cuda_graphs`` is its own: how many shapes of inputs may be
recorded as CUDA graphs.

REROOM_DEVICE says where the graphs run: auto, cpu or cuda (``runners.DEVICES``), whatever kind an instance group has,
since a Triton that sees no GPU writes KIND_CPU where the file has none. What a graph really runs on is written into
REROOM_DEVICES, a folder, as <model>/<version>: `restyle` answers a probe with it.

This folder must not become a package: Triton puts its parent on ``sys.path``, where an ``onnxruntime`` with an
``__init__.py`` would hide the library. Triton puts the folder itself there too, so its modules find each other.
"""

from __future__ import annotations

import priority

# ruff: noqa: E402 — what follows takes long to import, and is to yield to others too.
priority.load()

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from configuration import setup_of
from runners import Array, CudaUnavailable, open_runner

TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
}
"""ONNX Runtime's names of element types → Triton's. Strings and bfloat16 are not served."""


class TritonPythonModel:
    """One instance of one ONNX model: it does not share its session."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session. Raises TritonModelException when the graph and config.pbtxt do not fit each other."""
        config = json.loads(args["model_config"])
        self.name: str = args["model_name"]
        self.batches = config["max_batch_size"] > 0
        folder = Path(args["model_repository"]) / args["model_version"]
        file = folder / (config["default_model_filename"] or "model.onnx")
        if not file.is_file():
            raise pb_utils.TritonModelException(f"model {self.name}: there is no {file}")
        try:
            self.runner = open_runner(file, setup_of(config, args, os.environ), self.warn)
        except CudaUnavailable as error:
            raise pb_utils.TritonModelException(f"model {self.name}: {error}") from error
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise pb_utils.TritonModelException(f"model {self.name}: cannot load {file}: {error}") from error
        self.inputs = tensor_names(self.name, "input", config["input"], self.runner.inputs)
        self.outputs = tensor_names(self.name, "output", config["output"], self.runner.outputs)
        announce(self.name, args["model_version"], self.runner.device)
        priority.serve()

    def warn(self, sentence: str) -> None:
        pb_utils.Logger.log_warn(f"model {self.name}: {sentence}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request, running those of equal shapes as one batch."""
        inputs = [self.read(request) for request in requests]
        wanted = [set(request.requested_output_names()) for request in requests]
        responses: dict[int, Any] = {}
        for group in self.groups(inputs):
            responses.update(self.answer(group, inputs, wanted))
        return [responses[i] for i in range(len(requests))]

    def answer(
        self, group: Sequence[int], inputs: Sequence[dict[str, Array]], wanted: Sequence[set[str]]
    ) -> dict[int, Any]:
        """Responses of the requests in ``group``. If their batch fails, each runs alone: one must not fail the rest."""
        names = [name for name in self.outputs if any(name in wanted[i] for i in group)]
        try:
            outputs = self.run([inputs[i] for i in group], names)
        except Exception as error:  # onnxruntime's exceptions share no base class
            if len(group) > 1:
                return {i: self.answer([i], inputs, wanted)[i] for i in group}
            failure = pb_utils.TritonError(f"model {self.name}: {error}")
            return {group[0]: pb_utils.InferenceResponse(error=failure)}
        responses = {}
        for i, arrays in zip(group, outputs, strict=True):
            tensors = [
                pb_utils.Tensor(name, array)
                for name, array in zip(names, arrays, strict=True)
                if name in wanted[i]
            ]
            responses[i] = pb_utils.InferenceResponse(output_tensors=tensors)
        return responses

    def read(self, request: Any) -> dict[str, Array]:
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        return {name: tensors[name] for name in self.inputs if name in tensors}

    def groups(self, inputs: Sequence[dict[str, Array]]) -> Iterator[list[int]]:
        """Indices of requests that fit into one run: equal shapes but for the batch dimension."""
        if not self.batches:
            yield from ([i] for i in range(len(inputs)))
            return
        alike: dict[tuple[Any, ...], list[int]] = {}
        for i, arrays in enumerate(inputs):
            alike.setdefault(tuple((name, array.shape[1:]) for name, array in arrays.items()), []).append(i)
        yield from alike.values()

    def run(self, batch: Sequence[dict[str, Array]], names: list[str]) -> list[list[Array]]:
        """One session run; outputs per request, in the order of ``names``."""
        if len(batch) == 1:
            return [self.runner.run(names, batch[0])]
        merged = {name: np.concatenate([arrays[name] for arrays in batch]) for name in batch[0]}
        sizes = [len(next(iter(arrays.values()))) for arrays in batch]
        outputs = self.runner.run(names, merged)
        for name, output in zip(names, outputs, strict=True):
            if len(output) != sum(sizes):
                raise ValueError(f"output {name} has {len(output)} rows for a batch of {sum(sizes)}")
        ends = np.cumsum(sizes)[:-1]
        parts = [np.split(output, ends) for output in outputs]
        return [list(arrays) for arrays in zip(*parts, strict=True)]


def announce(model: str, version: str, device: str) -> None:
    """Write down what this version of the model runs on, for those who ask; see the module's docstring."""
    if folder := os.environ.get("REROOM_DEVICES"):
        file = Path(folder, model, version)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(device)


def tensor_names(
    model: str, kind: str, configured: Sequence[dict[str, Any]], graph: Sequence[Any]
) -> list[str]:
    """The configured tensors' names, after checking them against the graph's."""
    types = {tensor.name: TRITON_TYPES.get(tensor.type, tensor.type) for tensor in graph}
    for tensor in configured:
        name, declared = tensor["name"], tensor["data_type"]
        found = types.get(name)
        if found != declared:
            difference = (
                f"the graph has {', '.join(types)}" if found is None else f"it is {found} in the graph"
            )
            raise pb_utils.TritonModelException(
                f"model {model}: {kind} {name} is {declared} in config.pbtxt, but {difference}"
            )
    names = [tensor["name"] for tensor in configured]
    missing = [name for name in types if name not in names]
    if kind == "input" and missing:
        raise pb_utils.TritonModelException(
            f"model {model}: config.pbtxt lacks the graph's input {', '.join(missing)}"
        )
    return names
