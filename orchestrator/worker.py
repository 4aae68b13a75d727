"""The worker process: ``python -m orchestrator.worker``. It runs several jobs at once and drains on SIGTERM.

It exits with 2 and one sentence when its settings are wrong. When a service is down it keeps trying.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import sys
import uuid
from pathlib import Path

from orchestrator.adapters.opening import Adapters, open_adapters
from orchestrator.adapters.redis import AccessDenied
from orchestrator.domain.styles import STYLES
from orchestrator.photos.certificate import CredentialsError
from orchestrator.photos.credentials import open_credentials
from orchestrator.photos.marking import Marker
from orchestrator.ports import Inference, JobStore, Lease, LeaseLost, Unavailable
from orchestrator.programs.arguments import no_arguments
from orchestrator.programs.observing import observed, package_version
from orchestrator.programs.undumpable import make_undumpable
from orchestrator.server.exporting import exporting
from orchestrator.services.releases.following import FollowedRollouts
from orchestrator.services.releases.judges import Judge
from orchestrator.services.releases.shadows import Shadows
from orchestrator.services.releases.trials import Trials
from orchestrator.services.retention import Retention
from orchestrator.services.running.collage_maker import CollageMaker
from orchestrator.services.running.runner import Runner
from orchestrator.settings import Settings, SettingsError, load_settings, variables
from orchestrator.telemetry import CannotObserve, logs
from orchestrator.telemetry.analytics import open_analytics
from orchestrator.telemetry.metrics import REGISTRY

CLAIM_SECONDS = 1.0
"""Seconds that one claim waits for a job. A worker may notice a job that was given back this much later."""

HALT_SECONDS = 30.0
"""Seconds that jobs may take to stop after the drain."""

BEAT_SECONDS = 10.0
"""The greatest age in seconds of a living worker's heartbeat file."""

ERRAND_SECONDS = 2.0
"""Seconds that one look for an errand of the API waits for it."""

CLEAN_SECONDS = 5.0
"""The longest time in seconds between two clean-ups of failed, cancelled and erased jobs."""

RETENTION_SECONDS = 1800.0
"""The longest time in seconds between two searches for old pictures."""

_log = logging.getLogger("reroom.worker")


class Worker:
    """Claims jobs while the model is ready and fewer than ``jobs`` run. Each worker process needs a ``name`` of its
    own.

    ``heartbeat``: a file that is touched at least every BEAT_SECONDS while the event loop runs.
    """

    def __init__(
        self,
        store: JobStore,
        inference: Inference,
        runner: Runner,
        retention: Retention,
        *,
        name: str,
        jobs: int,
        lease_seconds: float,
        drain_seconds: float,
        heartbeat: Path | None = None,
        collages: CollageMaker | None = None,
        shadows: Shadows | None = None,
    ) -> None:
        self._store, self._inference, self._runner = store, inference, runner
        self._retention = retention
        self._name, self._jobs = name, jobs
        self._lease_seconds, self._drain_seconds = lease_seconds, drain_seconds
        self._heartbeat, self._collages, self._shadows = heartbeat, collages, shadows
        self._running: set[asyncio.Task[None]] = set()
        self._halt = asyncio.Event()
        self._outage = ""
        """Why it claims no jobs now; empty when it does."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set and the running jobs have ended or were released."""
        keepers = {
            asyncio.create_task(keep())
            for keep in (self._sweep, self._clean, self._retain, self._make_collages)
        }
        if self._shadows is not None:
            keepers.add(asyncio.create_task(self._shadows.run()))
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                if len(self._running) >= self._jobs:
                    await asyncio.wait({stopping, *self._running}, return_when=asyncio.FIRST_COMPLETED)
                elif lease := await self._claim(stopping):
                    self._start(lease)
            # Only after the last claim has ended; otherwise this worker could claim again what it releases.
            await self._drain()
        finally:
            tasks = {*keepers, stopping, *self._running}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=HALT_SECONDS)

    async def _claim(self, stopping: asyncio.Task[bool]) -> Lease | None:
        try:
            # No claim while the model is away: its absence would use up the attempts of one job after the other.
            await self._inference.ping()
            lease = await self._store.claim(self._name, CLAIM_SECONDS, self._runner.kind)
            self._note_outage("")
        except Unavailable as error:
            self._note_outage(str(error))
            await asyncio.wait([stopping], timeout=CLAIM_SECONDS)
            return None
        except Exception:
            # The running jobs must not end because of one that cannot be claimed.
            _log.exception("claiming a job failed; trying again")
            await asyncio.wait([stopping], timeout=CLAIM_SECONDS)
            return None
        if lease and stopping.done():
            await self._release(lease)
            return None
        return lease

    async def _release(self, lease: Lease) -> None:
        try:
            await self._store.release(lease)
        except (Unavailable, LeaseLost) as error:
            _log.warning("job %s: not released, so its lease will run out: %s", lease.job.id, error)

    def _note_outage(self, reason: str) -> None:
        """Log when an outage begins or ends. ``reason`` is empty without one."""
        if reason and not self._outage:
            _log.warning("takes no jobs: %s", reason)
        elif self._outage and not reason:
            _log.info("takes jobs again")
        self._outage = reason

    def _start(self, lease: Lease) -> None:
        _log.info("job %s, attempt %d: begins", lease.job.id, lease.attempt)
        task = asyncio.create_task(self._runner.run(lease, self._halt), name=f"job-{lease.job.id}")
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("%s raised an error; its lease will run out", task.get_name(), exc_info=error)

    async def _drain(self) -> None:
        if self._running:
            _log.info("drains %d jobs for up to %.0f s", len(self._running), self._drain_seconds)
            await asyncio.wait(self._running, timeout=self._drain_seconds)
        self._halt.set()
        if self._running:
            await asyncio.wait(self._running, timeout=HALT_SECONDS)

    async def _make_collages(self) -> None:
        """Beside the jobs, since a request waits for each."""
        while self._collages:
            try:
                await self._collages.run_one(ERRAND_SECONDS)
            except Unavailable:
                # The claim loop has the same outage and logs it.
                await asyncio.sleep(CLAIM_SECONDS)
            except Exception:
                _log.exception("a picture of pictures failed; going on")
                await asyncio.sleep(CLAIM_SECONDS)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(self._lease_seconds / 4, BEAT_SECONDS))
            self._beat()
            try:
                await self._store.sweep(self._name)
            except Unavailable:
                # The claim loop has the same outage and logs it.
                continue
            except Exception:
                _log.exception("housekeeping failed; trying again")

    def _beat(self) -> None:
        if self._heartbeat:
            try:
                self._heartbeat.touch()
            except OSError as error:
                _log.warning("no heartbeat: %s", error)

    async def _clean(self) -> None:
        while True:
            await asyncio.sleep(CLEAN_SECONDS * random.uniform(0.5, 1.0))
            try:
                await self._retention.clean()
            except Unavailable as error:
                _log.warning("photos of ended jobs were not deleted; trying again: %s", error)
            except Exception:
                _log.exception("deleting photos of ended jobs failed; trying again")

    async def _retain(self) -> None:
        while True:
            # At a random time, so that workers which were started together do not all search at once.
            await asyncio.sleep(min(RETENTION_SECONDS, self._retention.shortest) * random.uniform(0.5, 1.0))
            try:
                if count := await self._retention.sweep():
                    _log.info("deleted %d old objects", count)
            except Unavailable as error:
                _log.warning("old objects were not deleted; trying again later: %s", error)
            except Exception:
                _log.exception("deleting old objects failed; trying again later")


