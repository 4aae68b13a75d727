"""The way of a version onto the servers: fetch, verify, load beside the others, warm, try with a picture."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

from export.releases.agent.leaving import Leaving
from export.releases.agent.record import Record
from export.releases.agent.restarting import Memory, Restarts
from export.releases.agent.wanted import Wanted
from export.releases.device import CPU, this_device
from export.releases.folder import version_folder
from export.releases.memory import dead_processes
from export.releases.served import Served
from export.releases.server import RefusedError, Server, ServerError, UnreachableError, is_ready
from export.releases.sources import Source, SourceError
from export.releases.trying import UnfitError, try_picture, warm
from export.releases.verifying import verify_version

LOAD_SECONDS, RUN_SECONDS = 900.0, 600.0
"""How long a model may load, and how long a graph may run, or a picture take."""

CRASHED_LOOKS = 8
"""Of 0.25 s: how long the process of a model that loads may be dead until the load counts as failed. Triton itself
waits for it for ever."""

MOST_LETTERS = 400
"""Of a reason: a library's may be a page."""


class Refused(Exception):
    """A version must not serve here; the message is one sentence."""


class Interrupted(Exception):
    """Its way ends here; the message is one sentence."""


class Bringing:
    """Onto ``servers``."""

    def __init__(
        self,
        record: Record,
        wanted: Wanted,
        source: Source,
        served: Served,
        servers: Sequence[Server],
        restarts: Restarts,
        memory: Memory,
        leaving: Leaving,
        stopping: Event,
    ) -> None:
        self._record, self._wanted, self._source = record, wanted, source
        self._served, self._servers, self._stopping = served, servers, stopping
        self._restarts, self._memory, self._leaving = restarts, memory, leaving

    def bring(self, version: int) -> None:
        """Make ``version`` ready; or say in host.json why it is refused."""
        if not self._answering():
            self._wanted.wait(version)
            return
        with self._record.lock:
            self._record.state.loading = version
        self._record.save()
        try:
            self._go(version)
        except Interrupted as error:
            self._abandon(version, str(error))
        except SourceError as error:
            if error.retry_after is None:
                self._refuse(version, str(error))
            else:
                with self._record.lock:
                    self._record.state.problems[str(version)] = str(error)
                self._abandon(version, str(error))
                self._wanted.wait(version, error.retry_after)
        except UnreachableError as error:
            self._unanswered(version, f"Triton did not answer while it was loaded, warmed or tried ({error})")
        except (Refused, UnfitError, RefusedError, OSError, ValueError, KeyError) as error:
            self._refuse(version, str(error))
        else:
            state = self._record.state
            with self._record.lock:
                state.ready = sorted({*state.ready, version})
                state.loading = None
                state.problems.pop(str(version), None)
                state.refused_at.pop(str(version), None)
                state.unanswered_at.pop(str(version), None)
            self._memory.note("after")
            self._record.save()

    def _go(self, version: int) -> None:
        """Raises Interrupted, or why it must not serve."""
        began, release = time.monotonic(), self._record.release
        self._source.bring(version)
        document = json.loads((version_folder(release, version) / "release.json").read_bytes())
        self._verify(version)
        self._memory.note("before")
        self._load(version)
        alive = self._servers[0].alive("restyle", -version)
        on_gpu = "cuda" in alive.devices.values() or (not alive.devices and this_device() != CPU)
        for server in self._servers:
            runs = warm(
                server,
                release,
                document,
                on_gpu=on_gpu,
                seconds=RUN_SECONDS,
                stopped=lambda: self._given_up(version),
            )
            self._check_wanted(version)
            made = try_picture(server, release, document, version, RUN_SECONDS)
            self._check_wanted(version)
        score = made.result.get("quality", {}).get("score")
        self._record.report(
            f"{self._record.name_of(version)} is loaded beside {self._record.state.ready}: {runs} runs to warm it, and "
            f"its picture of the packaged room has the score {score}; {time.monotonic() - began:.1f} s in all"
        )

    def _given_up(self, version: int) -> bool:
        return self._stopping.is_set() or version not in self._wanted

    def _check_wanted(self, version: int) -> None:
        if self._given_up(version):
            why = "the agent stops" if self._stopping.is_set() else "it is not wanted any more"
            raise Interrupted(why)

    def _answering(self) -> bool:
        with suppress(ServerError):
            for server in self._servers:
                server.states()
            return True
        return False

    def _verify(self, version: int) -> None:
        """Compare every file with its digest. Raises Refused."""
        problems = verify_version(self._record.release, version, "the agent").problems
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise Refused(f"{problems[0]}{more}: fetch or publish it again")

    def _load(self, version: int) -> None:
        """Load its graphs beside the others, on every server. Raises ServerError, Refused."""
        places = self._served.wanted([version])
        for place in places:
            self._served.add(place)
        for server in self._servers:
            states = server.states()
            for model in sorted({model for model, number in places if not is_ready(states, (model, number))}):
                self._check_wanted(version)
                self._load_model(server, model)
            states = server.states()
            missing = [place for place in sorted(places) if not is_ready(states, place)]
            if missing:
                model, number = missing[0]
                raise Refused(f"{model} {number} is {states.get(missing[0], 'unknown')} after it was loaded")

    def _load_model(self, server: Server, model: str) -> None:
        """Returns when what is new of ``model`` is loaded. Raises ServerError, Refused when its process died."""
        port = int(server.url.rpartition(":")[2])
        alone = Server(server.url)
        # Before the load begins: its process may be dead by the next line.
        before, looks = dead_processes(port), 0
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(alone.load, model, LOAD_SECONDS)
            try:
                while not loading.done():
                    with suppress(TimeoutError):
                        loading.exception(timeout=0.25)
                    looks = looks + 1 if dead_processes(port) > before else 0
                    if looks >= CRASHED_LOOKS:
                        why = f"Triton waits for ever for {model}, whose process died while it loaded"
                        self._restarts.ask(why, stuck=True)
                        raise Refused(f"the process of {model} died while it loaded the graph")
            finally:
                alone.close()
            loading.result()

    def _unanswered(self, version: int, why: str) -> None:
        """Triton went away on the version's way, be it by its fault or not: nobody is there at night to ask again, so
        it gets one more try. What is not ready is left out when Triton starts again, so it ends it twice at most."""
        unanswered_at, revision = self._record.state.unanswered_at, self._wanted.rollout.revision
        if unanswered_at.get(str(version)) == revision:
            self._refuse(version, f"twice {why}")
            return
        with self._record.lock:
            unanswered_at[str(version)] = revision
        self._abandon(version, f"{why}, which is tried once more")

    def _abandon(self, version: int, why: str) -> None:
        with self._record.lock:
            self._record.state.loading = None
        self._wanted.wait(version)
        self._record.say(f"{self._record.name_of(version)} is not made ready now: {why}")
        self._unload()
        self._record.save()

    def _refuse(self, version: int, reason: str) -> None:
        why = " ".join(reason.split())
        why = why if len(why) <= MOST_LETTERS else f"{why[:MOST_LETTERS]} …"
        state = self._record.state
        with self._record.lock:
            state.loading = None
            state.problems[str(version)] = why
            state.refused_at[str(version)] = self._wanted.rollout.revision
        self._record.save()
        live = self._record.live
        goes_on = "it serves on until another is live" if live == version else f"{live or 'nothing'} goes on"
        self._record.report(f"{self._record.name_of(version)} is refused, and {goes_on}: {why}")
        self._unload()

    def _unload(self) -> None:
        """What was loaded in vain. An agent that stops leaves it to the next one, which may go on with it."""
        if not self._stopping.is_set():
            with suppress(ServerError):
                self._leaving.unload()
