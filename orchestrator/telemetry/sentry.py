"""Sends unexpected errors to Sentry, or to another server of its protocol, when SENTRY_DSN is set.

An event has the error's types and stack, the log message, and the ids of request, job and trace. It has no request, no
local variables, no earlier log lines and no user. Sentry's own integration with Litestar is not used: it reads the
whole body before the handler, and attaches it to the event even where personal data are not to be sent.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from orchestrator.telemetry import CannotObserve, context, tracing
from orchestrator.telemetry.logs import without_secrets

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_FLUSH_SECONDS = 2.0
_DROPPED = ("request", "user", "breadcrumbs", "extra", "modules", "server_name")


def start(dsn: str, service: str, version: str) -> None:
    """Send what is logged as an error from now on. Raises CannotObserve for a wrong DSN or without the extra
    ``sentry``."""
    try:
        import sentry_sdk
        from sentry_sdk.integrations.logging import LoggingIntegration
        from sentry_sdk.utils import BadDsn
    except ImportError as error:
        raise CannotObserve(
            f"SENTRY_DSN is set, and {error.name} is not installed: run `make setup`, or pip install '.[sentry]', or "
            "unset it"
        ) from error
    try:
        sentry_sdk.init(
            dsn,
            release=f"reroom-server@{version}",
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[LoggingIntegration(level=None, event_level=logging.ERROR)],
            # What replaces send_default_pii; a member that is left out would be collected.
            data_collection={
                "user_info": False,
                "http_bodies": [],
                "database_query_data": False,
                "queues": False,
                "stack_frame_variables": False,
            },
            max_breadcrumbs=0,
            auto_session_tracking=False,
            before_send=_clean,
        )
    except BadDsn as error:
        raise CannotObserve(
            f"SENTRY_DSN is not a DSN such as https://key@sentry.example.org/1: {error}"
        ) from error
    sentry_sdk.set_tag("service", service)


def stop() -> None:
    """Send what waits, for at most two seconds."""
    try:
        import sentry_sdk
    except ImportError:
        return
    sentry_sdk.get_client().close(_FLUSH_SECONDS)


def _clean(event: Event, hint: Hint) -> Event:
    """The event without what may be private, and with the ids."""
    del hint
    fields: dict[str, Any] = event  # type: ignore[assignment]
    for name in _DROPPED:
        fields.pop(name, None)
    for error in fields.get("exception", {}).get("values", ()):
        error["value"] = without_secrets(str(error.get("value", "")))
        for frame in error.get("stacktrace", {}).get("frames", ()):
            frame.pop("vars", None)
    if entry := fields.get("logentry"):
        # The parameters are in the message already.
        fields["logentry"] = {
            "message": without_secrets(str(entry.get("formatted") or entry.get("message", "")))
        }
    ids = {
        "request_id": context.request_id.get(),
        "job_id": context.job_id.get(),
        "trace_id": tracing.trace_id(),
    }
    fields["tags"] = {
        **dict(fields.get("tags") or {}),
        **{name: value for name, value in ids.items() if value},
    }
    return event
