"""The least that figures must reach, as gates.toml says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One figure's bound; exactly one of ``at_least`` and ``at_most`` is given."""

    at_least: float | None = None
    at_most: float | None = None
    small_set: float | None = None
    """The bound on the tests' few rooms; None = not measured there."""

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("want either at_least or at_most")

    @property
    def bound(self) -> float:
        """On the whole benchmark."""
        bound = self.at_most if self.at_least is None else self.at_least
        assert bound is not None
        return bound

    def passes(self, value: float, bound: float) -> bool:
        """False also for what is no number."""
        return value <= bound if self.at_least is None else value >= bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_least is None else '≥'} {self.bound:g}"


GATES: Mapping[str, Gate] = MappingProxyType(
    msgspec.toml.decode(Path(__file__).with_name("gates.toml").read_bytes(), type=dict[str, Gate])
)
"""By the figure's name."""


def missed(figures: Mapping[str, float], *, small_set: bool = False) -> dict[str, str]:
    """The gates that figures do not pass, and why; a figure that is not there passes none."""
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
