"""How long the stages of a request took."""

import time
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Seconds per stage, summed over attempts."""

    timings: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _since: float = 0.0

    def enter(self, stage: str) -> None:
        now = time.perf_counter()
        if self._stage:
            self.timings[self._stage] = round(self.timings.get(self._stage, 0.0) + now - self._since, 4)
        self._stage, self._since = stage, now
