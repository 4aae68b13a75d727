"""A ModelSpec → the text of its config.pbtxt, with fields that NVIDIA's and the embedded backends both honour; and of
its configs/tensorrt.pbtxt, for the graph as a plan of TensorRT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from export.contract import Sizes, axis_sizes, buckets
from export.spec import ModelSpec, Tensor

QUEUE_DELAY_MICROSECONDS = 500
"""How long a step waits to be batched: far less than it takes, enough for jobs that finished the last one together."""

PLAN_CONFIG = "tensorrt"
"""What ``--model-config-name`` chooses."""
PLAN_FILE = "model.plan"

_CONTRACT = ("backend:", "platform:", "max_batch_size:", "input ", "output ")
_HEADER = "# Written by `python -m export` from export/contract.py; change it there.\n"


def config_text(spec: ModelSpec, file: str = "") -> str:
    """The whole config.pbtxt, ending in a newline. ``file`` names the graph, from its version's folder, where that is
    not model.onnx."""
    lines = [f'default_model_filename: "{file}"'] if file else []
    if spec.max_batch_size > 1:
        lines.append(_batching())
    return _text(spec, spec.backend, lines)


def contract_lines(text: str) -> list[str]:
    """The lines of a config.pbtxt that callers depend on: backend, largest batch and tensors. Two configurations that
    agree in them may stand for each other; in the others they serve in other ways."""
    return [line for line in text.splitlines() if line.startswith(_CONTRACT)]


def tensorrt_config_text(spec: ModelSpec, sizes: Sizes, file: str) -> str:
    """The whole configs/tensorrt.pbtxt: the graph as it runs beside plans. ``file`` is PLAN_FILE, or the ONNX graph of
    one that has no plan; then only the warm-up tells it from config.pbtxt.

    A plan's launches are recorded as CUDA graphs while it loads, for one sample and a full batch of each bucket; other
    batches run without one. Full batches go at once, and all others after the usual wait.
    """
    lines = [f'default_model_filename: "{file}"']
    planned = file == PLAN_FILE
    if spec.max_batch_size > 1:
        lines.append(_batching(preferred=(spec.max_batch_size,) if planned else ()))
    if planned:
        lines += ["optimization {", "  cuda {", "    graphs: true"]
        lines += [f"    {line}" for line in _cuda_graphs(spec, sizes)]
        lines += ["  }", "}"]
    native = axis_sizes(spec, sizes, (sizes.native_size, sizes.native_size), rows=2)
    for batch in _batches(spec):
        lines += _warm_up(spec, batch, native)
    return _text(spec, "tensorrt" if planned else spec.backend, lines)


def _text(spec: ModelSpec, backend: str, more: Sequence[str]) -> str:
    """The lines that all configurations share, and ``more``."""
    lines = [f'name: "{spec.name}"']
    match backend:
        case "ensemble":
            lines.append('platform: "ensemble"')
        case "tensorrt":
            lines += ['platform: "tensorrt_plan"', 'backend: "tensorrt"']
        case _:
            lines.append(f'backend: "{backend}"')
    # Also when it is 0, which Triton assumes by default: for human readers.
    lines.append(f"max_batch_size: {spec.max_batch_size}")
    lines += [line for tensor in spec.inputs for line in _tensor("input", tensor)]
    lines += [line for tensor in spec.outputs for line in _tensor("output", tensor)]
    lines += more
    if spec.decoupled:
        lines.append("model_transaction_policy { decoupled: true }")
    match backend:
        case "ensemble":
            lines += _steps(spec)
        case "python":
            lines.append("instance_group [ { count: 1 kind: KIND_CPU } ]")
        case _:
            # No kind: on the GPU where there is one. All versions: a release runs its own, beside the next.
            lines.append("instance_group [ { count: 1 } ]")
            lines.append("version_policy { all { } }")
    if spec.cuda_graphs:
        value = f'{{ string_value: "{spec.cuda_graphs}" }}'
        lines.append(f'parameters [ {{ key: "cuda_graphs" value: {value} }} ]')
    return _HEADER + "\n".join(lines) + "\n"


def _batching(preferred: Sequence[int] = ()) -> str:
    sizes = f"preferred_batch_size: [ {', '.join(map(str, preferred))} ] " if preferred else ""
    return f"dynamic_batching {{ {sizes}max_queue_delay_microseconds: {QUEUE_DELAY_MICROSECONDS} }}"


def _batches(spec: ModelSpec) -> tuple[int, ...]:
    return tuple(dict.fromkeys((1, spec.max_batch_size)))


def _cuda_graphs(spec: ModelSpec, sizes: Sizes) -> Iterator[str]:
    """With guidance for every bucket, without it for the native one: a graph costs memory and time to record."""
    shapes = [(bucket, 2) for bucket in buckets(sizes)]
    shapes.append(((sizes.native_size, sizes.native_size), 1))
    found = dict.fromkeys(tuple(axis_sizes(spec, sizes, *shape).items()) for shape in shapes)
    for axes in found:
        for batch in _batches(spec):
            yield f"graph_spec {{ batch_size: {batch}"
            for tensor in spec.inputs:
                dims = ", ".join(map(str, tensor.shape(dict(axes))))
                yield f'  input {{ key: "{tensor.name}" value {{ dim: [ {dims} ] }} }}'
            yield "}"


def _warm_up(spec: ModelSpec, batch: int, axes: dict[str, int]) -> Iterator[str]:
    """A request of zeros, which every input takes: what loads late is loaded before the first job."""
    yield f'model_warmup [ {{ name: "native size, batch {batch}" batch_size: {batch}'
    for tensor in spec.inputs:
        dims = ", ".join(map(str, tensor.shape(axes)))
        value = f"data_type: TYPE_{tensor.dtype} dims: [ {dims} ] zero_data: true"
        yield f'  inputs {{ key: "{tensor.name}" value {{ {value} }} }}'
    yield "} ]"


def _tensor(kind: str, tensor: Tensor) -> list[str]:
    dims = ", ".join(str(dim) for dim in tensor.triton_dims)
    dtype = f"TYPE_{tensor.dtype}"
    optional = " optional: true" if tensor.optional else ""
    return [f'{kind} [ {{ name: "{tensor.name}" data_type: {dtype} dims: [ {dims} ]{optional} }} ]']


def _steps(spec: ModelSpec) -> list[str]:
    lines = ["ensemble_scheduling {"]
    for model, inputs, outputs in spec.steps:
        lines.append(f'  step [ {{ model_name: "{model}" model_version: -1')
        lines += [f'    input_map {{ key: "{key}" value: "{value}" }}' for key, value in inputs.items()]
        lines += [f'    output_map {{ key: "{key}" value: "{value}" }}' for key, value in outputs.items()]
        lines.append("  } ]")
    return [*lines, "}"]
