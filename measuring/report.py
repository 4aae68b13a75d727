"""What a measurement leaves: a JSON file of results, and where and when it was measured."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measuring.gates import Gate
from measuring.machine import cpu_model, usable_cores


def circumstances() -> dict[str, Any]:
    """The machine, the day, and how busy it was in the last minute (runnable processes)."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def read(file: Path) -> dict[str, Any]:
    """What was written before, or nothing."""
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def write(file: Path, document: dict[str, Any]) -> None:
    """Replace ``file`` at once; numbers with four digits after the point."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(_rounded(document), indent=2, ensure_ascii=False) + "\n")
    part.replace(file)


def reached(gate: Gate, value: float) -> str:
    """The gate, with a mark whether ``value`` passes it, for a rich table."""
    return f"{gate} {'[green]✓[/]' if gate.passes(value, gate.bound) else '[red]✗[/]'}"


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return round(value, 4)
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case list():
            return [_rounded(each) for each in value]
    return value
