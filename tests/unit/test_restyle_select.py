"""What `restyle` keeps and changes of a photo: names, boxes and outlines → one mask, over scripted models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from restyle.events import Event, Result
from restyle.names import ALIKE, OUTLINES, UnknownName, name_objects, understand
from restyle.pipeline import Restyler
from restyle.prompt import Prompts
from restyle.release import Release, load_release
from restyle.request import InvalidRequest, parse_request
from tests.conftest import RELEASE
from tests.support.pictures import room

PHOTO = room(224, 288)
"""Twice a bucket of the release, so a box has the same pixels in both frames."""
LABELS = ["couch", "window", "picture", "chair"]
BOXES = {"couch#1": (0, 0.5, 0.5, 1), "couch#2": (0.5, 0.5, 0.75, 1), "window#1": (0.75, 0, 1, 0.5)}
RED = np.full((112, 144, 3), (255, 0, 0), np.float32)


class SeeingModels:
    """Sees BOXES; ``outlines`` UINT8 [H,W,3] is what the graph `segments` shows."""

    def __init__(self, outlines: NDArray[np.uint8] | None = None) -> None:
        self.outlines = outlines

    async def __call__(
        self, model: str, outputs: tuple[str, ...], **tensors: NDArray[Any]
    ) -> list[NDArray[Any]]:
        match model:
            case "depth":
                return [tensors["image"][..., 0]]
            case "edges":
                return [tensors["image"][..., 0] // 128 * 255]
            case "detector":
                labels = [LABELS.index(name.partition("#")[0]) for name in BOXES]
                return [
                    np.array([list(BOXES.values())], np.float32),
                    np.full((1, 3), 0.9),
                    np.array([labels]),
                ]
            case "segments":
                assert self.outlines is not None
                return [self.outlines[None]]
            case "text_encoder":
                return [np.zeros((len(tensors["input_ids"]), 77, 8), np.float32)]
            case "vae_encoder":
                return [np.ones((1, 4, 14, 18), np.float32)]
            case "denoiser":
                return [tensors["latents"], tensors["latents"]]
        return [RED.transpose(2, 0, 1)[None] / 127.5 - 1.0]


@pytest.fixture(scope="module")
def release() -> Release:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REROOM_RELEASE", str(RELEASE))
        return replace(load_release(), labels=LABELS)


def outlined(release: Release) -> Release:
    return replace(release, versions=release.versions | {"segments": 1})


async def run(release: Release, models: SeeingModels, **asked: Any) -> Result:
    boxes = {name: np.array(value, np.float32) for name, value in asked.items() if name.endswith("_boxes")}
    request = parse_request(
        {"image": PHOTO, "prompt": ("a room",), "seed": [3], "steps": [1], "detail": [1.0], **asked, **boxes},
        release,
    )
    restyler = Restyler(release, Prompts(release.tokenizer, release.frame), models)
    events: list[Event] = [event async for event in restyler.restyle(request)]
    assert isinstance(events[-1], Result)
    return events[-1]


def same(result: Result) -> NDArray[np.bool_]:
    """Where the result is the photo, exactly."""
    return np.asarray((np.rint(result.pixels) == PHOTO).all(-1))


def covered(*boxes: tuple[float, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(PHOTO.shape[:2], np.bool_)
    for left, top, right, bottom in boxes:
        mask[round(top * 224) : round(bottom * 224), round(left * 288) : round(right * 288)] = True
    return mask


COUCHES = (BOXES["couch#1"], BOXES["couch#2"])


@pytest.mark.parametrize(
    ("keep", "boxes"),
    [
        (["couch"], COUCHES),
        (["Sofas "], COUCHES),
        (["sofa#2"], COUCHES[1:]),
        (["windows", "couch#1"], (BOXES["window#1"], COUCHES[0])),
    ],
)
async def test_what_is_named_stays_exactly(
    release: Release, keep: list[str], boxes: tuple[tuple[float, ...], ...]
) -> None:
    result = await run(release, SeeingModels(), keep=tuple(keep))
    kept = covered(*boxes)
    assert same(result)[kept].all()
    assert same(result)[~kept].mean() < 0.1
    assert result.selection is not None
    assert result.selection["share"] == pytest.approx(kept.mean(), abs=1e-4)
    assert {each["by"] for each in result.selection["kept"]} == {"box"}


async def test_boxes_and_a_painted_mask_join_what_is_named(release: Release) -> None:
    painted = covered((0, 0, 0.25, 0.25)).astype(np.uint8) * 255
    result = await run(
        release, SeeingModels(), keep=("window",), keep_boxes=[[0.5, 0.25, 0.25, 0.5]], keep_mask=painted
    )
    kept = covered((0, 0, 0.25, 0.25), BOXES["window#1"], (0.25, 0.25, 0.5, 0.5))
    assert same(result)[kept].all()
    assert result.selection is not None
    assert result.selection["share"] == pytest.approx(kept.mean(), abs=1e-4)
    assert [each["name"] for each in result.selection["kept"]] == ["window#1", "box"]


async def test_only_what_is_named_for_change_changes_but_for_what_is_kept(release: Release) -> None:
    result = await run(release, SeeingModels(), change=("sofa",), keep=("sofa#2",))
    changed = covered(COUCHES[0])
    assert same(result)[~changed].all()
    assert same(result)[changed].mean() < 0.1
    assert result.selection is not None
    assert [each["name"] for each in result.selection["changed"]] == ["couch#1", "couch#2"]


async def test_masks_follow_outlines_where_a_graph_draws_them(release: Release) -> None:
    outlines = np.zeros((112, 144, 3), np.uint8)
    outlines[70:100, 10:60] = list(bytes.fromhex(OUTLINES["couch"][0]))
    outlines[:56] = list(bytes.fromhex(OUTLINES["wall"][0]))
    models, known = SeeingModels(outlines), outlined(release)
    result = await run(known, models, keep=("couch",))
    assert result.selection is not None
    # No outline lies in the second box: then the box is kept, rather than nothing.
    assert result.selection["kept"] == [
        {"name": "couch#1", "by": "outline"},
        {"name": "couch#2", "by": "box"},
    ]
    assert same(result)[142:198, 22:118].all()
    assert not same(result)[200:, :140].all()
    # What no detector sees can be meant too.
    result = await run(known, models, change=("walls",))
    assert result.selection is not None
    assert result.selection["changed"] == [{"name": "wall", "by": "outline"}]
    assert same(result)[114:].all()
    assert same(result)[:110].mean() < 0.1


async def test_what_is_not_there_is_a_warning_for_keep_and_an_error_for_change(release: Release) -> None:
    result = await run(release, SeeingModels(), keep=("pictures",))
    assert result.selection is None
    assert [(each.code, "“pictures”" in each.detail) for each in result.warnings] == [("keep_unseen", True)]
    seen = "the models see couch#1, couch#2, window#1"
    for asked, message in (
        ({"change": ("picture",)}, f"nothing of change is in the photo: {seen}"),
        ({"keep": ("couch#3",)}, f"keep: 'couch#3' is not in the photo: {seen}"),
        (
            {"keep": ("couch#x",)},
            "keep: 'couch#x' has no number after its #; an object is named as in couch#1",
        ),
        (
            {"keep": ("wall",)},
            "keep: 'wall' is nothing that these models know; they know couch, window, picture, chair",
        ),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await run(release, SeeingModels(), **asked)
        assert str(refused.value) == message


def test_inputs_out_of_range_are_refused(release: Release) -> None:
    photo = {"image": PHOTO, "prompt": ("a room",)}
    with pytest.raises(InvalidRequest, match="keep must be at most 32 strings, not 33"):
        parse_request({**photo, "keep": ("sofa",) * 33}, release)
    for box in ([0, 0, 1, 1.1], [0, 0, 1, np.nan]):
        with pytest.raises(InvalidRequest, match="change_boxes must be 0 to 1"):
            parse_request({**photo, "change_boxes": np.array([box], np.float32)}, release)


def test_words_for_the_same_thing_mean_what_the_release_knows() -> None:
    for words in ALIKE:
        for known in words:
            assert {understand(word, [known]) for word in words} == {(known, None)}
    assert understand("Bookshelves#2", ["shelf"]) == ("shelf", 2)
    with pytest.raises(UnknownName):
        understand("", ["couch"])


def test_objects_are_numbered_by_label() -> None:
    assert name_objects(["couch", "chair", "couch"]) == ["couch#1", "chair#1", "couch#2"]


async def test_what_stays_is_exact_at_the_photos_size_without_its_detail_too(release: Release) -> None:
    kept = covered(*COUCHES)
    small = await run(release, SeeingModels(), keep=("couch",), detail=[0.0])
    assert small.pixels.shape[:2] == (112, 144)
    assert small.enlarged_by is None
    result = await run(release, SeeingModels(), keep=("couch",), detail=[0.0], size=("photo",))
    assert (result.pixels.shape, result.enlarged_by) == (PHOTO.shape, "lanczos")
    assert same(result)[kept].all()
    assert same(result)[~kept].mean() < 0.1
