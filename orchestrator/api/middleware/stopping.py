"""Lets requests that take long on purpose, such as those that wait for a job, end soon when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from litestar.types import HTTPScope

_STOPPING = "stopping"


def stopping(scope: Mapping[str, Any] | HTTPScope) -> asyncio.Event:
    """The event that is set when the server of this request stops. Who does not ask for it is left alone, until the
    drain is over."""
    event: asyncio.Event = scope["state"].setdefault(_STOPPING, asyncio.Event())
    return event


def tell_stopping(scope: Mapping[str, Any] | HTTPScope) -> None:
    """The server stops: called for each request that has no whole answer yet."""
    event = scope.get("state", {}).get(_STOPPING)
    if event is not None:
        event.set()
