"""Planted drift: each fault lowers its own kind, as far as the truth of a few rendered rooms can tell."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.drift import NOTHING, Record, auc, costs, figures, soft
from dollhouse.data.hints import depth_bytes
from dollhouse.evaluate.drifted import FAULTS, KINDS, PHOTO, Drifted, drifted
from dollhouse.render.rooms import View
from restyle.pictures.camera import FOCAL, STILL, Motion, find_motion
from restyle.pictures.quality import changed
from restyle.pictures.segments import Nearest, find_points, points_of
from restyle.pictures.structure import KINDS as MEASURES
from restyle.pictures.structure import Sight, measure_structure
from restyle.pictures.structure import __doc__ as kinds

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SEEDS = (900_034, 900_055)
"""Rooms that have a place for every fault; no figure is measured on them."""


def sight(picture: NDArray[np.uint8], view: View) -> Sight:
    """What perfect models would see."""
    objects = [{"label": each.label, "score": 1.0, "box": list(each.box)} for each in view.objects[0]]
    return Sight(picture, depth_bytes(view.depth[0].numpy()), objects)


@pytest.fixture(scope="module")
def rooms() -> list[Drifted]:
    made = [drifted(seed, 256, soft, styles=2) for seed in SEEDS]
    return [each for each in made if each is not None]


def test_each_fault_lowers_its_own_kind_most_and_below_every_faithful_restyle(rooms: list[Drifted]) -> None:
    assert len(rooms) == len(SEEDS)
    for room in rooms:
        photo = sight(room.photo, room.views[PHOTO])
        faithful = [
            measure_structure(photo, sight(each, room.views[PHOTO])) for each in room.faithful.values()
        ]
        assert set(room.faulty) == set(FAULTS)
        for name, picture in room.faulty.items():
            own = KINDS[name]
            found = measure_structure(photo, sight(picture, room.views.get(name, room.views[PHOTO])))
            falls = {
                kind: min(each[kind] for each in faithful) - found[kind]
                for kind in found
                if all(kind in each for each in faithful) and kind != "structure"
            }
            assert falls[own] > 0, (name, found)
            assert max(falls, key=lambda kind: falls[kind]) == own, (name, falls)
            assert found["structure"] == found[own]
            assert found["structure"] < 0.6 < min(each["structure"] for each in faithful)


def test_nothing_done_keeps_everything_and_changes_nothing(rooms: list[Drifted]) -> None:
    for room in rooms:
        photo = sight(room.photo, room.views[PHOTO])
        unchanged = soft(room.photo)
        assert min(measure_structure(photo, sight(unchanged, room.views[PHOTO])).values()) > 0.9
        assert changed(room.photo, unchanged) <= 0.05


@pytest.mark.parametrize("shape", [(192, 384), (256, 256), (384, 192), (40, 64)])
def test_pictures_of_any_shape_and_content_can_be_measured(shape: tuple[int, int]) -> None:
    grey = np.full((*shape, 3), 128, np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    objects = [{"label": "window", "score": 0.9, "box": [0.0, 0.0, 1.0, 1.0]}]
    for photo in (grey, noise):
        for result in (grey, noise):
            for seen in ([], objects):
                found = measure_structure(
                    Sight(photo, photo[..., 0], seen), Sight(result, result[..., 0], seen[:0])
                )
                assert all(0.0 <= value <= 1.0 for value in found.values()), found
                assert ("openings" in found) == bool(seen)
                assert set(found) <= {*MEASURES, "structure"}
                assert found["structure"] == min(found.values())


@pytest.mark.parametrize(("yaw", "roll"), [(6.0, 0.0), (-4.0, 2.0), (0.0, 3.0)])
def test_a_turn_of_the_camera_is_found_exactly(yaw: float, roll: float) -> None:
    """Segments in random places, and the same ones as the turned camera sees them."""
    random = np.random.default_rng(3)
    begins = random.uniform(-110, 110, (60, 2))
    ways = random.uniform(0, np.pi, 60)
    ends = np.stack([begins, begins + 25 * np.stack([np.cos(ways), np.sin(ways)], -1)], 1)
    turn = cv2.Rodrigues(np.radians([0.0, yaw, roll]))[0]
    moved = Motion(np.asarray(turn.T, np.float32), 0.0).back(ends.reshape(-1, 2)).reshape(-1, 2, 2)
    found, share = find_motion(Nearest(points_of(ends), (256, 256)), points_of(moved))
    assert np.degrees(np.linalg.norm(cv2.Rodrigues(found.turn @ turn.T)[0])) < 0.3
    assert found.zoom == pytest.approx(0.0, abs=0.01)
    assert share > 0.8
    there = found.forth(ends.reshape(-1, 2))
    np.testing.assert_allclose(found.back(there), ends.reshape(-1, 2), atol=0.01)
    assert found.degrees > 1.0


def test_a_still_camera_is_still(rooms: list[Drifted]) -> None:
    photo = Nearest(find_points(rooms[0].photo), (256, 256))
    for picture in rooms[0].faithful.values():
        motion, share = find_motion(photo, find_points(picture))
        assert motion is STILL
        assert share > 0.5
    assert STILL.degrees == 0.0
    assert FOCAL > 0


def test_every_kind_is_explained() -> None:
    assert all(f"\n{kind} " in str(kinds) for kind in MEASURES)
    assert set(KINDS.values()) == set(MEASURES)


def record(seed: int, **faulty: dict[str, float]) -> Record:
    good = dict.fromkeys(MEASURES, 0.9) | {"structure": 0.9, "changed": 0.8, "score": 0.8}
    return Record(
        seed, [good, good | {"openings": 0.5}], {name: good | each for name, each in faulty.items()},
        good | {"changed": 0.01, "score": 0.3}, [0.01], restyled=good, restyle_seconds=0.5,
    )  # fmt: skip


def test_figures_count_rooms() -> None:
    others = ("removed_door", "widened_wall", "rotated_camera", "bent_lines")
    planes = {name: {"planes": 0.1} for name in others}
    found: dict[str, Any] = figures(
        [
            record(1, moved_window={"openings": 0.4}, **planes),
            record(2, moved_window={"openings": 0.6, "lines": 0.1}, **planes),
        ]
    )
    moved, wall, door = (found["faults"][name] for name in ("moved_window", "widened_wall", "removed_door"))
    assert (moved["rooms"], moved["below"], moved["own_most"]) == (2, 0.5, 0.5)
    assert moved["auc"] == pytest.approx(0.75)
    assert (wall["below"], wall["own_most"], wall["auc"]) == (1.0, 1.0, 1.0)
    assert (door["below"], door["own_most"]) == (0.0, 0.0)
    assert found[NOTHING] == {"rooms": 2, "most_changed": 0.01, "worse_than_faithful": 1.0}
    assert found["results_of_the_release"]["rooms"] == 2
    assert auc([1.0, 0.5], [0.5]) == 0.75
    assert costs([record(1)], 0.015)["share_of_a_picture"] == pytest.approx(0.05)
