"""What `benchmarks.keep` takes for kept: its own reckoning, by which the models' is judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.keep import KINDS, boxed, read_again, wish_of
from tests.support.pictures import room

PHOTO = room(96, 128)
OBJECTS: list[dict[str, Any]] = [
    {"label": "couch", "name": f"couch#{number}", "box": box}
    for number, box in enumerate(([0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 0.755, 1.0]), 1)
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wish_says_what_must_stay(kind: str) -> None:
    wish = wish_of(kind, PHOTO, OBJECTS, np.random.default_rng(1))
    asked = wish.request
    assert wish.kind == kind
    assert 0 < wish.kept.mean() < 1
    match kind:
        case "painted":
            assert asked.keep_mask is not None
            np.testing.assert_array_equal(asked.keep_mask > 127, wish.kept)
        case "box":
            np.testing.assert_array_equal(boxed(PHOTO.shape, asked.keep_boxes[0]), wish.kept)
        case "object":
            (chosen,) = (each for each in OBJECTS if each["name"] == asked.keep[0])
            np.testing.assert_array_equal(boxed(PHOTO.shape, chosen["box"]), wish.kept)
        case "label":
            assert asked.keep == ("couch",)
            assert wish.kept[48:, :96].all()
        case "change":
            assert asked.change == ("couch",)
            assert not wish.kept[46:, :97].any()
            assert wish.kept[:45].all()


def test_only_pixels_that_lie_wholly_in_a_box_must_stay() -> None:
    assert np.flatnonzero(boxed((10, 10), (0.15, 0, 0.45, 1)).any(0)).tolist() == [2, 3]


def test_files_without_loss_are_read_as_they_were_written() -> None:
    np.testing.assert_array_equal(read_again(PHOTO), PHOTO)
