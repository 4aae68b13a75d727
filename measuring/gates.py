"""The least or the most that a figure must reach."""

from __future__ import annotations

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
