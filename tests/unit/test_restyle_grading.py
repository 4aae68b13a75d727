"""Colours of `restyle`: words for them, distances, and pictures that are moved towards them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restyle.colours import NAMED, colour_of, name_of
from restyle.palette import measured, palette_of, with_palette
from restyle.pictures.grading import (
    main_colours,
    palette_distance,
    picture_distance,
    towards_palette,
    towards_picture,
)
from restyle.pictures.oklab import from_oklab, to_oklab
from tests.support.pictures import room

ROOM = room(96, 128)
BYTES = st.integers(0, 255)


@given(BYTES, BYTES, BYTES)
def test_oklab_and_back(red: int, green: int, blue: int) -> None:
    pixel = np.array([red, green, blue], np.float32)
    np.testing.assert_allclose(from_oklab(to_oklab(pixel)), pixel, atol=0.01)


def test_oklab_is_that_of_its_paper() -> None:
    np.testing.assert_allclose(
        to_oklab(np.array([255, 0, 0], np.float32)), [0.62796, 0.22486, 0.12585], atol=1e-4
    )
    np.testing.assert_allclose(to_oklab(np.full(3, 255, np.float32)), [1, 0, 0], atol=1e-4)


def test_words_are_colours() -> None:
    assert colour_of("#9CAF94") == colour_of("sage  Green") == colour_of("9caf94")
    assert colour_of("#abc") == colour_of("#aabbcc")
    assert colour_of("zorgle") is colour_of("") is colour_of("light") is None
    plain, light, dark, muted = (
        np.array(colour_of(f"{word}teal")) for word in ("", "light ", "dark ", "muted ")
    )
    assert light[0] > plain[0] > dark[0]
    assert np.hypot(*muted[1:]) < np.hypot(*plain[1:])
    assert colour_of("dark oak wood") == colour_of("dark oak")
    for name in ("navy", "terracotta", "cream"):
        found = colour_of(name)
        assert found is not None
        assert NAMED[name_of(np.array(found, np.float32))] == NAMED[name]


def test_a_colour_in_digits_is_named_in_the_prompt() -> None:
    assert with_palette(("boho",), ("#2f4168", "beige")) == ("colour palette of navy, beige", "boho")
    assert measured(("zorgle",)) is None
    np.testing.assert_array_equal(measured(("zorgle", "navy")), measured(("navy",)))


@pytest.mark.parametrize("palette", [("navy",), ("sage green", "cream"), ("red", "blue", "grey")])
def test_the_further_towards_a_palette_the_nearer_it_is(palette: tuple[str, ...]) -> None:
    colours = measured(palette)
    assert colours is not None
    moved = [towards_palette(ROOM.astype(np.float32), colours, amount) for amount in (0, 0.3, 0.6, 1)]
    distances = [palette_distance(np.rint(each).astype(np.uint8), None, colours) for each in moved]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 1.15 * distances[-1]
    np.testing.assert_allclose(moved[0], ROOM, atol=0.1)


def test_a_palette_moves_colours_and_no_edges() -> None:
    colours = measured(("navy",))
    assert colours is not None
    pictures = (ROOM, np.rint(towards_palette(ROOM.astype(np.float32), colours, 0.5)).astype(np.uint8))
    before, after = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).ravel().astype(np.float64) for each in pictures)
    assert np.asarray(np.corrcoef(np.stack([before, after])))[0, 1] > 0.97
    white = np.full((1, 1, 3), 255, np.float32)
    np.testing.assert_allclose(towards_palette(white, colours, 1.0), white, atol=1)


def test_only_what_may_change_is_measured() -> None:
    colours = measured(("navy",))
    assert colours is not None
    half = np.zeros((8, 8, 3), np.uint8)
    half[:, :4] = [int(NAMED["navy"][i : i + 2], 16) for i in (0, 2, 4)]
    free = np.zeros((8, 8), np.bool_)
    free[:, :4] = True
    assert palette_distance(half, free, colours) == 0
    assert palette_distance(half, ~free, colours) > 20
    assert palette_distance(half, np.zeros((8, 8), np.bool_), colours) == palette_distance(
        half, None, colours
    )


def test_a_reference_lends_its_colours_and_contrast() -> None:
    reference = cv2.GaussianBlur(room(96, 128, seed=3)[..., [2, 0, 1]] // 2 + 90, (0, 0), 3).astype(np.uint8)
    moved = [towards_picture(ROOM.astype(np.float32), None, reference, amount) for amount in (0, 0.5, 1)]
    distances = [picture_distance(np.rint(each).astype(np.uint8), None, reference) for each in moved]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.5 * distances[0]
    assert picture_distance(reference, None, reference) == 0


def test_a_plain_reference_or_picture_does_no_harm() -> None:
    plain: Any = np.full((4, 4, 3), (200, 120, 90), np.uint8)
    towards = towards_picture(ROOM.astype(np.float32), None, plain, 1.0)
    assert np.isfinite(towards).all()
    assert np.rint(towards).std() > 0.2 * ROOM.std(), "its contrast shrinks by a limited factor"
    assert np.isfinite(towards_picture(plain.astype(np.float32), None, ROOM, 1.0)).all()


def test_the_main_colours_of_a_picture_are_named() -> None:
    flag = np.zeros((30, 30, 3), np.uint8)
    for rows, name in ((slice(0, 16), "navy"), (slice(16, 26), "cream"), (slice(26, 30), "brick")):
        flag[rows] = [int(NAMED[name][i : i + 2], 16) for i in (0, 2, 4)]
    assert [name_of(each) for each in main_colours(flag, 3)] == ["navy", "cream", "brick"]
    assert set(palette_of(flag)) >= {"navy", "cream"}
