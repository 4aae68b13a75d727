"""Small requests that only check whether a model's own process still answers.

A Python model of Triton's runs in a process of its own (its *stub*), and so does a model of a backend that is written
in Python. When such a process dies, Triton 2.51 goes on saying that the model is ready. Only a request shows it.
"""

from __future__ import annotations

import math

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInput
from tritonclient.utils import triton_to_np_dtype

PICTURE_SIDE, OTHER_SIDE = 64, 8
"""Sides of a probe's tensors: Stable Diffusion's networks halve a latent three times, and a latent is an eighth of a
picture. At 64² a guided step computes a 64th of what it does at 512²."""


def is_process(config: ModelConfig) -> bool:
    """Whether the model runs in its own process: its backend is Python, or written in Python (``runtime``)."""
    return bool(config.backend == "python" or config.runtime.endswith(".py"))


def smallest_inputs(config: ModelConfig) -> list[InferInput]:
    """Zeros for every required input, in the smallest shapes that networks of this kind take.

    A model may refuse them; then too its process has answered.
    """
    return [_zeros(each, batched=config.max_batch_size > 0) for each in config.input if not each.optional]


def _zeros(tensor: ModelInput, *, batched: bool) -> InferInput:
    datatype = DataType.Name(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
    side = PICTURE_SIDE if datatype == "UINT8" else OTHER_SIDE
    # One variable dimension alone counts something, such as prompts; two are a picture's sides.
    variable = 1 if list(tensor.dims).count(-1) == 1 else side
    shape = [*([1] if batched else []), *(variable if size == -1 else size for size in tensor.dims)]
    zero = b"" if datatype == "BYTES" else 0
    values = np.array([zero] * math.prod(shape), triton_to_np_dtype(datatype)).reshape(shape)
    asked = InferInput(tensor.name, shape, datatype)
    asked.set_data_from_numpy(values)
    return asked
