"""What the agent's two threads know together, host.json; and what they say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from export.releases.checksums import ReleaseDamaged
from export.releases.folder import live_version
from export.releases.host import Host, host_bytes, read_host, write_host
from export.releases.sources import Source

Report = Callable[[str], None]


class Record:
    """Of the folder ``release``; ``name`` is the host's where nothing else is written there. Who reads or changes more
    than one member of ``state`` holds ``lock``."""

    def __init__(self, release: Path, source: Source, name: str, report: Report) -> None:
        self.release, self.report = release, report
        self.state = read_host(release) or Host()
        self.state.name = name
        self.lock = threading.RLock()
        self.written_at = 0.0
        """By ``time.monotonic``."""
        self._source, self._said = source, ""

    @property
    def live(self) -> int:
        """What a request gets here that names no version; 0 = none, or nobody can tell."""
        try:
            return live_version(self.release)
        except ReleaseDamaged as error:
            # `restyle` goes on with what it has, and the next look writes the file anew.
            self.say(str(error))
            return 0

    def name_of(self, version: int) -> str:
        """A version's, such as rooms-5."""
        return f"{self.release.name}-{version}"

    def save(self) -> None:
        """Write host.json, here and where operators look for it. Raises nothing."""
        with self.lock:
            if self.live in self.state.ready:
                self.state.live = self.live
            self.state.at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self.written_at = time.monotonic()
            try:
                write_host(self.release, self.state)
            except OSError as error:
                self.say(f"host.json cannot be written: {error}")
            content = host_bytes(self.state)
        self._source.tell(self.state.name, content)

    def say(self, sentence: str) -> None:
        """Once, not ten times a second."""
        if sentence != self._said:
            self._said = sentence
            self.report(sentence)
