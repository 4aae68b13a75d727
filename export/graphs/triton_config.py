"""A ModelSpec → the text of its config.pbtxt, with fields that NVIDIA's and the embedded backends both honour."""

from __future__ import annotations

from export.spec import ModelSpec, Tensor

QUEUE_DELAY_MICROSECONDS = 500
"""How long a step waits to be batched: far less than it takes, enough for jobs that finished the last one together."""

_HEADER = "# Written by `python -m export` from export/contract.py; change it there.\n"


def config_text(spec: ModelSpec) -> str:
    """The whole file, ending in a newline."""
    lines = [f'name: "{spec.name}"']
    lines.append('platform: "ensemble"' if spec.backend == "ensemble" else f'backend: "{spec.backend}"')
    # Also when it is 0, which Triton assumes by default: for human readers.
    lines.append(f"max_batch_size: {spec.max_batch_size}")
    lines += [line for tensor in spec.inputs for line in _tensor("input", tensor)]
    lines += [line for tensor in spec.outputs for line in _tensor("output", tensor)]
    if spec.max_batch_size > 1:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY_MICROSECONDS} }}")
    if spec.decoupled:
        lines.append("model_transaction_policy { decoupled: true }")
    match spec.backend:
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
