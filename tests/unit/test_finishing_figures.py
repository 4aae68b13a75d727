"""The benchmark of finishing: its figures on one held-out room, and its measures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dollhouse.evaluate.finishing import finishing_figures, sharpness
from dollhouse.evaluate.held_out import SEEDS
from dollhouse.metrics import psnr
from tests.support.pictures import room

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_finishing_gains_on_a_held_out_room() -> None:
    figures = finishing_figures(SEEDS[3:4])
    assert figures["finish_pairs"] == 5
    assert figures["finish_gain_db"] >= 1.5
    assert figures["finish_gain_sharp"] >= 0.2
    assert 0 < figures["finish_ms_per_mp"] < 1000


def test_measures() -> None:
    truth = room(96, 128).astype(np.float32)
    assert psnr(np.full_like(truth, 30), np.full_like(truth, 4.5)) == pytest.approx(20)
    assert sharpness(truth, truth) == 1
    assert sharpness(cv2.GaussianBlur(truth, (0, 0), 2).astype(np.float32), truth) < 0.5
