"""Makes what the operator wants live on one host: ``python -m export.releases.agent RELEASE --triton HOST:PORT``.

One runs beside each Triton, or beside several that share the folder RELEASE. It follows rollout.json::

    wanted: the live version, the one before it, and the one on trial
        fetch ─► verify ─► load beside the others ─► warm ─► try with a picture ─► ready
    live:    as soon as the wanted one is ready, ``live`` is written: the next request gets it
    unwanted: no new requests ─► those that run end ─► unload

A version that fails on this way is not switched to: host.json and the log say why, and what was live goes on. All of it
is in files, so a kill at any moment loses nothing: the agent that is started next goes on from there. The way of one
version takes seconds to minutes; meanwhile the document is looked at ten times a second, so a rollback, whose graphs
are loaded still, takes no longer than that.

With ``--source`` RELEASE is this host's own folder, and what shall be live is read elsewhere. Without an agent,
``python -m export release`` writes ``live`` itself, and a restart of Triton loads the graphs.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from export.releases.device import CPU, this_device
from export.releases.durable import write_whole
from export.releases.folder import AGENT_LOCK, live_version, make_live, version_folder
from export.releases.host import Host, host_bytes, read_host, write_host
from export.releases.memory import Growth, Usage, dead_processes, usage_of
from export.releases.places.port import PlaceError
from export.releases.rollout import ROLLOUT, Rollout, RolloutError, encode
from export.releases.served import Place, Served, ServedError
from export.releases.server import (
    CALL_SECONDS,
    SERVING,
    RefusedError,
    Server,
    ServerError,
    UnreachableError,
    is_gone,
    is_ready,
)
from export.releases.sources import FolderSource, Source, SourceError, open_source
from export.releases.trying import UnfitError, try_picture, warm
from export.releases.verifying import verify_version

LOOK_SECONDS = 0.1
"""How often the rollout is looked at."""

INDEX_SECONDS = 1.0
"""How often Triton is asked whether it still serves what is ready."""

TELL_SECONDS = 30.0
"""How often host.json is written without news, so that a silent agent is noticed."""

RETRY_SECONDS = 2.0
"""How long a version waits whose way was barred by something that passes, such as a Triton that restarts."""

LOAD_SECONDS, RUN_SECONDS = 900.0, 600.0
"""How long a model may load, and how long a graph may run, or a picture take."""

CRASHED_LOOKS = 8
"""Of 0.25 s: how long the process of a model that loads may be dead until the load counts as failed. Triton itself
waits for it for ever."""

MOST_LETTERS = 400
"""Of a reason: a library's may be a page."""

LINGER_SECONDS = 5.0
"""How long a version stays loaded at least when nobody may ask for it any more. Whoever checks the server's models does
so by what it heard up to two seconds ago."""

QUIET_SECONDS = 3.0
"""How long nothing may have run before a Triton is restarted."""

PATIENCE_SECONDS, LONE_PATIENCE_SECONDS = 120.0, 900.0
"""How long that is waited for: where another Triton serves meanwhile, and where none does."""

Report = Callable[[str], None]


class Refused(Exception):
    """A version must not serve here; the message is one sentence."""


class Interrupted(Exception):
    """It is not wanted any more."""


