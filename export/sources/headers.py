"""What a .safetensors file holds, without loading it: names, types, shapes, and whether all numbers are finite.

The file is eight bytes (the length of the header, little-endian), the header (JSON), and the tensors one after the
other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from export.bundle import BundleError

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
"""Endings of files that torch.save wrote."""

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_EXPONENTS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF0_0000_0000_0000),
    "F32": (np.uint32, 0x7F80_0000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
"""The bits of the exponent: all are set in infinities and in what is no number."""
_CHUNK = 1 << 22
"""Numbers that are looked at together; a few stay in the processor's cache no better than many, and cost no memory."""


class Entry(msgspec.Struct, frozen=True):
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]
    """Where its bytes begin and end, from the end of the header."""


class Header(msgspec.Struct, frozen=True):
    """The header of a file."""

    path: Path
    tensors: dict[str, Entry]
    metadata: dict[str, str]
    start: int
    """Where the tensors begin, in bytes."""

    def empty(self) -> dict[str, Tensor]:
        """The tensors by name, on the device ``meta``: shapes and types without numbers."""
        return {
            name: torch.empty(entry.shape, dtype=_DTYPES[entry.dtype], device="meta")
            for name, entry in self.tensors.items()
        }

    def not_finite(self, names: Iterable[str] | None = None) -> Iterator[str]:
        """Those of the tensors ``names`` (None = all) with a number that is none or infinite.

        Reads each once, a few megabytes at a time.
        """
        for name in self.tensors if names is None else names:
            entry = self.tensors[name]
            begin, end = entry.data_offsets
            if entry.dtype in _EXPONENTS and begin < end:
                kind, exponent = _EXPONENTS[entry.dtype]
                count = (end - begin) // np.dtype(kind).itemsize
                values = np.memmap(self.path, kind, "r", self.start + begin, (count,))
                if any(
                    _has_exponent(values[at : at + _CHUNK], exponent) for at in range(0, len(values), _CHUNK)
                ):
                    yield name


def _has_exponent(bits: np.ndarray[Any, Any], exponent: int) -> bool:
    mask = bits.dtype.type(exponent)
    return bool(((bits & mask) == mask).any())


def read_header(path: Path) -> Header:
    """Read the header of ``path``. Raises BundleError, with the file and the remedy, when it is no complete
    .safetensors file."""
    if path.suffix in PICKLES:
        raise BundleError(pickled(path))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= size - 8 else b""
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    if not text.lstrip().startswith(b"{"):
        raise BundleError(f"{path}: {_other_content(path)}")
    try:
        content = json.loads(text)
        metadata = content.pop("__metadata__", {})
        tensors = msgspec.convert(content, dict[str, Entry])
    except (ValueError, AttributeError) as error:
        raise BundleError(f"{path}: its header is damaged ({error}): fetch the file again") from error
    if foreign := sorted({entry.dtype for entry in tensors.values()} - set(_DTYPES)):
        raise BundleError(f"{path}: holds tensors of the type {foreign[0]}: take weights in fp32 or fp16")
    start = 8 + length
    end = start + max((entry.data_offsets[1] for entry in tensors.values()), default=0)
    if size != end:
        raise BundleError(
            f"{path}: is {'cut off' if size < end else 'too long'}: {size} bytes, and its header says {end}: fetch the "
            "file again"
        )
    return Header(path, tensors, metadata, start)


def pickled(path: Path) -> str:
    """The sentence that refuses a pickle."""
    return (
        f"{path}: is a pickle, which can run any program when it is read: fetch the .safetensors file, or make one "
        "(safetensors.torch.save_file) if you trust it"
    )


def _other_content(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(20).startswith(b"version https://git-"):
            return "is a Git LFS pointer, not the weights: run `git lfs pull`"
    return "is no .safetensors file, or cut off in its header: fetch the file again"
