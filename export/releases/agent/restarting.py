"""Restarts Tritons: one that has grown, and one that waits for a dead process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event

from export.releases.agent.record import Record
from export.releases.agent.wanted import LOOK_SECONDS, Wanted
from export.releases.memory import Growth, Usage
from export.releases.served import Served
from export.releases.server import SERVING, Server, ServerError

QUIET_SECONDS = 3.0
"""How long nothing may have run before a Triton is restarted."""

PATIENCE_SECONDS, LONE_PATIENCE_SECONDS = 120.0, 900.0
"""How long that is waited for: where another Triton serves meanwhile, and where none does."""

UNHEARD_SECONDS, RESTARTED_SECONDS = 60.0, 900.0
"""How long a Triton that was told to may take to end, and until it serves again."""


class Restarts:
    """Of ``servers``, one after the other. What is asked for stands in host.json, and outlives the agent."""

    def __init__(self, record: Record, wanted: Wanted, servers: Sequence[Server], stopping: Event) -> None:
        self._record, self._wanted, self._servers, self._stopping = record, wanted, servers, stopping
        self.stuck = False
        """Whether Triton can load nothing more of some model before it is restarted."""
        self.count = 0
        """How often all of them were restarted."""
        self._left = list(servers)
        """Those whose turn is still to come."""
        self._turn_since = time.monotonic()

    @property
    def wanted(self) -> bool:
        """Whether it was asked for, and is not over."""
        return bool(self._record.state.restart)

    def ask(self, why: str, *, stuck: bool = False) -> None:
        """Restart every server, soon."""
        self.stuck = self.stuck or stuck
        with self._record.lock:
            self._record.state.restart = why
        self._left = list(self._servers)
        self._turn_since = time.monotonic()
        alone = "" if len(self._servers) > 1 else " at a quiet moment, since no other serves"
        self._record.report(f"Triton is to be restarted{alone}: {why}")

    def run(self) -> None:
        """Restart the servers, each when nothing runs on it, or when that took too long: workers begin the jobs again
        that are cut off. Returns early when something is to be loaded; the next call goes on with those that are
        left."""
        while self._left:
            if not (self._quiet(self._left[0]) and self._restarted(self._left[0])):
                return
            self._left.pop(0)
            self._turn_since = time.monotonic()
        with self._record.lock:
            self._record.state.restart = ""
        self.stuck, self._left = False, list(self._servers)
        self.count += 1
        self._record.save()

    def _quiet(self, server: Server) -> bool:
        """Wait until it may be restarted; False = there is something else to do."""
        quiet_since = time.monotonic()
        patience = PATIENCE_SECONDS if len(self._servers) > 1 else LONE_PATIENCE_SECONDS
        while True:
            try:
                busy = sum(sum(server.alive(model).running.values()) for model in SERVING)
            except ServerError:
                return True
            now = time.monotonic()
            quiet_since = now if busy else quiet_since
            if now - quiet_since >= QUIET_SECONDS or now - self._turn_since > patience:
                return True
            if self._stopping.wait(LOOK_SECONDS) or (self._wanted.missing() and not self.stuck):
                return False

    def _restarted(self, server: Server) -> bool:
        """Restart it; returns when it serves again. False = it is not back: then no other may end."""
        # The script that watches Triton removes it and ends Triton, whose supervisor starts another.
        asked = self._record.release / f"restart-{server.url.rpartition(':')[2]}"
        asked.touch()
        gone, began = False, time.monotonic()
        while not self._stopping.wait(LOOK_SECONDS):
            seconds = time.monotonic() - began
            try:
                server.alive("restyle")
            except ServerError:
                gone = True
                if seconds > RESTARTED_SECONDS:
                    return False
                continue
            if gone:
                self._record.report(f"{server.url} was restarted")
                return True
            if seconds > UNHEARD_SECONDS:
                asked.unlink(missing_ok=True)
                self._record.report(
                    f"{server.url} was not restarted, since nobody takes {asked}: start it with stack/watch_triton.py"
                )
                return True
        return False


class Memory:
    """What the servers hold, measured when versions come and go; one that holds more than before is restarted.

    ``usage`` measures the Triton of a gRPC port.
    """

    def __init__(
        self,
        record: Record,
        served: Served,
        servers: Sequence[Server],
        restarts: Restarts,
        usage: Callable[[int], Usage | None],
    ) -> None:
        self._record, self._served, self._restarts, self._usage = record, served, restarts, usage
        self._urls = [server.url for server in servers]
        self._growth, self._restarted = Growth(), 0

    def note(self, when: str) -> None:
        """Measure: ``before`` a version comes, or ``after`` one came or went."""
        if self._restarted != self._restarts.count:
            self._growth, self._restarted = Growth(), self._restarts.count
        found = {url: self._usage(int(url.rpartition(":")[2])) for url in self._urls}
        total = sum(usage.total for usage in found.values() if usage)
        with self._record.lock:
            self._record.state.memory = self._record.state.memory | {
                when: {
                    url: {"server": usage.server, "models": usage.models, "gpu": usage.gpu}
                    for url, usage in found.items()
                    if usage
                }
            }
        if when == "after" and total and (leak := self._growth.leaked(self._graph_bytes(), total)):
            self._restarts.ask(leak)

    def _graph_bytes(self) -> int:
        """The size of the graphs that are loaded."""
        return sum(
            file.stat().st_size
            for model, number in self._served.places()
            for file in (self._record.release / "models" / model / str(number)).glob("*")
        )
