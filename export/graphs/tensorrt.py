"""Compiling an ONNX file with TensorRT, or with TensorRT for RTX, which needs no GPU.

NVIDIA publishes TensorRT for RTX as plain wheels (the extra ``tensorrt``). Its parser and its builder are those of
TensorRT and compile for GPUs that the machine lacks. Its engines are of no use to Triton, which wants TensorRT's own
plans: that there is one is all that is asked for. TensorRT itself comes with NVIDIA's container, compiles for the GPU
of the machine alone, and makes the plans that are served (``export.plans``).

Both have the same Python interface. Neither is imported before a graph is compiled, and that happens in a process of
its own.
"""

from __future__ import annotations

import importlib
import os
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from export.graphs.apart import ProcessDied, apart
from export.spec import ModelSpec

RTX = "tensorrt_rtx_bindings"
TENSORRT = "tensorrt_bindings"
"""The modules of the two libraries' own wheels; what is called ``tensorrt`` is a package around the second."""

SETTINGS = "strongly typed, FP32 without TF32"
"""How plans are compiled, beyond shapes: part of their keys. TF32 keeps 10 bits of an FP32 number, which no FP32
graph was proved with."""

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


@dataclass(frozen=True)
class Compiler:
    """One of the two libraries, and what it compiles for."""

    library: str
    capabilities: tuple[int, ...] = ()
    """75 = compute capability 7.5, …; none = this machine's GPU. TensorRT knows no other."""

    def compile(
        self, path: Path, spec: ModelSpec, plan: Path | None = None, timing: Path | None = None
    ) -> Compiled:
        """Parse the graph ``path``, strongly typed, and build one engine with the spec's ranges of shapes, in a
        process of its own. Weights in files beside ``path`` are read too.

        The engine is written to ``plan``. ``timing`` keeps what the builder measures of this GPU from one graph to the
        next; what another GPU or version left there is not used. Nothing is raised for what the library refuses.
        Raises ValueError when it does not know a capability.
        """
        try:
            return apart(compile_here, self.library, path, spec, self.capabilities, plan, timing)
        except ProcessDied:
            return Compiled(
                parsed=False,
                built=False,
                seconds=0.0,
                engine_bytes=0,
                peak_bytes=0,
                error="the process that compiled it died: TensorRT crashed, or memory ran out",
            )


def compile_here(
    library: str,
    path: Path,
    spec: ModelSpec,
    capabilities: tuple[int, ...] = (),
    plan: Path | None = None,
    timing: Path | None = None,
) -> Compiled:
    """As :meth:`Compiler.compile`, in this process."""
    trt = load_library(library)
    began = time.monotonic()
    log = make_log(trt)
    builder = trt.Builder(log)
    if builder is None:
        raise RuntimeError(first_line(log.errors))
    builder.max_threads = THREADS
    network = builder.create_network(_flags(trt))
    parser = trt.OnnxParser(network, log)
    parsed = parser.parse_from_file(str(path))
    engine = None
    if parsed:
        error = _difference(trt, network, spec)
        if not error:
            config = _config(trt, builder, spec, capabilities)
            cache = _use_timing(config, timing)
            engine = builder.build_serialized_network(network, config)
            error = "" if engine is not None else first_line(log.errors)
            _keep_timing(cache, timing)
    else:
        error = _parser_error(parser)
    if engine is not None and plan is not None:
        plan.write_bytes(memoryview(engine))
    return Compiled(
        parsed=parsed,
        built=engine is not None,
        seconds=round(time.monotonic() - began, 2),
        engine_bytes=0 if engine is None else engine.nbytes,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        error=error,
    )


def load_library(library: str) -> Any:
    """The module of a library. Raises ImportError when it, or what it is bound to, is not installed."""
    return importlib.import_module(library)


def make_log(trt: Any) -> Any:
    """A log that keeps errors in ``errors``, of which the first is the cause; the library's own log prints them."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR and _NO_GPU not in message:
                self.errors.append(message)

    return Log()


def first_line(messages: list[str]) -> str:
    """The first message, without the place in the library's source that it comes from."""
    text = messages[0].splitlines()[0] if messages else "TensorRT gave no reason"
    return re.sub(r"( In \w+)? at /\S+?:\d+", "", text)


def _flags(trt: Any) -> int:
    # Since TensorRT 11 there are no other networks; the flag may go some day.
    strong = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if strong is None else 1 << int(strong)


def _config(trt: Any, builder: Any, spec: ModelSpec, capabilities: tuple[int, ...]) -> Any:
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if capabilities:
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


def _use_timing(config: Any, timing: Path | None) -> Any:
    """The timing cache that ``config`` uses from here on; None without a file for it."""
    if timing is None:
        return None
    kept = timing.read_bytes() if timing.is_file() else b""
    cache = config.create_timing_cache(kept)
    if not config.set_timing_cache(cache, False):
        # Another version's or GPU's, or half a file.
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _keep_timing(cache: Any, timing: Path | None) -> None:
    if cache is not None and timing is not None:
        new = timing.with_name(f"{timing.name}.new")
        new.write_bytes(memoryview(cache.serialize()))
        os.replace(new, timing)


def _difference(trt: Any, network: Any, spec: ModelSpec) -> str:
    """What is wrong with the tensors of the graph; empty when they are those of the spec."""
    types = {
        trt.DataType.FLOAT: "FP32",
        trt.DataType.HALF: "FP16",
        trt.DataType.UINT8: "UINT8",
        trt.DataType.INT32: "INT32",
        trt.DataType.INT64: "INT64",
        trt.DataType.BOOL: "BOOL",
    }
    sides = (
        ("inputs", spec.inputs, network.num_inputs, network.get_input),
        ("outputs", spec.outputs, network.num_outputs, network.get_output),
    )
    for kind, tensors, count, get in sides:
        found = {(get(index).name, types.get(get(index).dtype, "?")) for index in range(count)}
        wanted = {(tensor.name, tensor.dtype) for tensor in tensors}
        if found != wanted:
            odd = ", ".join(" ".join(item) for item in sorted(found ^ wanted))
            return f"its {kind} are not those of the contract: {odd}"
    return ""


def _parser_error(parser: Any) -> str:
    if not parser.num_errors:
        return "the parser gave no reason"
    error = parser.get_error(0)
    lines = [line for line in error.desc().splitlines() if _NO_GPU not in line]
    return f"{error.node_operator() or 'graph'} {error.node_name()}: {first_line(lines[1:] or lines)}"
