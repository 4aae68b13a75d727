"""How far a part of the training is, read from what it writes while it works."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

NOTHING = "has just begun"


def last_line(log: Path) -> str:
    """What a process said last."""
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), NOTHING)


def last_steps(run: Path, minutes: Mapping[str, float]) -> str:
    """Step, minutes and loss of the network that was trained last, of those in folders of ``run``; ``minutes`` are how
    long each is trained."""
    logs = [file for name in minutes if (file := run / name / "log.jsonl").is_file()]
    rooms = run / "prepared" / "note.json"
    newest = max([*logs, rooms] if rooms.is_file() else logs, key=_changed, default=None)
    if newest is None:
        return NOTHING
    if newest == rooms and "diffusion" in minutes:
        note = json.loads(rooms.read_text())
        return f"depth of {note['done']} of {note['shape'][0]} rooms"
    name, record = newest.parent.name, last_record(newest)
    if record is None:
        return f"{name} {NOTHING}"
    step, loss = record["step"], record["loss"]
    return f"{name}, step {step}, {record['minutes']:.1f} of {minutes[name]:.1f} minutes, loss {loss:.4f}"


def last_record(log: Path) -> dict[str, float] | None:
    """The last whole line of a log.jsonl, None before there is one."""
    whole = log.read_text().rpartition("\n")[0]
    found: dict[str, float] | None = json.loads(whole.rpartition("\n")[2]) if whole else None
    return found


def _changed(file: Path) -> float:
    return file.stat().st_mtime
