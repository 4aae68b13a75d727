"""Planted faults: that they are what they say, and that their figures find out a score which does not see them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dollhouse.data.hints import canny, depth_bytes
from dollhouse.evaluate import planted
from dollhouse.evaluate.held_out import MEASURED, HeldOutRoom, held_out_rooms
from dollhouse.evaluate.planted import FAULTS, Restyle, Scores, restyle_of, score_figures, score_rooms
from dollhouse.render.rooms import STYLES, ColourWish

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class FaultlessModels:
    """Looks at pictures of these rooms: their true depth, or that of the other where it is the other's picture."""

    def __init__(self, rooms: list[HeldOutRoom]) -> None:
        self.rooms = rooms
        self.release = SimpleNamespace(facts={"labels": []})
        self.pictures = [
            [room.photo, *room.restyled([(style, ColourWish()) for style in STYLES])] for room in rooms
        ]

    async def perceive(self, picture: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        errors = [
            min(float(np.abs(picture.astype(int) - known).mean()) for known in pictures)
            for pictures in self.pictures
        ]
        depth = depth_bytes(self.rooms[int(np.argmin(errors))].depth)
        nothing = {
            "boxes": np.zeros((0, 4), np.float32),
            "scores": np.zeros(0, np.float32),
            "labels": np.zeros(0, int),
        }
        return {"depth": depth, "edges": canny(picture), **nothing}


@pytest.fixture(scope="module")
def rooms() -> list[HeldOutRoom]:
    return list(held_out_rooms(MEASURED[:3], 128))


@pytest.fixture
def made(rooms: list[HeldOutRoom]) -> Restyle:
    return restyle_of(*rooms[:2])[1]


async def scores_of(rooms: list[HeldOutRoom]) -> list[Scores]:
    models: Any = FaultlessModels(rooms)
    return await score_rooms(models, rooms)


async def test_every_planted_fault_lowers_the_score(rooms: list[HeldOutRoom]) -> None:
    figures = score_figures(await scores_of(rooms))
    assert set(figures) == {*(f"score_{name}" for name in FAULTS), "score_order"}
    assert {name for name, value in figures.items() if value < 1.0} <= {"score_order"}
    assert figures["score_order"] > 0.9


@pytest.mark.parametrize("blind", [lambda *_: 0.7, lambda _, seen: float(seen.picture.std())])
async def test_a_score_that_sees_no_faults_is_found_out(
    rooms: list[HeldOutRoom], blind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planted, "score", blind)
    assert min(score_figures(await scores_of(rooms)).values()) == 0.0


def test_either_strength_may_give_a_fault_away() -> None:
    low = dict.fromkeys(FAULTS, (0.5, 0.4))
    scores = [
        Scores("boho", 0.8, low),
        Scores("boho", 0.8, {**low, "haze": (0.9, 0.4), "blur": (0.5, 0.9), "noise": (0.6, 0.7)}),
    ]
    figures = score_figures(scores)
    assert (figures["score_haze"], figures["score_blur"], figures["score_noise"]) == (0.5, 0.5, 1.0)
    assert figures["score_order"] == 1 - 2 / (2 * len(FAULTS))


def test_styles_are_asked_for_evenly_and_never_the_one_that_is_there() -> None:
    class Room:
        def __init__(self, seed: int) -> None:
            self.seed, self.style = seed, STYLES[seed % len(STYLES)]
            self.photo = np.zeros((8, 8, 3), np.uint8)

        def render(self, style: str) -> NDArray[np.uint8]:
            return self.photo

    pairs: list[Any] = [Room(seed) for seed in MEASURED[:200]]
    asked = [(room.style, restyle_of(room, room)[0]) for room in pairs]
    assert all(style != wanted for style, wanted in asked)
    assert {asked.count(pair) for pair in set(asked)} == {10}


def plant(name: str, made: Restyle) -> list[NDArray[np.uint8]]:
    return [fault(made) for fault in FAULTS[name]]


def grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def test_faults_are_what_they_say(made: Restyle) -> None:
    picture = made.picture.astype(float)
    for name in FAULTS:
        for fault in plant(name, made):
            assert fault.shape == made.picture.shape
            assert fault.dtype == np.uint8
            assert not (fault == made.picture).all()
    for name in ("burnt_out", "crushed"):
        shares = [
            float((grey(fault) >= 254 if name == "burnt_out" else grey(fault) <= 1).mean())
            for fault in plant(name, made)
        ]
        assert shares == pytest.approx([0.15, 0.4], abs=0.08)
    # Noise averages out over four pixels, blotches do not.
    small = [
        float(cv2.resize(plant(name, made)[1] - picture, (32, 32), interpolation=cv2.INTER_AREA).std())
        for name in ("blotches", "noise")
    ]
    assert small[0] > 1.5 * small[1]
    assert (plant("wrong_room", made)[1] == made.other).all()
    assert np.abs(plant("nothing_done", made)[1].astype(float) - made.photo).mean() < 4
    mild, strong = (float(np.ptp(grey(fault))) for fault in plant("haze", made))
    assert 0.8 * np.ptp(grey(made.picture)) > mild > 1.3 * strong
