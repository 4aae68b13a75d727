"""The machine that trains or is measured, as far as the system describes it."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path


def cpu_model() -> str:
    """As Linux names it; elsewhere the architecture."""
    facts = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", facts.read_text() if facts.is_file() else "", re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores of this machine that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
