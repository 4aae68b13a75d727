"""How long one photo takes through the whole stack: API, Redis, worker and Triton, as in ``make demo``."""

from __future__ import annotations

import time
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.releases import Release
from orchestrator.embedded.demo import JOB_SECONDS, read_photo
from orchestrator.embedded.stack import Stack
from orchestrator.styles import STYLES
from reroom import Client


def measure_seconds(release: Release, repeats: int = 5) -> list[float]:
    """Seconds from the upload of the demo's photo, 1024×768, to the result on disk, one job at a time.

    In the service's styles in turn, default steps; the first job, which warms caches up, does not count.
    """
    with (
        TemporaryDirectory(prefix="reroom-benchmark-") as folder,
        Stack(Path(folder) / "run", release=release.folder) as stack,
        Client(stack.url) as client,
    ):
        styles = islice(cycle(STYLES), repeats + 1)
        seconds = [_restyle(client, style, Path(folder) / "result.jpg") for style in styles]
    return seconds[1:]


def _restyle(client: Client, style: str, out: Path) -> float:
    photo = read_photo(None)
    begun = time.perf_counter()
    job = client.submit(photo, style)
    finished = client.wait(job, timeout=JOB_SECONDS)
    assert finished.result is not None
    client.download(finished.result.transformed_url, out)
    return time.perf_counter() - begun
