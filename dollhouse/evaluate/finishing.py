"""What finishing gains over plain enlarging, against the true render, and how long it takes.

    python -m dollhouse.evaluate.finishing
    python -m dollhouse.evaluate.finishing --rooms 4

A perfect network stands in for a real one: the true render in another style, a quarter of the photo's sides and a
little blurred, is the result, and the photo is the render of the same room in its own style. Rooms are held-out ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dollhouse.evaluate.held_out import MEASURED, HeldOutRoom, held_out_rooms
from dollhouse.evaluate.likeness import gradient_share
from dollhouse.metrics import psnr
from dollhouse.render.rooms import NO_WISH, STYLES
from measuring.sample import sample_photo
from restyle.pictures.images import resize
from restyle.pictures.recolouring import learn_recolouring

PHOTO_SIDE, NETWORK_SIDE = 512, 128
BLUR = 0.7
"""σ of the blur of a result, in its own pixels."""
ROOMS = 12
"""Rooms, each in five pairs of styles."""

TIMED = 1024, 256
"""Sides of the photo and of the result whose finishing is timed."""
TIMES = 7
EDGES = (100, 200)
"""Canny's thresholds for the edges at which sharpness is measured; they need not equal those of the model ``edges``."""

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """A photo UINT8 [H,W,3], the result FP32 [h,w,3] of a network, and what it should look like, FP32 [H,W,3]."""

    photo: NDArray[np.uint8]
    result: Pixels
    truth: Pixels


def finishing_figures(seeds: Iterable[int] = MEASURED[:ROOMS]) -> dict[str, float]:
    """``finish_gain_db`` (PSNR) and ``finish_gain_sharp``: finishing minus bicubic enlarging; ``finish_db`` and
    ``finish_sharp``: finishing alone; ``finish_pairs``; ``finish_ms_per_mp``."""
    rows = []
    for pair in _pairs(held_out_rooms(seeds, PHOTO_SIDE)):
        plain = resize(pair.result, (PHOTO_SIDE, PHOTO_SIDE))
        made = finish(pair.photo, pair.result)
        pictures = [np.clip(each, 0, 255) for each in (plain, made)]
        rows.append([f(each, pair.truth) for f in (psnr, sharpness) for each in pictures])
    plain_db, finish_db, plain_sharp, finish_sharp = np.mean(rows, axis=0).tolist()
    return {
        "finish_gain_db": finish_db - plain_db,
        "finish_gain_sharp": finish_sharp - plain_sharp,
        "finish_db": finish_db,
        "finish_sharp": finish_sharp,
        "finish_pairs": len(rows),
        "finish_ms_per_mp": milliseconds_per_megapixel(),
    }


def finish(photo: NDArray[np.uint8], result: Pixels) -> Pixels:
    """Finishing as `restyle` does it at ``detail`` 1."""
    return learn_recolouring(resize(photo, result.shape[:2]), result, 1.0).of(photo)


def _pairs(rooms: Iterable[HeldOutRoom]) -> Iterator[Pair]:
    """Every room in each style as the photo, and another style as the result: all 20 pairs of styles in four rooms."""
    for index, room in enumerate(rooms):
        renders = room.restyled([(style, NO_WISH) for style in STYLES])
        for number, photo in enumerate(renders):
            other = (number + 1 + index % (len(STYLES) - 1)) % len(STYLES)
            truth = renders[other].astype(np.float32)
            small = cv2.resize(truth, (NETWORK_SIDE, NETWORK_SIDE), interpolation=cv2.INTER_AREA)
            yield Pair(photo, cv2.GaussianBlur(small, (0, 0), BLUR).astype(np.float32), truth)


def sharpness(picture: Pixels, truth: Pixels) -> float:
    """Mean gradient at the truth's edges, as a share of the truth's own."""
    edges = cv2.Canny(truth.astype(np.uint8), *EDGES) > 0
    return gradient_share(picture, truth, edges)


def milliseconds_per_megapixel() -> float:
    """Processor time of one core for a photo of 0.79 megapixels and a result of 256 pixels."""
    side, network = TIMED
    photo = sample_photo(side)[: side * 3 // 4]
    result = resize(255 - photo, (network * 3 // 4, network))
    blurred = cv2.GaussianBlur(result, (0, 0), 1.0).astype(np.float32)
    took: list[float] = []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for _ in range(TIMES):
            begun = time.process_time()
            finish(photo, blurred)
            took.append(time.process_time() - begun)
    finally:
        cv2.setNumThreads(threads)
    return statistics.median(took) * 1e3 / (photo[..., 0].size / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.evaluate.finishing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rooms", type=int, default=ROOMS, help=f"held-out rooms, five pairs each ({ROOMS})")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, value in finishing_figures(MEASURED[: given.rooms]).items():
        print(f"{name:<18} {value:.3f}")


if __name__ == "__main__":
    main()
