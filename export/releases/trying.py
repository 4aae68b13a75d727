"""Warms a version that is loaded and not live, and looks at a picture that it makes, before anybody gets one.

The picture is of the room that is packaged here, through all of `restyle` on the server that will serve it. It must be
what pictures are: finite, not blank, of the photo's shape, from the version that was asked for, the same when it is
made again. Where the version brings the picture that the exporting machine made, it must
be that one, within what another device rounds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.contract import axis_sizes
from export.releases.folder import graph_places, version_folder
from export.releases.server import Picture, Server, ServerError
from export.releases.specs import release_sizes, release_specs

ROOM = Path(__file__).with_name("room.jpg")
"""The room of stack/room.jpg, smaller."""

PROMPT = "a scandinavian living room, light wood, white walls"
SEED, STEPS = 20, 2
"""Every graph but those of other tiers gets the outputs of another in two steps; each more would take from those who
are served meanwhile."""

RECORDED = "probe.png"
"""A version's file: the picture of the same request, as the exporting machine made it, when it did."""

MOST_DIFFERENCE = {"fp32": 2.0, "fp16": 3.0}
"""By the graphs' precision: mean absolute difference, of 255, of the picture from the recorded one. Of the dollhouse,
weights that are 5 % too large move the picture by 3.9 and shuffled words by 5.0; a retraining that came to the same end
by 0.6. What TensorRT and half precision do to it was not measured on a GPU."""

LEAST_CONTRAST = 4.0
"""Standard deviation, of 255, below which a picture is blank; rooms have 30 to 80."""

SHARE = 0.25
"""The share of the time that warming takes from those who are served meanwhile, at most."""

Stopped = Callable[[], bool]


def packaged_room() -> NDArray[np.uint8]:
    """The photo UINT8 [H,W,3]."""
    with Image.open(ROOM) as opened:
        return np.asarray(opened.convert("RGB"))


class UnfitError(Exception):
    """The version must not serve; the message is one sentence."""


def warm(
    server: Server,
    release: Path,
    document: dict[str, Any],
    *,
    on_gpu: bool,
    seconds: float,
    stopped: Stopped = lambda: False,
) -> int:
    """Run every graph in every shape that it will be asked for first; returns how many runs that were.

    On a GPU that is every bucket × batch × rows of text, and the shapes of single jobs once more, which records them as
    CUDA graphs. On a CPU a shape costs nothing the first time, and every bucket is run once, to see that it can be.
    Raises ServerError, and UnfitError for an answer that is not finite; ends early when ``stopped``.
    """
    places, runs = graph_places(document), 0
    for graph, inputs in _requests(document, on_gpu):
        if stopped():
            break
        began = time.monotonic()
        for name, answer in server.run(places[graph], inputs, seconds).items():
            if not np.isfinite(answer).all():
                shapes = ", ".join(f"{each} {list(array.shape)}" for each, array in inputs.items())
                raise UnfitError(
                    f"{graph} answers {name} with values that are not finite numbers, given {shapes}"
                )
        runs += 1
        time.sleep((time.monotonic() - began) * (1 / SHARE - 1))
    return runs


def _requests(document: dict[str, Any], on_gpu: bool) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    sizes, specs = release_sizes(document), release_specs(document)
    buckets = [(height, width) for height, width in document["buckets"]]
    for graph, spec in specs.items():
        if graph not in document["models"]:
            continue
        batches = range(1, max(1, spec.max_batch_size) + 1) if on_gpu else (1,)
        seen = set()
        for batch in batches:
            for bucket in buckets:
                for rows in (2, 1) if on_gpu else (2,):
                    axes = axis_sizes(spec, sizes, bucket, rows)
                    shape = (batch, *sorted(axes.items()))
                    if shape in seen:
                        continue
                    seen.add(shape)
                    # The second run of a shape is recorded, and the third is the first of the recording's.
                    for _ in range(2 if spec.cuda_graphs and on_gpu and batch == 1 else 1):
                        yield graph, spec.example(batch, axes)


def try_picture(
    server: Server, release: Path, document: dict[str, Any], version: int, seconds: float
) -> Picture:
    """The picture of the packaged room. Raises UnfitError, ServerError."""
    photo = packaged_room()
    inputs = {
        "image": photo,
        "prompt": np.array([PROMPT.encode()], np.object_),
        "seed": np.array([SEED], np.int64),
        "steps": np.array([STEPS], np.int32),
        # Negative: a version that nobody else may name yet.
        "release": np.array([-version], np.int32),
    }
    made = server.restyle(inputs, seconds)
    check_picture(made, photo, document)
    again = server.restyle(inputs, seconds)
    change = float(np.abs(again.exact - made.exact).mean())
    if not change < 1.0:
        raise UnfitError(
            f"the same request gave two pictures, {change:.1f} of 255 apart: its graphs are not repeatable here"
        )
    recorded = version_folder(release, version) / RECORDED
    if recorded.is_file():
        with Image.open(recorded) as opened:
            check_alike(
                made.pixels, np.asarray(opened.convert("RGB")), MOST_DIFFERENCE[document["precision"]]
            )
    return made


def check_picture(made: Picture, photo: NDArray[np.uint8], document: dict[str, Any]) -> None:
    """Raises UnfitError for what is no picture of a room."""
    if made.result.get("release") != document["release"]:
        raise UnfitError(f"{made.result.get('release')} answered in place of {document['release']}")
    if not np.isfinite(made.exact).all():
        raise UnfitError(
            "the picture of the packaged room is not finite: a graph overflows in this precision"
        )
    contrast = float(made.exact.std())
    if contrast < LEAST_CONTRAST:
        raise UnfitError(
            f"the picture of the packaged room is blank: it varies by {contrast:.1f} of 255 only"
        )
    height, width = made.pixels.shape[:2]
    if abs(height * photo.shape[1] / (width * photo.shape[0]) - 1) > 0.05:
        raise UnfitError(f"the picture is {width}×{height} for a photo of {photo.shape[1]}×{photo.shape[0]}")
    quality = made.result.get("quality", {})
    odd = [name for name, value in quality.items() if not 0.0 <= value <= 1.0]
    if odd:
        raise UnfitError(
            f"its measure {odd[0]} is {quality[odd[0]]}, not 0 to 1: {json.dumps(quality)[:200]}"
        )


def check_alike(made: NDArray[np.uint8], recorded: NDArray[np.uint8], most: float) -> None:
    """Raises UnfitError when the pictures are not the same but for rounding."""
    if made.shape != recorded.shape:
        raise UnfitError(f"the picture is {list(made.shape)} and the exported one {list(recorded.shape)}")
    difference = float(np.abs(made.astype(np.float32) - recorded).mean())
    if difference > most:
        raise UnfitError(
            f"the picture of the packaged room is {difference:.1f} of 255 from the one of the exporting machine, and "
            f"{most:g} is the most: the graphs do something else here"
        )


__all__ = ["ServerError", "UnfitError", "try_picture", "warm"]
