"""The bounds in gates.toml that figures must reach."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from measuring.gates import Gate

GATES: Mapping[str, Gate] = MappingProxyType(
    msgspec.toml.decode(Path(__file__).with_name("gates.toml").read_bytes(), type=dict[str, Gate])
)
"""By the figure's name."""


def missed(figures: Mapping[str, float], *, small_set: bool = False) -> dict[str, str]:
    """By figure, why it misses its gate; a missing figure misses it too."""
    why = {}
    for name, gate in GATES.items():
        bound = gate.small_set if small_set else gate.bound
        if bound is None:
            continue
        if name not in figures:
            why[name] = "not measured"
        elif not gate.passes(figures[name], bound):
            why[name] = f"{figures[name]:.4g} instead of {'≤' if gate.at_least is None else '≥'} {bound:g}"
    return why
