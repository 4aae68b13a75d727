"""What this machine runs networks on, for releases that were made for some hardware only."""

from __future__ import annotations

import subprocess
from collections.abc import Collection

CPU = "cpu"
GPU = "gpu"
"""Any GPU; a release may also name one, such as Tesla T4."""


def this_device() -> str:
    """The name of this machine's first NVIDIA GPU, or CPU."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return CPU
    names = done.stdout.strip().splitlines()
    return names[0].strip() if done.returncode == 0 and names else CPU


def fits(targets: Collection[str], device: str) -> bool:
    """Whether a release that was made for ``targets`` may serve on ``device``; one made for () may everywhere."""
    return not targets or device in targets or (device != CPU and GPU in targets)
