"""Log lines: JSON for machines, or text for people, each with the request, the job and the trace that it belongs to.

A line of JSON has ``time`` (RFC 3339), ``level``, ``logger``, ``message``, ``service`` and ``process``; ``request_id``,
``job_id``, ``trace_id`` and ``exception`` where there is one; and what the code gave as ``extra={"fields": {...}}``.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from orchestrator.telemetry import context, tracing

Form = Literal["auto", "json", "text"]
Level = Literal["debug", "info", "warning", "error"]

QUIET = ("uvicorn.error", "websockets")
"""Loggers that have nothing below INFO to say: the websockets library, also under uvicorn's name, logs every header and
message at DEBUG."""

_SECRETS = (
    # A header that identifies its sender, in a line of its own or in the text of a dictionary.
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|x-api-key|cookie|set-cookie)(['\"]?\s*[:=]\s*)\S[^\r\n]*"
        ),
        r"\1\2…",
    ),
    (re.compile(r"(://)[^/\s@'\"]*@"), r"\1…@"),  # user and password of a URL
    (re.compile(r"(\b\w+://[^\s?'\"<>]*)\?[^\s'\"<>]*"), r"\1?…"),  # the query of a URL
    (re.compile(r"(?i)\b((?:signature|sig|ticket|token|secret|password|x-amz-[a-z-]+)=)[^&\s'\"]+"), r"\1…"),
    (re.compile(r"(?i)\b(Bearer|Basic)\s+[^\s'\",]+"), r"\1 …"),
    (re.compile(r"\brr_[A-Za-z0-9]+_[A-Za-z0-9_-]+"), "rr_…"),  # an API key
)


def without_secrets(text: str) -> str:
    """The text without passwords, tokens and queries. A second line of defence, for messages of libraries: our own
    messages contain none."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class _Formatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def _belongs_to(self) -> dict[str, str]:
        ids = {
            "request_id": context.request_id.get(),
            "job_id": context.job_id.get(),
            "trace_id": tracing.trace_id(),
        }
        return {name: value for name, value in ids.items() if value}

    def _exception(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        parts += [self.formatStack(record.stack_info)] if record.stack_info else []
        return without_secrets("\n".join(parts))


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            "service": self._service,
            "process": record.process,
            **self._belongs_to(),
            **getattr(record, "fields", {}),
        }
        if exception := self._exception(record):
            line["exception"] = exception
        return json.dumps(line, default=str)


class TextFormatter(_Formatter):
    """Time, process, level, logger, message, and the ids in brackets. A line break in a message is escaped, so that
    nobody can write a line of his own."""

    def format(self, record: logging.LogRecord) -> str:
        message = without_secrets(record.getMessage()).replace("\r", "\\r").replace("\n", "\\n")
        ids = " ".join(f"{name.removesuffix('_id')}={value}" for name, value in self._belongs_to().items())
        line = f"{self.formatTime(record)} {record.process} {record.levelname} {record.name} {message}"
        exception = self._exception(record)
        return line + (f" [{ids}]" if ids else "") + (f"\n{exception}" if exception else "")


def configure(service: str, form: Form = "auto", level: Level = "info") -> None:
    """Send the log of this process to stderr. ``auto`` is text on a terminal and JSON elsewhere."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter((JsonFormatter if as_json else TextFormatter)(service))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLogger().getEffectiveLevel()))
