"""Looks at what is wanted, switches, and gives the one thread that works the next thing to do."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from export.releases.agent.bringing import Bringing
from export.releases.agent.leaving import Leaving
from export.releases.agent.record import Record, Report
from export.releases.agent.restarting import Memory, Restarts
from export.releases.agent.wanted import LOOK_SECONDS, Wanted
from export.releases.checksums import LEFT_OUT
from export.releases.durable import write_whole
from export.releases.folder import make_live
from export.releases.memory import Usage, usage_of
from export.releases.rollout import ROLLOUT, Rollout, RolloutError, encode
from export.releases.served import Served
from export.releases.server import Server, ServerError, is_ready
from export.releases.sources import FolderSource, Source

INDEX_SECONDS = 1.0
"""How often Triton is asked whether it still serves what is ready."""

TELL_SECONDS = 30.0
"""How often host.json is written without news, so that a silent agent is noticed."""

NICENESS = 10
"""What is added to that of the thread that works: it gets a tenth of a busy processor's share. The one that looks and
switches has its full one."""


class Agent:
    """See the package. ``servers`` share the folder ``release``."""

    def __init__(
        self,
        release: Path,
        servers: Sequence[str],
        source: Source,
        *,
        name: str = "",
        report: Report = print,
        usage: Callable[[int], Usage | None] = usage_of,
    ) -> None:
        self.stopping = threading.Event()
        self._release, self._source, self._served = release, source, Served(release)
        # A connection is for one thread.
        self._watching, self._working = [Server(url) for url in servers], [Server(url) for url in servers]
        name = name or f"{socket.gethostname()}:{servers[0].rpartition(':')[2]}"
        self._record = record = Record(release, source, name, report)
        self._wanted = wanted = Wanted(record)
        served, working, stopping = self._served, self._working, self.stopping
        self._restarts = restarts = Restarts(record, wanted, working, stopping)
        memory = Memory(record, served, working, restarts, usage)
        self._leaving = Leaving(record, wanted, served, working, restarts, memory, stopping)
        self._bringing = Bringing(
            record, wanted, source, served, working, restarts, memory, self._leaving, stopping
        )
        # Digests of gigabytes take a core, which those who are served need. Linux has a niceness for each thread.
        yields = partial(os.nice, NICENESS)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="work", initializer=yields)
        self._work: Future[None] | None = None
        self._looked_at = 0.0
        self._answered = False
        """Whether a Triton has ever answered: at the start of everything it is not there yet."""

    def run(self) -> None:
        """Follow the rollout until ``stopping`` is set."""
        try:
            while not self.stopping.wait(LOOK_SECONDS):
                self.step()
        finally:
            self._pool.shutdown(wait=True)
            self._source.forget(self._record.state.name)
            for server in (*self._watching, *self._working):
                server.close()

    def step(self) -> None:
        """One look."""
        try:
            rollout = self._source.rollout()
        except (OSError, RolloutError) as error:
            self._record.say(f"what shall be live cannot be read, so nothing is changed: {error}")
            return
        try:
            self._follow(rollout)
        except OSError as error:
            # Of a full disk, for example. What is live here stays so, and the next look tries again.
            self._record.say(f"what shall be live cannot be written here: {error}")
            return
        now = time.monotonic()
        if now - self._looked_at >= INDEX_SECONDS:
            self._looked_at = now
            self._look_at_servers()
        if now - self._record.written_at >= TELL_SECONDS:
            self._record.save()
        if self._work is not None and self._work.done():
            work, self._work = self._work, None
            work.result()
        if self._work is None and (task := self._next_task()) is not None:
            self._work = self._pool.submit(task)

    def _follow(self, rollout: Rollout) -> None:
        """Note it, and switch when what it wants is ready. Raises OSError."""
        if rollout != self._wanted.rollout:
            if isinstance(self._source, FolderSource) and self._source.folder != self._release:
                # For restyle, which refuses what was withdrawn.
                write_whole(self._release / ROLLOUT, encode(rollout))
            self._wanted.note(rollout)
        self._switch()

    def _switch(self) -> None:
        """Write ``live`` when what shall be live is ready. Raises OSError."""
        wanted, record = self._wanted.rollout.live, self._record
        # Who leaves a version out says so before it writes `live`: what is read after it is not older.
        before = record.live
        self._take_left_out()
        with record.lock:
            ready, served = record.state.ready, record.state.live
            early = before not in ready and served in ready
            switch = wanted and wanted in ready
        if early and served != before:
            # Somebody wrote it while no agent ran. Triton serves what it served, and loads that again if it restarts.
            make_live(self._release, served)
            before = served
        if switch and before != wanted:
            make_live(self._release, wanted)
            with record.lock:
                record.state.live = wanted
            record.save()
            record.report(f"{record.name_of(wanted)} is live here, in place of {before or 'nothing'}")

    def _take_left_out(self) -> None:
        """Triton starts without these. Raises OSError."""
        if left_out := list(self._release.glob(f"{LEFT_OUT}[1-9]*")):
            versions = {int(file.name.removeprefix(LEFT_OUT)) for file in left_out}
            self._lose(versions, "Triton was started without {}, which are looked at again")
            for file in left_out:
                file.unlink(missing_ok=True)

    def _lose(self, versions: set[int], report: str) -> None:
        """Those of ``versions`` that are ready are so no more, and are brought again while they are wanted."""
        record = self._record
        with record.lock:
            lost = versions.intersection(record.state.ready)
            record.state.ready = [version for version in record.state.ready if version not in lost]
        if lost:
            record.report(report.format(sorted(lost)))
            record.save()

    def _next_task(self) -> Callable[[], None] | None:
        if self._restarts.stuck:
            return self._restarts.run
        if missing := self._wanted.missing():
            return partial(self._bringing.bring, missing[0])
        if surplus := self._wanted.surplus():
            return partial(self._leaving.let_go, surplus[0])
        if self._restarts.wanted:
            return self._restarts.run
        return self._leaving.tidy if self._leaving.untidy else None

    def _look_at_servers(self) -> None:
        """Notice a Triton that has restarted without what is ready here."""
        record = self._record
        with record.lock:
            ready = list(record.state.ready)
        lost: set[int] = set()
        for server in self._watching:
            try:
                states = server.states()
            except ServerError as error:
                if self._answered:
                    record.say(str(error))
                return
            self._answered = True
            for version in ready:
                with suppress(OSError, ValueError, KeyError):
                    if not all(is_ready(states, place) for place in self._served.wanted([version])):
                        lost.add(version)
        if self._work is None:
            self._lose(lost, "Triton has lost {}, which are loaded again")
