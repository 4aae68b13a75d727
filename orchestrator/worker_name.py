"""What a worker process is called in Redis."""

from __future__ import annotations

import os
import socket
import uuid


def name_prefix() -> str:
    """What the names of this host's workers begin with."""
    return socket.gethostname().replace(" ", "-") + "-"


def process_name() -> str:
    """A name that no other start of a worker has."""
    return f"{name_prefix()}{os.getpid()}-{uuid.uuid4().hex[:8]}"
