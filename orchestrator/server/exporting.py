"""``/metrics`` for Prometheus, on a port of its own: what this process, or its children, counted, and for the API what
the job store and the disk say when Prometheus asks."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from orchestrator.domain.plans import month_of
from orchestrator.ports import JobCount, JobStore, QueueStats, Unavailable, Usage
from orchestrator.telemetry import CannotObserve, metrics
from orchestrator.telemetry.metrics import Stored

ANSWER_SECONDS = 3.0
"""Seconds that a scrape waits for the store; Prometheus gives up after 10 by default."""

OpenStore = Callable[[], AbstractAsyncContextManager[JobStore]]
OpenUsage = Callable[[], AbstractAsyncContextManager[Usage]]
log = logging.getLogger("reroom.metrics")


class StoreCollector:
    """Counts over all jobs, read at each scrape over a connection of its own, since scrapes run in a thread."""

    def __init__(self, open_store: OpenStore) -> None:
        self._open_store = open_store

    def collect(self) -> Iterable[Metric]:
        try:
            stats, counts = asyncio.run(self._read())
        except (Unavailable, TimeoutError) as error:
            log.warning("the job store did not answer a scrape: %s", error or "too slow")
            yield _family(metrics.STORE_UP, 0)
            return
        yield _family(metrics.STORE_UP, 1)
        for stored, value in (
            (metrics.QUEUE_WAITING, stats.waiting),
            (metrics.QUEUE_RUNNING, stats.running),
            (metrics.QUEUE_OLDEST, stats.oldest_wait),
            (metrics.DEAD_LETTERS, stats.dead_letters),
            (metrics.WORKERS, stats.workers),
        ):
            yield _family(stored, value)
        submitted, ended = _family(metrics.SUBMITTED), _family(metrics.ENDED)
        for each in counts:
            if each.outcome is None:
                submitted.add_metric((each.style, each.tier), each.jobs)
            else:
                ended.add_metric((each.outcome, each.style, each.tier), each.jobs)
        yield from (submitted, ended)

    async def _read(self) -> tuple[QueueStats, list[JobCount]]:
        async with asyncio.timeout(ANSWER_SECONDS), self._open_store() as store:
            return await store.stats(), await store.counts()


class BudgetCollector:
    """The share of a budget of ``micros`` a month that is used, read like the job store's counts."""

    def __init__(self, open_usage: OpenUsage, micros: int) -> None:
        self._open_usage, self._micros = open_usage, micros

    def collect(self) -> Iterable[Metric]:
        try:
            spent = asyncio.run(self._read())
        except (Unavailable, TimeoutError) as error:
            log.warning("the budget was not read for a scrape: %s", error or "too slow")
            return
        yield _family(metrics.BUDGET_USED, spent / self._micros)

    async def _read(self) -> int:
        async with asyncio.timeout(ANSWER_SECONDS), self._open_usage() as usage:
            return await usage.spent(month_of(time.time()))


class DiskCollector:
    """Room on the disk of pictures."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        try:
            usage = shutil.disk_usage(self._folder)
        except OSError as error:
            log.warning("%s: %s", self._folder, error)
            return
        yield _family(metrics.STORAGE_FREE, usage.free)
        yield _family(metrics.STORAGE_SIZE, usage.total)


def _family(stored: Stored, value: float | None = None) -> GaugeMetricFamily | CounterMetricFamily:
    make = GaugeMetricFamily if stored.kind == "gauge" else CounterMetricFamily
    family = make(stored.name, stored.help, labels=stored.labels)
    if value is not None:
        family.add_metric((), value)
    return family


@contextmanager
def exporting(host: str, port: int | None, *collectors: object) -> Iterator[None]:
    """Serve what the collectors say for the time of the block, in a thread; nothing without a port. Raises
    CannotObserve when the port is taken."""
    if port is None:
        yield
        return
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)  # type: ignore[arg-type]  # each has the one method that is called
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise CannotObserve(
            f"cannot serve metrics on {host} port {port} (REROOM_METRICS_PORT): {error.strerror}"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
