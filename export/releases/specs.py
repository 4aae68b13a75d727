"""The graphs of a published version: their files and their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from export.contract import Sizes, graph_specs
from export.graphs.triton_config import config_text, contract_lines
from export.releases.folder import graph_places
from export.seats import DEFAULT_HINTS
from export.spec import ModelSpec


def graph_file(release: Path, document: Mapping[str, Any], graph: str) -> Path:
    """The file of a graph of the version that ``document``, its release.json, describes."""
    model, version = graph_places(document)[graph]
    return release / "models" / model / str(version) / "model.onnx"


def release_sizes(document: Mapping[str, Any]) -> Sizes:
    """The sizes of the networks of the version that ``document``, its release.json, describes."""
    return msgspec.convert(document["sizes"], Sizes)


def release_specs(document: Mapping[str, Any]) -> dict[str, ModelSpec]:
    """The specs of that version's graphs by the graphs' names; a spec has the name of Triton's model."""
    specs = graph_specs(release_sizes(document), document.get("hints", DEFAULT_HINTS), document["models"])
    models = document["models"]
    return {
        graph: replace(spec, name=models.get(graph, {}).get("model", graph)) for graph, spec in specs.items()
    }


def other_tensors(release: Path, document: Mapping[str, Any]) -> str | None:
    """The first config.pbtxt in ``release`` with other tensors than the version of ``document`` has under that model's
    name; None = there is none."""
    for spec in release_specs(document).values():
        file = release / "models" / spec.name / "config.pbtxt"
        if file.is_file() and contract_lines(file.read_text()) != contract_lines(config_text(spec)):
            return str(file.relative_to(release))
    return None
