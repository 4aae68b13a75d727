"""Pictures that are made of pictures: everything is where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.photos.collages import CELL, SIDE, Pixels, before_after, contact_sheet

RED, BLUE = (200, 20, 20), (20, 20, 200)


def plain(colour: tuple[int, int, int], height: int = 60, width: int = 80) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def share(picture: Pixels, colour: tuple[int, int, int]) -> float:
    """Of the pixels that have this colour."""
    return float((np.abs(picture.astype(int) - colour).max(axis=2) < 3).mean())


def test_before_is_left_and_after_right_at_their_own_size() -> None:
    made = before_after(plain(RED), plain(BLUE))
    left, right = made[:, : made.shape[1] // 2], made[:, made.shape[1] // 2 :]
    assert share(left, RED) * left.shape[0] * left.shape[1] == 60 * 80
    assert share(right, BLUE) * right.shape[0] * right.shape[1] == 60 * 80
    assert share(left, BLUE) == share(right, RED) == 0
    ink = made.max(axis=2) < 100
    assert ink[:, : made.shape[1] // 2].any(), "labels"
    assert ink[:, made.shape[1] // 2 :].any()


def test_large_pictures_are_reduced_and_a_result_of_another_size_fits() -> None:
    made = before_after(plain(RED, 1500, 2000), plain(BLUE, 255, 341))
    assert made.shape[1] < 2 * SIDE + 60
    area = made.shape[0] * made.shape[1]
    assert share(made, RED) == pytest.approx(share(made, BLUE), rel=0.01)
    assert share(made, RED) * area == pytest.approx(SIDE * SIDE * 3 / 4, rel=0.01)


@pytest.mark.parametrize(("results", "columns", "rows"), [(1, 2, 1), (2, 2, 2), (4, 3, 2), (32, 6, 6)])
def test_a_sheet_has_a_cell_for_the_photo_and_each_result(results: int, columns: int, rows: int) -> None:
    made = contact_sheet(plain(RED), [(f"Style {n}", plain(BLUE)) for n in range(results)])
    area = made.shape[0] * made.shape[1]
    assert share(made, RED) * area == pytest.approx(60 * 80)
    assert share(made, BLUE) * area == pytest.approx(results * 60 * 80)
    assert (made.shape[1] // 92, made.shape[0] // 106) == (columns, rows), "with gaps and labels"


@pytest.mark.parametrize("badge", [True, False])
def test_the_badge_is_on_results_alone(badge: bool) -> None:
    def white(picture: Pixels, left: float, right: float) -> bool:
        """Whether there is something white at the top right of what lies between these columns."""
        height, width = picture.shape[:2]
        part = picture[16 : height // 3, round(left * width) + 16 : round(right * width) - 16]
        return bool((part.min(axis=2) > 200).any())

    pair = before_after(plain(RED, 300, 400), plain(BLUE, 300, 400), badge=badge)
    assert (white(pair, 0, 0.5), white(pair, 0.5, 1)) == (False, badge)
    sheet = contact_sheet(plain(RED, 300, 400), [("A", plain(BLUE, 300, 400))], badge=badge)
    assert (white(sheet, 0, 0.5), white(sheet, 0.5, 1)) == (False, badge)


def test_long_labels_are_cut() -> None:
    made = contact_sheet(
        plain(RED, 600, 600), [("A style with a very long name " * 9, plain(BLUE, 600, 600))]
    )
    margin = made[:, -12:]
    assert share(margin, (255, 255, 255)) == 1.0
    assert made.shape[1] < 2 * CELL + 60
