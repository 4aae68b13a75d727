"""Measures how long the parts of a request took."""

import time
from dataclasses import dataclass, field


@dataclass
class Clock:
    """``timings``: seconds by name, summed over attempts."""

    timings: dict[str, float] = field(default_factory=dict)
    _name: str = ""
    _since: float = 0.0

    def enter(self, name: str) -> None:
        """From now on time counts for ``name``; "" = for nothing."""
        now = time.perf_counter()
        if self._name:
            self.timings[self._name] = round(self.timings.get(self._name, 0.0) + now - self._since, 4)
        self._name, self._since = name, now
