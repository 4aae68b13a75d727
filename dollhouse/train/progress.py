"""Progress of a part of the training, read from its logs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

JUST_BEGUN = "has just begun"


def last_line(log: Path) -> str:
    """The last line that a process wrote to its log."""
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), JUST_BEGUN)


def last_steps(run: Path, minutes: Mapping[str, float]) -> str:
    """Step, minutes and loss of the network that was trained last. ``minutes``: by the network's folder in ``run``, how
    long it is trained in all."""
    logs = [file for name in minutes if (file := run / name / "log.jsonl").is_file()]
    rooms = run / "prepared" / "note.json"
    newest = max([*logs, rooms] if rooms.is_file() else logs, key=_changed, default=None)
    if newest is None:
        return JUST_BEGUN
    if newest == rooms and "diffusion" in minutes:
        note = json.loads(rooms.read_text())
        return f"depth of {note['done']} of {note['shape'][0]} rooms"
    name, record = newest.parent.name, last_record(newest)
    if record is None:
        return f"{name} {JUST_BEGUN}"
    step, loss = record["step"], record["loss"]
    return f"{name}, step {step}, {record['minutes']:.1f} of {minutes[name]:.1f} minutes, loss {loss:.4f}"


def last_record(log: Path) -> dict[str, float] | None:
    """The last whole line of a log.jsonl, None before there is one."""
    whole = log.read_text().rpartition("\n")[0]
    found: dict[str, float] | None = json.loads(whole.rpartition("\n")[2]) if whole else None
    return found


def _changed(file: Path) -> float:
    return file.stat().st_mtime
