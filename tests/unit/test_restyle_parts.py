"""The small parts of `restyle`: prompts, quality, rooms, noise, the release it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from restyle.objects import EVIDENCE, LEAST, UNKNOWN, objects_in_photo, room_confidence, room_type
from restyle.pictures.images import Fit
from restyle.pictures.quality import (
    WEIGHTS,
    cleanliness,
    depth_agreement,
    edge_agreement,
    exposure,
    measure_quality,
    sharpness,
)
from restyle.prompt import Prompts
from restyle.release import load_release
from restyle.stages.denoise import philox_noise
from tests.conftest import RELEASE
from tests.support.pictures import room
from tests.support.releases import read_document, write_document


def edges_of(picture: np.ndarray) -> NDArray[np.uint8]:
    gradient = np.abs(np.diff(picture.astype(int).sum(-1), axis=1, prepend=0))
    return np.asarray((gradient > 90) * 255, np.uint8)


def test_edges_agree_with_themselves_not_with_another_room_and_not_with_noise() -> None:
    photo, other = edges_of(room(200, 300, 1)), edges_of(room(200, 300, 2))
    noise = ((np.random.default_rng(0).random((200, 300)) > 0.7) * 255).astype(np.uint8)
    assert edge_agreement(photo, photo) == pytest.approx(1.0)
    assert edge_agreement(photo, other) < 0.5
    assert edge_agreement(photo, noise) < 0.1
    assert edge_agreement(photo, np.zeros_like(photo)) == 0


def test_depth_agrees_by_rank_not_by_value() -> None:
    ramp = np.tile(np.arange(0, 200, dtype=np.uint8), (100, 1))
    squared = ((ramp / 200.0) ** 2 * 255).astype(np.uint8)
    assert depth_agreement(ramp, squared) > 0.98
    assert depth_agreement(ramp, ramp[:, ::-1]) == 0
    assert depth_agreement(ramp, np.full_like(ramp, 9)) == 0


def as_bytes(values: np.ndarray) -> NDArray[np.uint8]:
    return np.asarray(np.rint(values).clip(0, 255), np.uint8)


def blurred(picture: np.ndarray, sigma: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def clear(seed: int) -> NDArray[np.uint8]:
    """A room from nearly black to nearly white, without its noise."""
    smooth = cv2.medianBlur(room(256, 320, seed), 5).astype(np.float32)
    return as_bytes(10 + 235 * (smooth - smooth.min()) / np.ptp(smooth))


PHOTO, OTHER = clear(1), clear(2)
RESTYLED = PHOTO[..., ::-1].copy()
"""The same room in other colours."""


def quality_of(result: NDArray[np.uint8], kept: NDArray[Any] | None = None) -> dict[str, float]:
    """Light stands for depth."""
    depths = [blurred(picture, 4.0)[..., 1] for picture in (PHOTO, result)]
    return measure_quality(PHOTO, edges_of(PHOTO), depths[0], result, edges_of(result), depths[1], kept)


def stains(cells: int) -> np.ndarray:
    """Standard normal; one cell is a pixel where there are as many as rows."""
    coarse = np.random.default_rng(0).standard_normal((cells, cells * 5 // 4, 3)).astype(np.float32)
    enlarged: np.ndarray = cv2.resize(coarse, (320, 256), interpolation=cv2.INTER_CUBIC)
    return enlarged


FAULTS: dict[str, tuple[str, Callable[[], NDArray[np.uint8]]]] = {
    "blotches": ("cleanliness", lambda: as_bytes(RESTYLED + 10 * stains(28))),
    "noise": ("cleanliness", lambda: as_bytes(RESTYLED + 10 * stains(256))),
    "blur": ("sharpness", lambda: blurred(RESTYLED, 2.0)),
    "a white veil": ("contrast", lambda: as_bytes(0.6 * RESTYLED + 0.4 * 250)),
    "a grey veil": ("contrast", lambda: as_bytes(0.6 * RESTYLED + 0.4 * 150)),
    "another room": ("edge_agreement", lambda: OTHER),
    "nothing done": ("changed", lambda: PHOTO),
    "burnt out": ("exposure", lambda: as_bytes(RESTYLED * 1.8)),
    "crushed to black": ("exposure", lambda: as_bytes(RESTYLED - 110.0)),
}
"""What is wrong with a picture, and the measure that has to show it."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_lowers_its_measure_and_the_score(fault: str) -> None:
    (measure, plant), good = FAULTS[fault], quality_of(RESTYLED)
    bad = quality_of(plant())
    assert bad[measure] < 0.8 * good[measure]
    assert bad["score"] < 0.96 * good["score"]
    assert all(0 <= value <= 1 for value in bad.values())