async def serve(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises SettingsError."""
    marker = open_marker(settings)
    async with open_analytics(settings.analytics) as analytics, open_adapters(settings) as adapters:
        store, name = adapters.store, process_name()
        trials, shadows = open_trials(adapters, name)
        runner = Runner(
            store,
            adapters.storage,
            adapters.inference,
            STYLES,
            lease_seconds=settings.lease_seconds,
            retry_delay=settings.retry_delay,
            analytics=analytics,
            marker=marker,
            trials=trials,
        )
        worker = Worker(
            store,
            adapters.inference,
            runner,
            Retention(
                store,
                adapters.storage,
                upload_ttl=settings.upload_ttl,
                times=settings.times,
            ),
            name=name,
            jobs=settings.worker_jobs,
            lease_seconds=settings.lease_seconds,
            drain_seconds=settings.drain_seconds,
            heartbeat=settings.heartbeat_file,
            collages=CollageMaker(store, adapters.storage, adapters.errands, marker),
            shadows=shadows,
        )
        await _check_access(store)
        await worker.run(stop_on_signals())


def open_trials(adapters: Adapters, name: str) -> tuple[Trials, Shadows | None]:
    """What chooses and compares releases, where this service knows of them. ``name`` is the worker's."""
    rollouts = adapters.rollouts
    if rollouts is None:
        return Trials(), None
    following = FollowedRollouts(rollouts)
    judge = Judge(rollouts, following, adapters.canaries)
    shadows = Shadows(
        adapters.store,
        adapters.storage,
        adapters.inference,
        rollouts,
        following,
        adapters.canaries,
        judge,
        name=name,
    )
    return Trials(following, judge, shadows), shadows


def open_marker(settings: Settings) -> Marker:
    """What marks pictures, with the operator's certificate if there is one. Raises SettingsError."""
    credentials = None
    if settings.c2pa_chain is not None and settings.c2pa_key is not None:
        try:
            credentials = open_credentials(settings.c2pa_chain, settings.c2pa_key, settings.c2pa_tsa)
        except CredentialsError as error:
            raise SettingsError(str(error)) from None
    return Marker(credentials, version=package_version(), provider=settings.provider)


async def _check_access(store: JobStore) -> None:
    try:
        await store.ping()
    except AccessDenied as error:
        raise SettingsError(f"REDIS_URL: {error}") from error
    except Unavailable as error:
        _log.warning("%s; trying again", error)


def process_name() -> str:
    """A name that no other worker process has, not even a later one."""
    return f"{socket.gethostname().replace(' ', '-')}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def main() -> int:
    no_arguments("orchestrator.worker", __doc__ or "", variables())
    make_undumpable()
    try:
        settings = load_settings()
        logs.configure("worker", settings.log_format, settings.log_level)
        for warning in settings.warnings:
            _log.warning(warning)
        with (
            exporting(settings.metrics_host, settings.metrics_port, REGISTRY),
            observed("worker", settings),
        ):
            asyncio.run(serve(settings))
    except (SettingsError, CannotObserve) as error:
        print(f"reroom worker: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
