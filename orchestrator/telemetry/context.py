"""Which request and which job the running code works for. asyncio hands it on to the tasks that the code starts."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
"""What is taken from a client: a UUID, a ULID and the ids of common proxies fit. It goes into logs and headers."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")


def chosen_request_id(given: str | None) -> str:
    """The client's or the proxy's id if it is well-formed, else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