def test_a_good_restyle_scores_well() -> None:
    quality = quality_of(RESTYLED)
    assert quality["score"] > 0.85
    assert set(quality) == {*WEIGHTS, "score"}
    assert sum(WEIGHTS.values()) == pytest.approx(1)


def test_a_single_fault_cannot_be_made_up_for() -> None:
    parts = quality_of(PHOTO)
    assert parts["edge_agreement"] == parts["depth_agreement"] == parts["sharpness"] == parts["exposure"] == 1
    assert parts["changed"] == 0
    assert parts["score"] < 0.3


def test_the_photo_bears_what_its_result_is_not_blamed_for() -> None:
    """A phone's grain, a blown-out window and a soft lens are in the photo already."""
    grainy = as_bytes(PHOTO + 8 * stains(128))
    grainy[:80, :80] = 255
    photo = blurred(grainy, 0.7)
    result = photo[..., ::-1].copy()
    assert cleanliness(photo, result) > 0.6 > 0.1 > cleanliness(PHOTO, result)
    assert exposure(photo, result) == 1 > 0.9 > exposure(PHOTO, result)
    edges = edges_of(photo)
    assert sharpness(photo, edges, result) > 0.9 > sharpness(PHOTO, edges, result)


def test_noise_is_not_praised_for_sharpness() -> None:
    noise = np.random.default_rng(0).integers(0, 255, PHOTO.shape, dtype=np.uint8)
    assert sharpness(PHOTO, edges_of(PHOTO), noise) < sharpness(PHOTO, edges_of(PHOTO), RESTYLED)


def test_what_was_to_stay_is_no_lack_of_change() -> None:
    mask = np.zeros(PHOTO.shape[:2], np.uint8)
    mask[:, :240] = 255
    half = np.where(mask[..., None] > 0, PHOTO, RESTYLED)
    assert quality_of(half, mask)["changed"] > 0.9 > quality_of(half)["changed"]
    assert quality_of(PHOTO, mask)["changed"] == 0
    assert quality_of(PHOTO, np.full_like(mask, 255))["changed"] == 1


def test_a_photo_without_edges_is_no_division_by_nothing() -> None:
    wall = np.full((96, 128, 3), 180, np.uint8)
    nothing = np.zeros(wall.shape[:2], np.uint8)
    quality = measure_quality(wall, nothing, nothing, wall - 60, nothing, nothing)
    assert quality["edge_agreement"] == quality["sharpness"] == quality["cleanliness"] == 1
    assert np.isfinite(quality["score"])


def test_the_score_ranks_same_room_over_other_room_over_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 255, PHOTO.shape, dtype=np.uint8)
    scores = [quality_of(picture)["score"] for picture in (RESTYLED, OTHER, noise)]
    assert scores == sorted(scores, reverse=True)


def test_rooms_are_recognised_by_their_furniture() -> None:
    def seen(*labels: str) -> str:
        return room_type([{"label": label, "score": 0.8, "box": []} for label in labels])

    assert seen("couch", "tv", "chair") == "living room"
    assert seen("bed", "chair") == "bedroom"
    assert seen("dining table", "chair", "chair") == "dining room"
    assert seen("toilet", "sink") == "bathroom"
    assert seen("oven", "sink") == "kitchen"
    assert seen("zebra") == seen() == UNKNOWN


def an_object(label: str, score: float) -> dict[str, Any]:
    return {"label": label, "score": score, "box": []}


LABELS = sorted({label for weights in EVIDENCE.values() for label in weights} | {"zebra"})
OBJECTS = st.lists(st.builds(an_object, st.sampled_from(LABELS), st.floats(0.05, 1.0)), max_size=8)


@given(OBJECTS)
def test_confidence_is_least_or_more_and_0_only_where_the_room_is_unknown(
    objects: list[dict[str, Any]],
) -> None:
    confidence = room_confidence(objects)
    if room_type(objects) == UNKNOWN:
        assert confidence == 0
    else:
        assert LEAST <= confidence <= 1


@given(OBJECTS, st.sampled_from(sorted(EVIDENCE)), st.floats(0.05, 1.0))
def test_more_of_what_only_one_room_has_makes_that_room_surer_and_others_less_sure(
    objects: list[dict[str, Any]], room: str, score: float
) -> None:
    before, first = room_confidence(objects), room_type(objects)
    more = [*objects, an_object(DISTINCT[room], score)]
    if first == room:
        assert room_confidence(more) >= before
    elif room_type(more) == first:
        assert room_confidence(more) <= before


DISTINCT = {
    "bedroom": "bed", "living room": "couch", "dining room": "dining table", "kitchen": "oven",
    "bathroom": "toilet", "office": "desk",
}  # fmt: skip
"""A label that speaks for that room alone."""


