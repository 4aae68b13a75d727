"""Reading config.pbtxt as Triton does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format  # type: ignore[import-untyped]
from tritonclient.grpc import model_config_pb2


def parse_config(text: str) -> Any:
    """The ModelConfig of Triton's own schema. Raises ParseError for a field that the schema does not have."""
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def read_config(file: Path) -> Any:
    """The ModelConfig in ``file``; raises what :func:`parse_config` does."""
    return parse_config(file.read_text())


def tensor_types(tensors: Any) -> dict[str, str]:
    """Element types, such as ``FP32``, by name for the inputs or outputs of a ModelConfig."""
    names = model_config_pb2.DataType
    return {tensor.name: names.Name(tensor.data_type).removeprefix("TYPE_") for tensor in tensors}
