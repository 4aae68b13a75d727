"""Where perf_analyzer is, and the libraries that it needs."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks import ROOT
from stack.triton import ENVIRONMENT

PERF = ROOT / ".perf"
LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
"""By the name that perf_analyzer looks for: the wheel's file."""


class PerfError(Exception):
    """perf_analyzer is missing or failed; the message gives the remedy."""


def find_perf_analyzer(program: Path | None, folder: Path) -> tuple[Path, dict[str, str]]:
    """The program and the variables that it needs, links to its libraries made in ``folder``. Raises PerfError."""
    if program is not None:
        if (named := shutil.which(program)) is None:
            raise PerfError(f"there is no program {program}")
        return Path(named).absolute(), {}
    program = PERF / "bin" / "perf_analyzer"
    if not program.is_file():
        raise PerfError(f"there is no {program}: run `make .perf`")
    for name, pattern in LIBRARIES.items():
        found = sorted(ENVIRONMENT.glob(f"lib/python3*/site-packages/nvidia_pytriton.libs/{pattern}"))
        if not found:
            raise PerfError(
                f"perf_analyzer needs {name}, which the wheel in {ENVIRONMENT} has: run `make .triton`"
            )
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(found[0].resolve())
    return program, {"LD_LIBRARY_PATH": str(folder)}