def test_confidence_of_ties_of_little_and_of_much() -> None:
    # Both weigh 3.
    assert room_type([an_object("bed", 0.9), an_object("couch", 0.9)]) == UNKNOWN
    assert room_type([an_object("vase", 0.9)]) == UNKNOWN
    assert room_confidence([an_object("bed", 0.3)]) == 0 < LEAST < room_confidence([an_object("bed", 0.6)])
    assert room_confidence([an_object("oven", 0.9), an_object("refrigerator", 0.9)]) > 0.99
    assert room_confidence([]) == room_confidence([an_object("zebra", 0.9)]) == 0


def test_what_is_half_seen_many_times_is_no_room() -> None:
    """Real photos are less like what the detector has learnt from: many things may be there, and none surely is."""
    hall = [
        ("book", 0.44), ("book", 0.41), ("shelf", 0.36), ("clock", 0.32), ("wardrobe", 0.4), ("bed", 0.26),
    ]  # fmt: skip
    objects = [an_object(*each) for each in hall]
    assert (room_type(objects), room_confidence(objects)) == (UNKNOWN, 0)
    counters = [an_object("counter", 0.3) for _ in range(9)]
    assert room_type(counters) == UNKNOWN
    assert room_type([*counters, an_object("oven", 0.9)]) == "kitchen"


def test_boxes_are_in_the_frame_of_the_photo() -> None:
    """A 64×192 photo lies at rows 16 to 79 of a 96×192 bucket; above and below is reflection."""
    fit = Fit(bucket=(96, 192), inner=(64, 192), offset=(16, 0), output=(78, 235))
    boxes = np.array(
        [[0.25, 16 / 96, 0.5, 48 / 96], [0.1, 0.02, 0.4, 0.12], [0, 0.1, 1, 0.4], [0, 0, 0, 0]], np.float32
    )
    found = objects_in_photo(
        boxes, np.array([0.9, 0.8, 0.7, 0.0]), np.array([1, 0, 0, -1]), ["chair", "couch"], fit
    )
    assert [(one["label"], one["score"]) for one in found] == [("couch", 0.9), ("chair", 0.7)]
    assert found[0]["box"] == [0.25, 0.0, 0.5, 0.5]
    assert found[1]["box"] == pytest.approx([0, 0, 1, (0.4 * 96 - 16) / 64], abs=1e-3)


def test_noise_depends_on_seed_and_step_alone() -> None:
    first = philox_noise(3, 0, (1, 4, 8, 8))
    np.testing.assert_array_equal(first, philox_noise(3, 0, (1, 4, 8, 8)))
    assert first.dtype == np.float32
    assert np.abs(first - philox_noise(3, 1, (1, 4, 8, 8))).mean() > 0.5
    assert np.abs(first - philox_noise(4, 0, (1, 4, 8, 8))).mean() > 0.5
    assert abs(philox_noise(2**63 - 1, 0, (10_000,)).std() - 1) < 0.05


def test_the_noise_is_the_same_on_every_machine_and_version() -> None:
    """A published picture must be repeatable from its seed, so these numbers may never change."""
    np.testing.assert_allclose(philox_noise(0, 0, (3,)), FIRST_NOISE, rtol=1e-6)


FIRST_NOISE = [0.059911035001277924, 0.015559634193778038, -1.1644384860992432]


def test_without_a_release_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REROOM_RELEASE", raising=False)
    with pytest.raises(ValueError, match="REROOM_RELEASE is not set"):
        load_release()


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", '{"defaults": 1}'])
def test_an_unusable_release_is_refused_in_one_sentence(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REROOM_RELEASE", str(tmp_path))
    if content is not None:
        write_document(tmp_path, content)
    named = "live" if content is None else r"release\.json"
    with pytest.raises(ValueError, match=rf"/{named}.*export"):
        load_release()


def test_a_live_version_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REROOM_RELEASE", str(tmp_path))
    (tmp_path / "live").write_text("latest\n")
    with pytest.raises(ValueError, match=r"/live is not a release .*'latest"):
        load_release()


def test_an_unusable_tokenizer_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*tokenizer\.json"):
        Prompts(tmp_path / "tokenizer.json", (0, 1, 1))


def test_the_release_names_the_version_of_every_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = read_document(RELEASE)
    document["models"]["denoiser"]["version"] = 7
    monkeypatch.setenv("REROOM_RELEASE", str(write_document(tmp_path, document)))
    assert load_release().versions == {
        "depth": 1, "detector": 1, "text_encoder": 1, "vae_encoder": 1, "denoiser": 7, "vae_decoder": 1,
            "tiny_decoder": 1, "denoiser_few_step": 1,
    }  # fmt: skip
