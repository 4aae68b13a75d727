"""Finishing: the photo's detail in the result's colours, at any size, and the result's own pixels where they differ."""

from __future__ import annotations

import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from restyle.pictures import recolouring
from restyle.pictures.images import fit_photo, resize, to_bucket
from restyle.pictures.recolouring import FLAT, MOST_GAIN, MOST_PIXELS, finished_size, learn_recolouring
from restyle.request import MAX_ASPECT
from tests.support.pictures import room

Picture = NDArray[Any]

BUCKETS = [(96, 160), (96, 192), (112, 144), (128, 128), (144, 112), (160, 96), (192, 96)]
LARGE, SMALL = (384, 512), (96, 128)
WARM = np.array([[0.7, 0.2, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.5]], np.float32)
"""To each channel of the result, from each of the photo."""


def shrunk(picture: Picture, size: tuple[int, int] = SMALL) -> Picture:
    return resize(picture, size)


def enlarged(picture: Picture, size: tuple[int, int] = LARGE) -> Picture:
    """What a result without finishing looks like at the photo's size."""
    return np.clip(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_CUBIC), 0, 255)


def warmer(photo: Picture) -> Picture:
    """FP32."""
    return photo.astype(np.float32) @ WARM.T + 20


def finished(photo: Picture, result: Picture, detail: float = 1.0) -> Picture:
    return learn_recolouring(shrunk(photo, result.shape[:2]), result, detail).of(photo)


def distance(first: Picture, second: Picture) -> float:
    """Root mean square, of 255."""
    return float(np.sqrt(np.square(first.astype(np.float32) - second).mean()))


def contrast_at_edges(picture: Picture, truth: Picture) -> float:
    """Of the truth's edges, as a share of the truth's."""
    steps = [np.abs(np.diff(each.mean(axis=2), axis=1)) for each in (picture, truth)]
    edges = steps[1] > 30
    return float(steps[0][edges].mean() / steps[1][edges].mean())


def test_the_photo_as_its_own_result_comes_back_at_its_size() -> None:
    photo = room(*LARGE)
    found = finished(photo, shrunk(photo).astype(np.float32))
    assert distance(found, photo) < 2.5  # the photo's noise is 2
    assert distance(found, photo) < 0.4 * distance(enlarged(shrunk(photo).astype(np.float32)), photo)
    assert contrast_at_edges(found, photo.astype(np.float32)) > 0.95


def test_an_affine_change_of_colour_is_done_again() -> None:
    coarse = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)
    photo = cv2.resize(coarse, LARGE[::-1], interpolation=cv2.INTER_NEAREST)
    found = finished(photo, shrunk(warmer(photo)))
    assert distance(found, warmer(photo)) < 0.5
    assert distance(enlarged(shrunk(warmer(photo))), warmer(photo)) > 10


@pytest.mark.parametrize("blur", [0.0, 0.7, 1.4, 2.0])
def test_a_blurred_result_gets_the_photos_edges(blur: float) -> None:
    photo = room(*LARGE)
    truth, result = warmer(photo), shrunk(warmer(photo))
    if blur:
        result = cv2.GaussianBlur(result, (0, 0), blur)
    found = finished(photo, result)
    assert contrast_at_edges(found, truth) > 0.85
    assert contrast_at_edges(enlarged(result), truth) < 0.4
    assert distance(found, truth) < 0.5 * distance(enlarged(result), truth)


def test_where_the_result_shows_something_else_its_own_pixels_win() -> None:
    photo, result = np.full((*LARGE, 3), 200, np.uint8), np.full((*SMALL, 3), 90, np.float32)
    photo[:, 120:200] = 40  # a door
    result[30:60, 80:110] = (180, 60, 30)  # and no door, but a picture on the wall
    found = finished(photo, result)
    assert distance(found, enlarged(result)) < 1
    assert np.abs(found - enlarged(result)).max() < 25
    assert np.abs(found[:, 100:220] - 90).max() < 3, "the door shines through"


def test_a_photo_of_one_colour_gives_the_results_own_pixels() -> None:
    photo, result = np.full((*LARGE, 3), 77, np.uint8), room(*SMALL).astype(np.float32)
    found = finished(photo, result)
    assert distance(found, enlarged(result)) < 2.5  # the result's noise is 2
    assert np.abs(found - enlarged(result)).max() < 10


