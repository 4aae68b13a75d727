"""Asks `restyle` itself whether it can run a release, before the release is published.

The rehearsal is a program of the model repository (``restyle/1/rehearsal.py``). The exporter passes it a folder and
reads its exit status and one sentence; neither imports the other.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
PROGRAM = Path("restyle", "1", "rehearsal.py")


class RehearsalError(Exception):
    """`restyle` cannot run the release; the message gives the reason."""


def rehearse(
    release: Path,
    *,
    settings_only: bool = False,
    paint: tuple[Path, Path] | None = None,
    repository: Path = REPOSITORY,
) -> None:
    """Check the settings of ``release`` and paint a picture with its graphs, unless ``settings_only``; with ``paint``
    also the cases in its first file, into its second (the program's own docstring says what they hold).

    Raises RehearsalError, OSError when ``repository`` has no `restyle`.
    """
    program = repository / PROGRAM
    if not program.is_file():
        raise FileNotFoundError(
            f"there is no {program}: export from a checkout that has the model repository"
        )
    command = [sys.executable, str(program), str(release), *(["--settings"] if settings_only else [])]
    command += ["--paint", *map(str, paint)] if paint else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise RehearsalError(f"restyle cannot run it: {lines[-1]}")
