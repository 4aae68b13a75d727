"""The way of a version off the servers: no new requests, those that run end, its graphs are unloaded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event

from export.releases.agent.record import Record
from export.releases.agent.restarting import Memory, Restarts
from export.releases.agent.wanted import LOOK_SECONDS, RETRY_SECONDS, Wanted
from export.releases.checksums import ReleaseDamaged
from export.releases.folder import live_version
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
        self._tidied_for, self._tidy_at = -1, 0.0
        """What was live when it was tidied up: when that is another, what was live may stay loaded without being
        ready."""

    def let_go(self, version: int) -> None:
        """No new requests for ``version``; when those that run have ended, unload it."""
        state, name = self._record.state, self._record.name_of(version)
        with self._record.lock:
            state.ready = [other for other in state.ready if other != version]
            state.leaving = version
        self._record.save()
        began = time.monotonic()
        try:
            while version in self._running() or time.monotonic() < began + LINGER_SECONDS:
                if version in self._wanted or self._wanted.missing() or self._stopping.wait(LOOK_SECONDS):
                    # Everything of it is loaded still, and what is wanted does not wait for requests that hang.
                    self._stay(version)
                    return
            self.unload()
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

    def _running(self) -> set[int]:
        """The versions that requests use now. Raises ServerError."""
        return {
            version
            for server in self._servers
            for model in SERVING
            for version, count in server.alive(model).running.items()
            if count
        }

    @property
    def untidy(self) -> bool:
        """Whether there may be something to tidy up, and it is time to try."""
        return self._tidied_for != self._record.live and self._tidy_at <= time.monotonic()

    def tidy(self) -> None:
        """Unload what is loaded and not ready: what an agent left that was killed on the way of a version which nobody
        wants any more, and what was live without ever having become ready. Requests that run on it end first."""
        live = self._record.live
        try:
            waits = bool(self._running() - self._staying())
            if not waits:
                self.unload()
        except ServerError:
            waits = True
        if waits:
            self._tidy_at = time.monotonic() + RETRY_SECONDS
            return
        self._tidied_for = live
        with self._record.lock:
            self._record.state.loading = self._record.state.leaving = None
        self._record.save()

    def unload(self) -> None:
        """Unload the graphs that neither what is live needs, ready or not, nor what is ready. Raises ServerError;
        called again it goes on."""
        needed = self._graphs_needed()
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

    def _staying(self) -> set[int]:
        with self._record.lock:
            return {*self._record.state.ready, self._record.live} - {0}

    def _graphs_needed(self) -> set[Place]:
        """Without those of a version that was pruned, unless it is live: Triton serves that from its memory. Raises
        ServerError when one cannot be read, or when nobody can tell what is live."""
        found = set[Place]()
        try:
            live = live_version(self._record.release)
        except ReleaseDamaged as error:
            raise ServerError(str(error)) from error
        for version in self._staying():
            try:
                found |= self._served.wanted([version])
            except (OSError, ValueError, KeyError) as error:
                if isinstance(error, FileNotFoundError) and version != live:
                    continue
                raise ServerError(f"release.json of version {version} cannot be read: {error}") from error
        return found


def _wait_gone(server: Server, places: set[Place]) -> None:
    until = time.monotonic() + GONE_SECONDS
    while time.monotonic() < until:
        states = server.states()
        if all(is_gone(states, place) for place in places):
            return
        time.sleep(0.2)
