"""How config.pbtxt, the instance and the environment want a graph run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime as ort

from runners import DEVICES, Setup


def setup_of(config: Mapping[str, Any], args: Mapping[str, str], environment: Mapping[str, str]) -> Setup:
    """``config`` is config.pbtxt as Triton's JSON, ``args`` are those of ``initialize``. Raises ValueError."""
    device = environment.get("REROOM_DEVICE") or "auto"
    if device not in DEVICES:
        raise ValueError(f"REROOM_DEVICE is {device!r} and must be one of {', '.join(DEVICES)}")
    # An instance of the kind GPU is one card's; the id of another kind means nothing.
    on_gpu = args.get("model_instance_kind") == "GPU"
    return Setup(
        device=device,
        device_id=int(args.get("model_instance_device_id") or 0) if on_gpu else 0,
        session_options=session_options(config["parameters"]),
        cuda_options=cuda_options(config),
        cuda_graphs=number(config["parameters"], "cuda_graphs"),
    )


def cuda_options(config: Mapping[str, Any]) -> dict[str, str]:
    """The options of ONNX Runtime's CUDA provider in ``optimization.execution_accelerators``."""
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    found: dict[str, str] = {}
    for each in accelerators.get("gpu_execution_accelerator", []):
        if each.get("name") == "cuda":
            found |= each.get("parameters", {})
    return found


def number(parameters: Mapping[str, Mapping[str, str]], key: str) -> int:
    return int(parameters.get(key, {}).get("string_value", "0"))


def session_options(parameters: dict[str, dict[str, str]]) -> ort.SessionOptions:
    """Session options from the parameters of config.pbtxt. A thread count of 0 means as many as there are cores."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = number(parameters, "intra_op_thread_count")
    options.inter_op_num_threads = number(parameters, "inter_op_thread_count")
    if number(parameters, "execution_mode") == 1:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    # Several models share the cores: three busy ones on two cores did 6.5 runs/s with spinning threads, 10.1 without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Shapes change from job to job, and a plan of memory would be kept for each.
    options.enable_mem_pattern = False
    return options
