"""The files of a release folder as the export and the agents write them, and ``rollout.json`` as everybody does."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from orchestrator.domain.releases import FORMAT, ReleaseVersion, Rollout
from orchestrator.ports.errors import AnotherWriter, Unavailable
from orchestrator.ports.rollouts import HostState

ROLLOUT, LOCK, LIVE, VERSIONS, HOSTS = "rollout.json", "rollout.lock", "live", "versions", "hosts"
RELEASE, CHECKED, HOST = "release.json", "checked.json", "host.json"
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""What msgspec raises for bytes that are no such document; the second is no msgspec.DecodeError."""

_log = logging.getLogger(__name__)


class _Release(msgspec.Struct):
    """What is read of a release.json."""

    release: str = ""
    targets: list[str] = []
    budgets: dict[str, dict[str, float]] = {}


def read_document(content: bytes | None, live: bytes | None) -> Rollout:
    """``content`` of rollout.json; None: the document that ``live`` (the file of that name) stands for. Raises
    Unavailable when it cannot be understood: nobody may then act on it, and an operator can restore it."""
    if content is None:
        text = b"" if live is None else live.strip()
        return Rollout(live=int(text) if text.isdigit() else 0)
    try:
        # With the members that this version does not know: next_document keeps them.
        found = msgspec.convert(msgspec.json.decode(content), Rollout)
    except _UNREADABLE as error:
        raise Unavailable(f"{ROLLOUT} cannot be read: {error}") from error
    if found.format > FORMAT:
        raise Unavailable(f"{ROLLOUT} was written by a newer version of reroom, which is needed to read it")
    return found


def next_document(rollout: Rollout, content: bytes | None, live: bytes | None) -> bytes | None:
    """What takes the place of ``content``; None: ``rollout`` is there already. Raises AnotherWriter, Unavailable."""
    found = read_document(content, live)
    if found == rollout:
        return None
    if found.revision != rollout.revision - 1:
        raise AnotherWriter(
            f"somebody else changed the rollout first (version {found.live} is live since {found.changed}, by "
            f"{found.by}), and nothing was done: look at it, and ask again if it is still what you want"
        )
    kept: dict[str, Any] = {} if content is None else msgspec.json.decode(content)
    return msgspec.json.format(msgspec.json.encode(kept | msgspec.to_builtins(rollout)), indent=1) + b"\n"


def version(number: int, release: bytes | None, checked: bool) -> ReleaseVersion | None:
    """A version from its release.json; None, with a line in the log, where that cannot be read."""
    try:
        said = msgspec.json.decode(release or b"", type=_Release)
    except _UNREADABLE as error:
        _log.warning("version %d is left out: its %s cannot be read: %s", number, RELEASE, error)
        return None
    return ReleaseVersion(
        version=number, release=said.release, verified=checked, targets=said.targets, budgets=said.budgets
    )


def host(name: str, content: bytes) -> HostState | None:
    """What a host says of itself; None for what cannot be read."""
    try:
        said = msgspec.json.decode(content)
        known = {member: said[member] for member in HostState.__struct_fields__ if member in said}
        return msgspec.convert(known | {"name": known.get("name") or name}, HostState)
    except (*_UNREADABLE, TypeError) as error:
        _log.warning("what host %s says cannot be read: %s", name, error)
        return None
