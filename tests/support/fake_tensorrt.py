"""The part of TensorRT's and CUDA's Python interfaces that runs a plan, with the device's memory on the host.

Its plans hold anything; they take one input x and give y, its positive part. ``tests/contract/test_plans.py`` checks
that the real interfaces have the names that are used here.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np


class Status(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2


class FakeCuda:
    """``cuda.bindings.runtime``: every call answers with a status first."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.held: dict[int, Any] = {}

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        if size > self.room:
            return Status.cudaErrorMemoryAllocation, 0
        buffer = ctypes.create_string_buffer(size)
        self.held[ctypes.addressof(buffer)] = buffer
        return Status.cudaSuccess, ctypes.addressof(buffer)

    def cudaFree(self, pointer: int) -> tuple[Any, ...]:
        del self.held[pointer]
        return (Status.cudaSuccess,)

    def cudaMemcpy(self, to: int, source: int, size: int, kind: int) -> tuple[Any, ...]:
        # The side of the device must be memory that was asked for.
        assert (to if kind == self.cudaMemcpyKind.cudaMemcpyHostToDevice else source) in self.held
        ctypes.memmove(to, source, size)
        return (Status.cudaSuccess,)

    def cudaStreamCreate(self) -> tuple[Any, ...]:
        return Status.cudaSuccess, 7

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        return (Status.cudaSuccess,)

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        return (Status.cudaSuccess,)


class FakeTensorRT:
    """``tensorrt``, as far as it runs plans. The plan b"another" was built by another version."""

    class ILogger:
        Severity = enum.IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING"], start=0)

        def __init__(self) -> None:
            pass

    def __init__(self, most: int) -> None:
        self.most = most
        """The largest batch of its profile."""

    def Runtime(self, log: Any) -> Any:
        def deserialize(plan: bytes) -> Any:
            if plan == b"another":
                log.log(
                    self.ILogger.Severity.ERROR, "The engine plan file is not compatible with this version"
                )
                return None
            return SimpleNamespace(create_execution_context=lambda: Context(self, log))

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class Context:
    def __init__(self, trt: FakeTensorRT, log: Any) -> None:
        self.trt, self.log = trt, log
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        if shape[0] > self.trt.most:
            self.log.log(self.trt.ILogger.Severity.ERROR, f"{name}: not in the range of the profile")
            return False
        self.shape = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        x, y = (
            np.ctypeslib.as_array(
                ctypes.cast(self.addresses[name], ctypes.POINTER(ctypes.c_float)), self.shape
            )
            for name in ("x", "y")
        )
        np.maximum(x, 0, out=y)
        return True
