"""What a plan fits: its key. A plan whose key differs from what is wanted is never served."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from export.graphs.tensorrt import SETTINGS
from export.spec import ModelSpec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What of a machine its plans depend on; its driver is not."""

    gpu: str
    """The GPU's name, such as Tesla T4: two GPUs of one compute capability may want other kernels."""
    compute_capability: str
    """Such as 7.5."""
    tensorrt: str
    """The version of the library that builds, or serves, plans: such as 10.14.1."""


class PlanKey(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a plan depends on."""

    onnx: dict[str, str]
    """SHA-256 of the graph's files by name: the graph, and its weights where they lie beside it."""
    gpu: str
    compute_capability: str
    tensorrt: str
    profiles: dict[str, tuple[list[int], list[int], list[int]]]
    """The smallest, the usual and the largest shape of each input."""
    precision: str
    settings: str = SETTINGS

    @property
    def digest(self) -> str:
        """16 hexadecimal digits for the names of folders."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


def plan_key(spec: ModelSpec, facts: Mapping[str, Any], machine: Machine) -> PlanKey:
    """The key that a plan of the graph ``spec`` must have; ``facts`` are those that release.json has of it."""
    return PlanKey(
        onnx=facts["sha256"],
        gpu=machine.gpu,
        compute_capability=machine.compute_capability,
        tensorrt=machine.tensorrt,
        profiles={tensor.name: spec.ranges(tensor) for tensor in spec.inputs},
        precision=facts.get("precision", "fp32"),
    )


_LONG = ("onnx", "profiles")
"""Members whose values would fill a page."""


def difference(found: PlanKey, wanted: PlanKey) -> str:
    """Which members of two keys differ, as part of a sentence about ``found``; empty when none does."""
    differing = []
    for name in PlanKey.__struct_fields__:
        theirs, ours = getattr(found, name), getattr(wanted, name)
        if theirs != ours:
            values = "not this release's" if name in _LONG else f"{theirs}, here {ours}"
            differing.append(f"{name} ({values})")
    return " and ".join(differing)
