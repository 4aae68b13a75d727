"""How long one photo takes through the whole stack: API, Redis, worker and Triton, as in ``make demo``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from measuring.releases import Release
from orchestrator.domain.styles import STYLES
from reroom import Client
from stack.demo import JOB_SECONDS, read_photo
from stack.stack import Stack


@dataclass(frozen=True)
class Restyled:
    """What a job took, in seconds, and the size of its result: width, height."""

    seconds: float
    size: tuple[int, int]


def measure_seconds(release: Release, repeats: int = 5) -> list[Restyled]:
    """From the upload of the demo's photo, 1024×768, to the result on disk, one job at a time.

    In the service's styles in turn, at the defaults; the first job, which warms caches up, does not count.
    """
    with (
        TemporaryDirectory(prefix="reroom-benchmark-") as folder,
        Stack(Path(folder) / "run", release=release.folder) as stack,
        Client(stack.url) as client,
    ):
        styles = islice(cycle(STYLES), repeats + 1)
        made = [_restyle(client, style, Path(folder) / "result.jpg") for style in styles]
    return made[1:]


def _restyle(client: Client, style: str, out: Path) -> Restyled:
    photo = read_photo(None)
    begun = time.perf_counter()
    job = client.submit(photo, style)
    finished = client.wait(job, timeout=JOB_SECONDS)
    assert finished.result is not None
    client.download(finished.result.transformed_url, out)
    seconds = time.perf_counter() - begun
    with Image.open(out) as picture:
        return Restyled(seconds, picture.size)
