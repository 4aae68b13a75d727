"""What one host serves: the release folder beside its Triton, and ``host.json``, by which it says how far it is.

    host.json    {live, ready: [n], loading, leaving: n | null, problems: {n: sentence}, memory, …}
    served/      a model repository of links: the graphs of the versions that are loaded, and no others. All of it is
                 loaded when Triton starts; while it runs, the agent adds and removes links, and tells Triton

Only :mod:`export.releases.agent` writes host.json while it runs, and :mod:`export.releases.served` before Triton starts
when it does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from export.releases.durable import write_whole

HOST = "host.json"

SERVED = "served"


@dataclass
class Host:
    """The document."""

    name: str = ""
    live: int = 0
    """0 = none."""
    ready: list[int] = field(default_factory=list)
    """Versions that a request may name here: loaded, warmed, tried."""
    loading: int | None = None
    """The version that is on its way to that."""
    leaving: int | None = None
    """The version that is on its way out: it gets no new requests, and is unloaded when those that run have ended."""
    problems: dict[str, str] = field(default_factory=dict)
    """By version, why it is not served here: one sentence."""
    refused_at: dict[str, int] = field(default_factory=dict)
    """By version of ``problems``, the revision of the rollout when it was refused: it is tried again after another."""
    unanswered_at: dict[str, int] = field(default_factory=dict)
    """By version, the revision at which Triton went away while it was brought: it is tried once more."""
    memory: dict[str, Any] = field(default_factory=dict)
    """Megabytes of Triton with the processes of its models: see :mod:`export.releases.memory`."""
    restart: str = ""
    """Why a Triton of this host is to be restarted; empty when it is not."""
    at: str = ""
    """When this was written: ISO 8601, UTC."""


def read_host(release: Path) -> Host | None:
    """The document of the folder ``release``; None = there is none that can be read."""
    try:
        found: Mapping[str, Any] = json.loads((release / HOST).read_bytes())
        return Host(**{name: found[name] for name in Host.__dataclass_fields__ if name in found})
    except (OSError, ValueError, TypeError):
        return None


def versions_held(document: bytes | None) -> set[int]:
    """The versions that a host holds by its document: none may be removed. One that cannot be read names none."""
    try:
        said: Mapping[str, Any] = json.loads(document or b"")
        held = [said.get("live"), said.get("loading"), said.get("leaving"), *said.get("ready", ())]
    except (ValueError, AttributeError, TypeError):
        return set()
    return {version for version in held if isinstance(version, int)}


def host_bytes(host: Host) -> bytes:
    """The document's bytes."""
    return json.dumps(asdict(host), indent=1).encode() + b"\n"


def write_host(release: Path, host: Host) -> None:
    """Replace the document of the folder ``release`` at once. Raises OSError."""
    write_whole(release / HOST, host_bytes(host))