def test_detail_goes_from_the_results_pixels_to_the_finished_ones() -> None:
    photo = room(*LARGE)
    result = cv2.GaussianBlur(shrunk(warmer(photo)), (0, 0), 1.0)
    none, half, whole = (finished(photo, result, detail) for detail in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(none, enlarged(result), atol=0.01)
    np.testing.assert_allclose(half, (none + whole) / 2, atol=0.01)
    assert distance(none, whole) > 4


def test_grain_is_not_amplified() -> None:
    """A faint photo and a result of strong contrast: the edge may be steep, the noise beside it may not grow."""
    rng = np.random.default_rng(2)
    photo, result = np.full((*LARGE, 3), 128.0), np.full((*SMALL, 3), 20, np.float32)
    photo[:, 256:] += 6
    result[:, 64:] = 230
    grainy = np.clip(photo + rng.normal(0, 4, photo.shape), 0, 255).astype(np.uint8)
    found = finished(grainy, result)
    assert found[:, 280:].mean() - found[:, :230].mean() > 200
    assert found.std(axis=0).max() < 1.1 * MOST_GAIN * 4
    assert found[:, 300:].std() < 4, "far from the edge nothing is taken from the photo"


def test_faint_blotches_of_the_network_go_and_what_it_painted_stays() -> None:
    rng = np.random.default_rng(3)
    blotches = cv2.GaussianBlur(rng.normal(0, 1, (*SMALL, 3)).astype(np.float32), (0, 0), 1.5)
    blotches *= FLAT / blotches.std()
    photo = np.full((*LARGE, 3), 200, np.uint8)
    photo[:, 120:200] = 40
    clean = shrunk(warmer(photo))
    assert distance(finished(photo, clean + blotches), warmer(photo)) < 0.75 * FLAT


@pytest.mark.parametrize("of", ["black", "white", "noise", "checks"])
@pytest.mark.parametrize("into", ["black", "white", "noise", "checks"])
def test_nothing_makes_numbers_that_are_none(of: str, into: str) -> None:
    def picture(name: str) -> Picture:
        checks = (np.indices((40, 56)).sum(axis=0) % 2 * 255).astype(np.uint8)
        grey = {"black": np.zeros_like(checks), "white": np.full_like(checks, 255), "checks": checks}
        noise = np.random.default_rng(4).integers(0, 256, (40, 56, 3), np.uint8)
        return noise if name == "noise" else np.dstack([grey[name]] * 3)

    found = finished(cv2.resize(picture(of), (300, 211)), picture(into).astype(np.float32))
    assert found.shape == (211, 300, 3)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 255  # both are false for NaN


@pytest.mark.parametrize("large", [(1, 1), (1, 90), (90, 1), (33, 90), (90, 33), (5, 6)])
@pytest.mark.parametrize("small", [(1, 1), (2, 9), (9, 2), (16, 16)])
def test_any_size(large: tuple[int, int], small: tuple[int, int]) -> None:
    photo, result = room(*large), room(*small).astype(np.float32)
    found = finished(photo, result)
    assert found.shape == photo.shape
    assert np.isfinite(found).all()


@pytest.mark.parametrize("band", [1, 7, 1000])
def test_bands_are_seamless(monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    photo = room(201, 150)
    learnt = learn_recolouring(shrunk(photo, (67, 50)), room(67, 50, seed=1).astype(np.float32), 1.0)
    whole = learnt.of(photo)
    monkeypatch.setattr(recolouring, "BAND", band)
    np.testing.assert_allclose(learnt.of(photo), whole, atol=0.01)


def test_large_photos_take_little_more_memory_than_their_result() -> None:
    photo = np.zeros((2048, 2048, 3), np.uint8)
    learnt = learn_recolouring(np.zeros((128, 128, 3), np.uint8), np.zeros((128, 128, 3), np.float32), 1.0)
    tracemalloc.start()
    result = learnt.of(photo)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < result.nbytes + 16e6


@pytest.mark.parametrize("shape", [(240, 320), (200, 800), (800, 200), (301, 207)])
def test_padding_around_the_photo_stays_outside(shape: tuple[int, int]) -> None:
    photo = room(*shape)
    fit = fit_photo(*shape, BUCKETS)
    guide = to_bucket(photo, fit)
    learnt = learn_recolouring(guide, warmer(guide), 1.0).inside(fit)
    found = learnt.of(photo)
    assert distance(found, warmer(photo)) < 0.5 * distance(warmer(cv2.blur(photo, (4, 4))), warmer(photo)) + 2


SIDES = st.integers(32, 8192)


@given(SIDES, SIDES)
def test_a_finished_picture_has_the_photos_size_within_limits(height: int, width: int) -> None:
    assume(max(height, width) <= MAX_ASPECT * min(height, width))
    fit = fit_photo(height, width, BUCKETS)
    rows, columns = finished_size((height, width), fit)
    assert rows * columns <= MOST_PIXELS
    if fit.output[0] * fit.output[1] < height * width <= MOST_PIXELS:
        assert (rows, columns) == (height, width)
    assert rows * columns >= min(fit.output[0] * fit.output[1], height * width, MOST_PIXELS - 8192)
    assert abs(columns - rows * width / height) <= 1 + width / height
