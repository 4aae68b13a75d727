"""Geometry of `restyle`: what comes back lies where it lay in the photo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from restyle.pictures.images import (
    MAX_STRETCH,
    edges_from_bucket,
    fit_photo,
    from_bucket,
    latent_mask,
    linear_pixels,
    paste_kept,
    preview_jpeg,
    resize,
    to_bucket,
    to_bytes,
    to_pixels,
    to_signal,
)
from restyle.request import MAX_ASPECT
from tests.support.pictures import room

BUCKETS = [(96, 160), (96, 192), (112, 144), (128, 128), (144, 112), (160, 96), (192, 96)]
SIDES = st.integers(32, 4000)


@given(SIDES, SIDES)
def test_every_photo_fits_a_bucket(height: int, width: int) -> None:
    assume(max(height, width) <= MAX_ASPECT * min(height, width))
    fit = fit_photo(height, width, BUCKETS)
    assert fit.bucket in BUCKETS
    assert fit.inner[0] <= fit.bucket[0]
    assert fit.inner[1] <= fit.bucket[1]
    bend = (fit.inner[1] / fit.inner[0]) / (width / height)
    # Rounding to whole pixels adds half a pixel at most; the shortest inner side is 48.
    assert min(fit.inner) >= 47
    assert 1 / (MAX_STRETCH * 1.011) <= bend <= MAX_STRETCH * 1.011


@given(SIDES, SIDES)
def test_the_output_has_the_aspect_of_the_photo_and_the_area_of_the_bucket(height: int, width: int) -> None:
    fit = fit_photo(height, width, BUCKETS)
    rows, columns = fit.output
    area, aspect = fit.bucket[0] * fit.bucket[1], width / height
    assert abs(rows - (area / aspect) ** 0.5) <= 1
    assert abs(columns - (area * aspect) ** 0.5) <= 1


def test_a_photo_of_a_buckets_own_shape_is_not_resampled() -> None:
    photo = room(112, 144)
    fit = fit_photo(112, 144, BUCKETS)
    np.testing.assert_array_equal(to_bucket(photo, fit), photo)
    np.testing.assert_array_equal(from_bucket(photo, fit), photo)


@pytest.mark.parametrize("shape", [(120, 160), (100, 500), (500, 100), (64, 64), (97, 131)])
def test_there_and_back_things_stay_in_place(shape: tuple[int, int]) -> None:
    height, width = shape
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([255 * y / height, 255 * x / width, np.zeros(shape)], -1).astype(np.uint8)
    fit = fit_photo(height, width, BUCKETS)
    bucket = to_bucket(ramp, fit)
    assert bucket.shape == (*fit.bucket, 3)
    back = from_bucket(bucket, fit).astype(int)
    rows, columns = fit.output
    expected_y = 255 * (np.arange(rows) + 0.5) / rows
    expected_x = 255 * (np.arange(columns) + 0.5) / columns
    coarsest = 255 / min(fit.inner)
    assert np.abs(back[:, columns // 2, 0] - expected_y).max() <= 3 * coarsest
    assert np.abs(back[rows // 2, :, 1] - expected_x).max() <= 3 * coarsest


@given(SIDES, SIDES, st.floats(0, 1), st.booleans())
def test_edges_stay_black_and_white_and_lines_unbroken(
    height: int, width: int, where: float, upright: bool
) -> None:
    assume(max(height, width) <= MAX_ASPECT * min(height, width))
    fit = fit_photo(height, width, BUCKETS)
    edges = np.zeros(fit.bucket, np.uint8)
    line = edges.T if upright else edges
    first = fit.offset[1] if upright else fit.offset[0]
    line[first + int(where * (fit.inner[1 if upright else 0] - 1))] = 255
    shown = edges_from_bucket(edges, fit)
    assert shown.shape == fit.output
    assert set(np.unique(shown)) <= {0, 255}
    across = (shown.T if upright else shown) > 0
    assert across.any(axis=0).all(), "the line has gaps"
    assert across.any(axis=1).sum() <= 2, "the line is a band"


def test_the_signal_of_the_vae_and_back() -> None:
    photo = room(96, 160)
    signal = to_signal(photo)
    assert signal.shape == (1, 3, 96, 160)
    assert signal.dtype == np.float32
    assert signal.min() >= -1
    assert signal.max() <= 1
    np.testing.assert_array_equal(to_bytes(to_pixels(signal)), photo)


def test_kept_pixels_are_exact_and_only_the_outside_is_feathered() -> None:
    photo, result = room(100, 200), np.full((100, 200, 3), 7.0, np.float32)
    mask = np.zeros((100, 200), np.uint8)
    mask[40:60, 50:100] = 200
    pasted = paste_kept(result, photo, mask)
    np.testing.assert_array_equal(pasted[mask > 127], photo[mask > 127])
    assert (pasted[:30] == 7.0).all()
    seam = np.abs(pasted[39, 50:100] - 7.0)
    assert (seam > 0).any()


def test_thin_lines_of_a_large_photo_are_kept_in_a_smaller_result() -> None:
    photo = room(1120, 1440)
    mask = np.zeros((1120, 1440), np.uint8)
    mask[:, 703] = 255
    result = np.full((112, 144, 3), 7.0, np.float32)
    pasted = paste_kept(result, photo, mask)
    np.testing.assert_array_equal(pasted[:, 70], resize(photo, (112, 144))[:, 70])


def test_an_empty_mask_keeps_nothing() -> None:
    result = np.full((50, 50, 3), 7.0, np.float32)
    np.testing.assert_array_equal(paste_kept(result, room(50, 50), np.zeros((50, 50), np.uint8)), result)


def test_a_latent_cell_is_kept_as_far_as_its_pixels_are() -> None:
    fit = fit_photo(128, 128, BUCKETS)
    mask = np.zeros((128, 128), np.uint8)
    mask[:, :68] = 255
    cells = latent_mask(mask, fit, 8)
    assert cells.shape == (1, 1, 16, 16)
    np.testing.assert_allclose(cells[0, 0, 0], [1] * 8 + [0.5] + [0] * 7, atol=0.5 / 255 + 1e-6)


def test_a_preview_is_a_small_jpeg_whatever_the_latents() -> None:
    matrix = np.ones((5, 3), np.float32)
    noise = np.random.default_rng(0).standard_normal((1, 4, 64, 64)).astype(np.float32) * 20
    jpeg = preview_jpeg(linear_pixels(noise, matrix), fit_photo(512, 512, [(512, 512)]))
    assert jpeg[:3] == b"\xff\xd8\xff"
    assert len(jpeg) <= 20_000