class Agent:
    """See the module. ``servers`` share the folder ``release``."""

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
        self.release, self._urls, self._source = release, list(servers), source
        self._watching = [Server(url) for url in servers]
        self._working = [Server(url) for url in servers]
        self._served = Served(release)
        self._report, self._usage = report, usage
        self._state = read_host(release) or Host()
        self._state.name = name or f"{socket.gethostname()}:{self._urls[0].rpartition(':')[2]}"
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="work")
        self._work: Future[None] | None = None
        self._retry_at: dict[int, float] = {}
        self._wanted: list[int] = []
        self._rollout = Rollout()
        self._looked_at = self._told_at = 0.0
        self._restart_since = 0.0
        self._growth = Growth()
        self._stuck = False
        """Whether Triton can load nothing more of some model before it is restarted."""
        self._tidied, self._tidy_at = False, 0.0
        """Whether what an earlier agent left was unloaded, and when that is tried next."""
        self._said = ""
        self._answered = False
        """Whether a Triton has ever answered: at the start of everything it is not there yet."""
        self.stopping = threading.Event()

    def run(self) -> None:
        """Follow the rollout until ``stopping`` is set."""
        try:
            while not self.stopping.wait(LOOK_SECONDS):
                self.step()
        finally:
            self._pool.shutdown(wait=True)
            self._source.forget(self._state.name)
            for server in (*self._watching, *self._working):
                server.close()

    def step(self) -> None:
        """One look."""
        try:
            rollout = self._source.rollout()
        except (OSError, RolloutError) as error:
            self._say(f"what shall be live cannot be read, so nothing is changed: {error}")
            return
        if rollout != self._rollout:
            self._note(rollout)
        self._switch()
        now = time.monotonic()
        if now - self._looked_at >= INDEX_SECONDS:
            self._looked_at = now
            self._look_at_servers()
        if now - self._told_at >= TELL_SECONDS:
            self._save()
        if self._work is not None and self._work.done():
            work, self._work = self._work, None
            work.result()
        if self._work is None and (task := self._next_task()) is not None:
            self._work = self._pool.submit(task)

    # --- what is wanted ---

    def _note(self, rollout: Rollout) -> None:
        self._rollout = rollout
        beside = [rollout.canary.version if rollout.canary else None, rollout.previous]
        wanted = [version for version in (rollout.live, *beside) if version]
        with self._lock:
            self._wanted = [
                version
                for version in dict.fromkeys(wanted)
                if version == rollout.live or version not in rollout.withdrawn
            ]
        self._retry_at = {}
        if isinstance(self._source, FolderSource) and self._source.folder != self.release:
            # For restyle, which refuses what was withdrawn.
            write_whole(self.release / ROLLOUT, encode(rollout))

    def _is_wanted(self, version: int) -> bool:
        with self._lock:
            return version in self._wanted

    def _refused(self, version: int) -> bool:
        """Whether it failed, and nobody has changed the rollout since."""
        return self._state.refused_at.get(str(version)) == self._rollout.revision

    def _switch(self) -> None:
        """Write ``live`` when what shall be live is ready."""
        wanted = self._rollout.live
        with self._lock:
            ready = wanted in self._state.ready
            live, served = live_version(self.release), self._state.live
            early = live not in self._state.ready and served in self._state.ready
        if early and served != live:
            # Somebody wrote it while no agent ran. Triton serves what it served, and loads that again if it restarts.
            make_live(self.release, served)
        if wanted and ready and live_version(self.release) != wanted:
            before = live_version(self.release)
            make_live(self.release, wanted)
            with self._lock:
                self._state.live = wanted
            self._save()
            self._report(f"{self.release.name}-{wanted} is live here, in place of {before or 'nothing'}")

    def _next_task(self) -> Callable[[], None] | None:
        if self._stuck:
            return self._restart
        now = time.monotonic()
        with self._lock:
            ready, wanted = list(self._state.ready), list(self._wanted)
            live = live_version(self.release)
        for version in wanted:
            if (
                version not in ready
                and not self._refused(version)
                and self._retry_at.get(version, 0.0) <= now
            ):
                return lambda: self._bring(version)
        for version in ready if live in ready else ():
            # What is live stays until another one is, even if nobody wants it.
            if version not in wanted and version != live and self._retry_at.get(-version, 0.0) <= now:
                return lambda: self._let_go(version)
        if self._state.restart:
            return self._restart
        return self._tidy if not self._tidied and self._tidy_at <= now else None

    # --- the way of a version ---

    def _bring(self, version: int) -> None:
        name = f"{self.release.name}-{version}"
        began = time.monotonic()
        if not self._answering():
            self._retry_at[version] = began + RETRY_SECONDS
            return
        with self._lock:
            self._state.loading = version
        self._save()
        try:
            self._source.bring(version)
            document = json.loads((version_folder(self.release, version) / "release.json").read_bytes())
            self._verify(version)
            self._note_memory("before")
            self._load(version)
            alive = self._working[0].alive("restyle", -version)
            on_gpu = "cuda" in alive.devices.values() or (not alive.devices and this_device() != CPU)
            for server in self._working:
                runs = warm(
                    server,
                    self.release,
                    document,
                    on_gpu=on_gpu,
                    seconds=RUN_SECONDS,
                    stopped=lambda: self._give_up(version),
                )
                self._check_wanted(version)
                made = try_picture(server, self.release, document, version, RUN_SECONDS)
                self._check_wanted(version)
            score = made.result.get("quality", {}).get("score")
            self._report(
                f"{name} is loaded beside {self._state.ready}: {runs} runs to warm it, and its picture of the packaged "
                f"room has the score {score}; {time.monotonic() - began:.1f} s in all"
            )
        except Interrupted:
            self._abandon(version, name, "it is not wanted any more")
        except SourceError as error:
            if error.passing:
                self._abandon(version, name, str(error))
            else:
                self._refuse(version, str(error), name)
        except UnreachableError as error:
            # What is not ready is left out when Triton starts again, so a version that ends it does so once.
            self._refuse(
                version, f"Triton did not answer while it was loaded, warmed or tried ({error})", name
            )
        except (Refused, UnfitError, RefusedError, OSError, ValueError, KeyError) as error:
            self._refuse(version, str(error), name)
        else:
            with self._lock:
                self._state.ready = sorted({*self._state.ready, version})
                self._state.loading = None
                self._state.problems.pop(str(version), None)
                self._state.refused_at.pop(str(version), None)
            self._note_memory("after")
            self._save()

    def _give_up(self, version: int) -> bool:
        return self.stopping.is_set() or not self._is_wanted(version)

    def _check_wanted(self, version: int) -> None:
        if self._give_up(version):
            raise Interrupted("it is not wanted any more")

    def _verify(self, version: int) -> None:
        """Compare every file with its digest. Raises Refused."""
        problems = verify_version(self.release, version, "the agent").problems
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise Refused(f"{problems[0]}{more}: fetch or publish it again")

    def _load(self, version: int) -> None:
        """Load its graphs beside the others, on every server. Raises ServerError, Refused."""
        self._served_add(version)
        places = self._served.wanted([version])
        for server in self._working:
            states = server.states()
            for model in sorted({model for model, number in places if not is_ready(states, (model, number))}):
                self._check_wanted(version)
                self._load_model(server, model)
            states = server.states()
            missing = [place for place in sorted(places) if not is_ready(states, place)]
            if missing:
                model, number = missing[0]
                raise Refused(f"{model} {number} is {states.get(missing[0], 'unknown')} after it was loaded")

    def _served_add(self, version: int) -> None:
        for place in self._served.wanted([version]):
            self._served.add(place)

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
                        self._stuck = True
                        self._ask_restart(
                            f"Triton waits for ever for {model}, whose process died while it loaded"
                        )
                        raise Refused(f"the process of {model} died while it loaded the graph")
            finally:
                alone.close()
            loading.result()

    def _abandon(self, version: int, name: str, why: str) -> None:
        with self._lock:
            self._state.loading = None
            self._retry_at[version] = time.monotonic() + RETRY_SECONDS
        self._say(f"{name} is not loaded now: {why}")
        with suppress(ServerError):
            self._unload(version)
        self._save()

    def _answering(self) -> bool:
        with suppress(ServerError):
            for server in self._working:
                server.states()
            return True
        return False

    def _refuse(self, version: int, reason: str, name: str) -> None:
        why = " ".join(reason.split())
        why = why if len(why) <= MOST_LETTERS else f"{why[:MOST_LETTERS]} …"
        with self._lock:
            self._state.loading = None
            self._state.problems[str(version)] = why
            self._state.refused_at[str(version)] = self._rollout.revision
        self._save()
        self._report(f"{name} is refused, and {live_version(self.release)} goes on: {why}")
        with suppress(ServerError):
            self._unload(version)

    def _let_go(self, version: int) -> None:
        """No new requests for ``version``; when those that run have ended, unload it."""
        with self._lock:
            self._state.ready = [other for other in self._state.ready if other != version]
            self._state.leaving = version
        self._save()
        began = time.monotonic()
        try:
            while self._running(version) or time.monotonic() < began + LINGER_SECONDS:
                if self._is_wanted(version) or self._has_work() or self.stopping.wait(LOOK_SECONDS):
                    # Everything of it is loaded still, and what is wanted does not wait for requests that hang.
                    self._stay(version)
                    return
            self._unload(version)
        except ServerError as error:
            self._stay(version)
            self._say(f"{self.release.name}-{version} is not unloaded yet: {error}")
            return
        with self._lock:
            self._state.leaving = None
        self._report(
            f"{self.release.name}-{version} is unloaded, {time.monotonic() - began:.1f} s after it got its last request"
        )
        self._note_memory("after")
        self._save()

    def _stay(self, version: int) -> None:
        with self._lock:
            self._state.ready = sorted({*self._state.ready, version})
            self._state.leaving = None
            self._retry_at[-version] = time.monotonic() + RETRY_SECONDS
        self._save()

    def _running(self, version: int) -> int:
        """How many requests use it now. Raises ServerError."""
        return sum(
            server.alive(model).running.get(version, 0) for server in self._working for model in SERVING
        )

    def _tidy(self) -> None:
        """Unload what an agent left loaded that was killed on the way of a version which nobody wants any more."""
        try:
            self._unload()
        except ServerError:
            self._tidy_at = time.monotonic() + RETRY_SECONDS
            return
        self._tidied = True
        with self._lock:
            self._state.loading = self._state.leaving = None
        self._save()

    def _unload(self, version: int = 0) -> None:
        """Unload the graphs that no version but ``version`` needs. Raises ServerError; called again it goes on."""
        with self._lock:
            staying = {*self._state.ready, live_version(self.release)} - {0, version}
        needed = self._graphs_of(staying)
        for place in sorted(self._served.places() - needed):
            self._served.drop(place)
        linked = {model for model, _ in self._served.places()}
        ours = {folder.name for folder in (self.release / "models").glob("*")}
        # A Triton that is stuck answers no load: its restart leaves out what has no link.
        for server in [] if self._stuck else self._working:
            states = server.states()
            loaded = {place for place in states if place[0] in ours and not is_gone(states, place)}
            going = loaded - needed
            for model in sorted({model for model, _ in going}):
                server.load(model, CALL_SECONDS) if model in linked else server.unload(model)
            self._wait_gone(server, going)

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

    def _wait_gone(self, server: Server, places: set[Place]) -> None:
        """Triton lets go of a version about a second after it was told to."""
        until = time.monotonic() + 30.0
        while time.monotonic() < until:
            states = server.states()
            if all(is_gone(states, place) for place in places):
                return
            time.sleep(0.2)

    # --- the servers ---

    def _look_at_servers(self) -> None:
        """Notice a Triton that has restarted without what is ready here."""
        with self._lock:
            ready = list(self._state.ready)
        lost: set[int] = set()
        for server in self._watching:
            try:
                states = server.states()
            except ServerError as error:
                if self._answered:
                    self._say(str(error))
                return
            self._answered = True
            for version in ready:
                with suppress(OSError, ValueError, KeyError):
                    if not all(is_ready(states, place) for place in self._served.wanted([version])):
                        lost.add(version)
        if lost and self._work is None:
            with self._lock:
                self._state.ready = [version for version in ready if version not in lost]
            self._report(f"Triton has lost {sorted(lost)}, which are loaded again")
            self._save()

    def _note_memory(self, when: str) -> None:
        """Measure, and ask for a restart when Triton holds more than it did with the same graphs."""
        found = {url: self._usage(int(url.rpartition(":")[2])) for url in self._urls}
        graphs = sum(
            file.stat().st_size
            for model, number in self._served.places()
            for file in (self.release / "models" / model / str(number)).glob("*")
        )
        total = sum(usage.total for usage in found.values() if usage)
        with self._lock:
            self._state.memory = self._state.memory | {
                when: {
                    url: {"server": usage.server, "models": usage.models, "gpu": usage.gpu}
                    for url, usage in found.items()
                    if usage
                }
            }
        if when == "after" and total and (leak := self._growth.leaked(graphs, total)):
            self._ask_restart(leak)

    def _ask_restart(self, why: str) -> None:
        with self._lock:
            self._state.restart = why
        self._restart_since = time.monotonic()
        alone = "" if len(self._urls) > 1 else " at a quiet moment, since no other serves"
        self._report(f"Triton is to be restarted{alone}: {why}")

    def _restart(self) -> None:
        """Restart the servers one after the other, each when nothing runs, or when that took too long: workers begin
        the jobs again that are cut off."""
        for server in self._working:
            quiet_since = time.monotonic()
            while True:
                try:
                    busy = sum(sum(server.alive(model).running.values()) for model in SERVING)
                except ServerError:
                    break
                now = time.monotonic()
                quiet_since = now if busy else quiet_since
                if now - quiet_since >= QUIET_SECONDS:
                    break
                patience = PATIENCE_SECONDS if len(self._urls) > 1 else LONE_PATIENCE_SECONDS
                if now - self._restart_since > patience:
                    break
                if self.stopping.wait(LOOK_SECONDS) or (self._has_work() and not self._stuck):
                    return
            # The script that watches Triton removes it and ends Triton, whose supervisor starts another.
            (self.release / f"restart-{server.url.rpartition(':')[2]}").touch()
            self._wait_restarted(server)
        with self._lock:
            self._state.restart = ""
        self._growth, self._stuck = Growth(), False
        self._save()

    def _has_work(self) -> bool:
        with self._lock:
            now = time.monotonic()
            return any(
                version not in self._state.ready
                and not self._refused(version)
                and self._retry_at.get(version, 0.0) <= now
                for version in self._wanted
            )

    def _wait_restarted(self, server: Server) -> None:
        gone, until = False, time.monotonic() + LOAD_SECONDS
        while time.monotonic() < until and not self.stopping.wait(LOOK_SECONDS):
            try:
                server.alive("restyle")
            except ServerError:
                gone = True
            else:
                if gone:
                    self._report(f"{server.url} was restarted")
                    return

    # --- what is said ---

    def _save(self) -> None:
        with self._lock:
            if live_version(self.release) in self._state.ready:
                self._state.live = live_version(self.release)
            self._state.at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._told_at = time.monotonic()
            try:
                write_host(self.release, self._state)
            except OSError as error:
                self._say(f"host.json cannot be written: {error}")
            content = host_bytes(self._state)
        self._source.tell(self._state.name, content)

    def _say(self, sentence: str) -> None:
        """Once, not ten times a second."""
        if sentence != self._said:
            self._said = sentence
            self._report(sentence)


