"""Starts and ends what a program says about itself, as its settings ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from orchestrator.settings import Settings
from orchestrator.telemetry import sentry, tracing


@contextmanager
def observed(service: str, settings: Settings) -> Iterator[None]:
    """Traces and Sentry for the time of the block, which then waits some seconds until they are sent. Raises
    CannotObserve."""
    if settings.otlp_endpoint is not None:
        tracing.start(service, package_version(), settings.trace_share)
    if settings.sentry_dsn is not None:
        sentry.start(settings.sentry_dsn.get_secret_value(), service, package_version())
    try:
        yield
    finally:
        tracing.stop()
        if settings.sentry_dsn is not None:
            sentry.stop()


def package_version() -> str:
    try:
        return version("reroom-server")
    except PackageNotFoundError:
        return "0.0.0"  # run from a folder that was not installed
