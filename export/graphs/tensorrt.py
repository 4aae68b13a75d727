"""Compiling an ONNX file with TensorRT, on a machine that needs no GPU.

NVIDIA publishes TensorRT for RTX as plain wheels (the extra ``tensorrt``). Its parser and its builder are those of
TensorRT and compile for GPUs that the machine lacks. Its engines are of no use to Triton, which wants TensorRT's own
plans, so they are thrown away: that there is one is all that is asked for.
"""

from __future__ import annotations

import re
import resource
import time
from pathlib import Path

import msgspec
import tensorrt_rtx_bindings as trt

from export.spec import ModelSpec

THREADS = 2
"""Of the builder. More take more memory at once."""

_NO_GPU = "catchCudaError"
"""In complaints that there is no GPU's driver, which the library adds to every other error."""


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one graph."""

    parsed: bool
    built: bool
    seconds: float
    engine_bytes: int
    """0 when nothing was built."""
    peak_bytes: int
    """The most memory that the process has held until now."""
    error: str
    """The library's words, the node among them; empty when it was built."""


class _Log(trt.ILogger):
    """Keeps errors, of which the first is the cause; the library's own log prints them."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        if severity <= trt.ILogger.Severity.ERROR and _NO_GPU not in message:
            self.errors.append(message)


def compile_graph(path: Path, spec: ModelSpec, capabilities: tuple[int, ...]) -> Compiled:
    """Parse the graph ``path``, strongly typed, and build one engine for all of ``capabilities`` (75 = compute
    capability 7.5, …) with the spec's ranges of shapes. Weights in files beside ``path`` are read too.

    Nothing is raised for what the library refuses. Raises ValueError when it does not know a capability.
    """
    began = time.monotonic()
    log = _Log()
    builder = trt.Builder(log)
    builder.max_threads = THREADS
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    parsed = parser.parse_from_file(str(path))
    engine = None
    if parsed:
        error = _difference(network, spec)
        if not error:
            engine = builder.build_serialized_network(network, _config(builder, spec, capabilities))
            error = "" if engine is not None else _first_line(log.errors)
    else:
        error = _parser_error(parser)
    return Compiled(
        parsed=parsed,
        built=engine is not None,
        seconds=round(time.monotonic() - began, 2),
        engine_bytes=0 if engine is None else engine.nbytes,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        error=error,
    )


def _config(builder: trt.Builder, spec: ModelSpec, capabilities: tuple[int, ...]) -> trt.IBuilderConfig:
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        known = getattr(trt.ComputeCapability, f"SM{capability}", None)
        if known is None:
            raise ValueError(f"TensorRT {trt.__version__} does not know the compute capability {capability}")
        config.set_compute_capability(known, index)
    profile = builder.create_optimization_profile()
    for tensor in spec.inputs:
        profile.set_shape(tensor.name, *spec.ranges(tensor))
    config.add_optimization_profile(profile)
    return config


def _difference(network: trt.INetworkDefinition, spec: ModelSpec) -> str:
    """What is wrong with the tensors of the graph; empty when they are those of the spec."""
    sides = (
        ("inputs", spec.inputs, network.num_inputs, network.get_input),
        ("outputs", spec.outputs, network.num_outputs, network.get_output),
    )
    for kind, tensors, count, get in sides:
        found = {(get(index).name, _TYPES.get(get(index).dtype, "?")) for index in range(count)}
        wanted = {(tensor.name, tensor.dtype) for tensor in tensors}
        if found != wanted:
            odd = ", ".join(" ".join(item) for item in sorted(found ^ wanted))
            return f"its {kind} are not those of the contract: {odd}"
    return ""


_TYPES = {
    trt.DataType.FLOAT: "FP32",
    trt.DataType.HALF: "FP16",
    trt.DataType.UINT8: "UINT8",
    trt.DataType.INT32: "INT32",
    trt.DataType.INT64: "INT64",
    trt.DataType.BOOL: "BOOL",
}


def _parser_error(parser: trt.OnnxParser) -> str:
    if not parser.num_errors:
        return "the parser gave no reason"
    error = parser.get_error(0)
    lines = [line for line in error.desc().splitlines() if _NO_GPU not in line]
    return f"{error.node_operator() or 'graph'} {error.node_name()}: {_first_line(lines[1:] or lines)}"


def _first_line(messages: list[str]) -> str:
    """The first message, without the place in the library's source that it comes from."""
    text = messages[0].splitlines()[0] if messages else "the builder gave no reason"
    return re.sub(r"( In \w+)? at /\S+?:\d+", "", text)
