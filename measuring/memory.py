"""The processes of a server, and how much memory they take, as /proc has it (Linux)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """The memory of Triton's processes, in units of 10⁶ bytes."""

    peak_mb: float
    """The sum of what each process held at its own peak (VmHWM). Pages that they share count in each, so this is more
    than they took at any time."""
    shared_once_mb: float
    """What they hold now, every shared page counted once (PSS)."""
    processes: int


def memory_of(pid: int) -> Memory:
    """The memory of a process and its descendants, as /proc has it (Linux)."""
    pids = descendants(pid)
    peaks = [_kilobytes(f"/proc/{each}/status", "VmHWM") for each in pids]
    shares = [_kilobytes(f"/proc/{each}/smaps_rollup", "Pss") for each in pids]
    return Memory(sum(peaks) * 1024 / 1e6, sum(shares) * 1024 / 1e6, len(pids))


def peak_mb(pids: Iterable[int]) -> float:
    """The sum of what each process held at its own peak (VmHWM), in units of 10⁶ bytes; without those that ended."""
    found = 0
    for pid in pids:
        with suppress(OSError):
            held = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
            found += int(held[1]) * 1024 if held else 0
    return found / 1e6


def descendants(pid: int) -> list[int]:
    """``pid`` and every process that it or one of its children started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, which may hold anything, stands in brackets.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def stubs_of(pid: int) -> dict[str, int]:
    """The process ids of the Python models of a Triton that ``pid`` is, or has started, by the models' names."""
    found = {}
    for each in descendants(pid):
        try:
            words = Path(f"/proc/{each}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue  # it has ended meanwhile
        if words[0].endswith("triton_python_backend_stub"):
            # …/restyle/1/model.py
            found[Path(words[1]).parent.parent.name] = each
    return found


def _kilobytes(file: str, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(file).read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