@contextmanager
def only_agent(release: Path) -> Iterator[None]:
    """Hold the lock of the folder's agent. Raises BlockingIOError with one sentence."""
    handle = os.open(release / AGENT_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another agent follows {release}: stop it, or give this one a folder of its own with --source"
            ) from error
        yield
    finally:
        os.close(handle)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when it was asked to stop, 1 with one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m export.releases.agent", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("release", type=Path, help="the folder that Triton serves (its REROOM_RELEASE)")
    parser.add_argument(
        "--triton",
        action="append",
        required=True,
        metavar="HOST:PORT",
        help="its gRPC endpoint; may be repeated",
    )
    parser.add_argument(
        "--source",
        help="what to follow, where RELEASE is the host's own: a folder, or s3://bucket/prefix (RELEASE itself)",
    )
    parser.add_argument("--name", default="", help="of this host, for operators")
    given = parser.parse_args(arguments)

    def report(sentence: str) -> None:
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {sentence}", flush=True)

    try:
        source = open_source(given.release, given.source, report)
        with only_agent(given.release):
            agent = Agent(given.release, given.triton, source, name=given.name, report=report)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: agent.stopping.set())
            report(f"follows what shall be live of {given.release.name} for {', '.join(given.triton)}")
            agent.run()
    except (OSError, RolloutError, PlaceError, ServedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
