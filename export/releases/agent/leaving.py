"""The way of a version off the servers: no new requests, those that run end, its graphs are unloaded."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from threading import Event

from export.releases.agent.record import Record
from export.releases.agent.restarting import Memory, Restarts
from export.releases.agent.wanted import LOOK_SECONDS, RETRY_SECONDS, Wanted
from export.releases.served import Place, Served
from export.releases.server import CALL_SECONDS, SERVING, Server, ServerError, is_gone

LINGER_SECONDS = 5.0
"""How long a version stays loaded at least when nobody may ask for it any more. Whoever checks the server's models does
so by what it heard up to two seconds ago."""

GONE_SECONDS = 30.0
"""How long Triton may take to let go of a graph; it usually takes one."""


class Leaving:
    """Off ``servers``."""

    def __init__(
        self,
        record: Record,
        wanted: Wanted,
        served: Served,
        servers: Sequence[Server],
        restarts: Restarts,
        memory: Memory,
        stopping: Event,
    ) -> None:
        self._record, self._wanted, self._served, self._servers = record, wanted, served, servers
        self._restarts, self._memory, self._stopping = restarts, memory, stopping
        self._tidied, self._tidy_at = False, 0.0

    def let_go(self, version: int) -> None:
        """No new requests for ``version``; when those that run have ended, unload it."""
        state, name = self._record.state, self._record.name_of(version)
        with self._record.lock:
            state.ready = [other for other in state.ready if other != version]
            state.leaving = version
        self._record.save()
        began = time.monotonic()
        try:
            while self._running(version) or time.monotonic() < began + LINGER_SECONDS:
                if version in self._wanted or self._wanted.missing() or self._stopping.wait(LOOK_SECONDS):
                    # Everything of it is loaded still, and what is wanted does not wait for requests that hang.
                    self._stay(version)
                    return
            self.unload(version)
        except ServerError as error:
            self._stay(version)
            self._record.say(f"{name} is not unloaded yet: {error}")
            return
        with self._record.lock:
            state.leaving = None
        self._record.report(
            f"{name} is unloaded, {time.monotonic() - began:.1f} s after it got its last request"
        )
        self._memory.note("after")
        self._record.save()

    def _stay(self, version: int) -> None:
        with self._record.lock:
            self._record.state.ready = sorted({*self._record.state.ready, version})
            self._record.state.leaving = None
        self._wanted.wait(version)
        self._record.save()

    def _running(self, version: int) -> int:
        """How many requests use it now. Raises ServerError."""
        return sum(
            server.alive(model).running.get(version, 0) for server in self._servers for model in SERVING
        )

    @property
    def untidy(self) -> bool:
        """Whether there may be something to tidy up, and it is time to try."""
        return not self._tidied and self._tidy_at <= time.monotonic()

    def tidy(self) -> None:
        """Unload what an agent left loaded that was killed on the way of a version which nobody wants any more."""
        try:
            self.unload()
        except ServerError:
            self._tidy_at = time.monotonic() + RETRY_SECONDS
            return
        self._tidied = True
        with self._record.lock:
            self._record.state.loading = self._record.state.leaving = None
        self._record.save()

    def unload(self, version: int = 0) -> None:
        """Unload the graphs that no version but ``version`` needs. Raises ServerError; called again it goes on."""
        with self._record.lock:
            staying = {*self._record.state.ready, self._record.live} - {0, version}
        needed = self._graphs_of(staying)
        for place in sorted(self._served.places() - needed):
            self._served.drop(place)
        linked = {model for model, _ in self._served.places()}
        ours = {folder.name for folder in (self._record.release / "models").glob("*")}
        # A Triton that is stuck answers no load: its restart leaves out what has no link.
        for server in [] if self._restarts.stuck else self._servers:
            states = server.states()
            loaded = {place for place in states if place[0] in ours and not is_gone(states, place)}
            going = loaded - needed
            for model in sorted({model for model, _ in going}):
                server.load(model, CALL_SECONDS) if model in linked else server.unload(model)
            _wait_gone(server, going)

    def _graphs_of(self, versions: Iterable[int]) -> set[Place]:
        """Without those of a version that was pruned. Raises ServerError when one cannot be read."""
        found: set[Place] = set()
        for version in versions:
            try:
                found |= self._served.wanted([version])
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError) as error:
                raise ServerError(f"release.json of version {version} cannot be read: {error}") from error
        return found


def _wait_gone(server: Server, places: set[Place]) -> None:
    until = time.monotonic() + GONE_SECONDS
    while time.monotonic() < until:
        states = server.states()
        if all(is_gone(states, place) for place in places):
            return
        time.sleep(0.2)
