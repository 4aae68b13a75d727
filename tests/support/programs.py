"""Programs that a test runs to their end."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any


def ran(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Exit status and output as text; ``options`` as of subprocess.run. A program may take a minute by default."""
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 60, **options})
