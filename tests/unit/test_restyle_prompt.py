"""Prompts of `restyle`: how parts share the text encoder's 77 tokens, and which warnings the result has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from orchestrator.domain.styles import STYLES
from restyle.prompt import LENGTH, ROOM, Cut, Prompts
from restyle.release import load_release
from restyle.request import InvalidRequest, parse_request
from restyle.result_warnings import result_warnings
from restyle.solver import Table
from tests.conftest import RELEASE
from tests.support.pictures import room

PHOTO = room(96, 120)
LONG = "a grand piano beside the tall window " * 17  # 119 words


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REROOM_RELEASE", str(RELEASE))
        release = load_release()
    return Prompts(release.tokenizer, release.frame)


def tokens(prompts: Prompts, *parts: str) -> list[int]:
    """The ids inside the frame."""
    ids = list(prompts.encode(*parts)[0][1:])
    return ids[: ids.index(1)]


def within(part: list[int], whole: list[int]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole)))


def test_a_prompt_is_framed_and_padded(prompts: Prompts) -> None:
    ids, cuts = prompts.encode("a cosy room")
    assert ids.shape == (LENGTH,)
    assert ids.dtype == np.int64
    assert not cuts
    empty, _ = prompts.encode()
    assert list(empty[:3]) == [0, 1, 1]
    assert list(ids).count(0) == 1


def test_parts_that_fit_are_one_text(prompts: Prompts) -> None:
    """The same pictures as when the caller joins them."""
    parts = ("a quiet corner!", "colour palette of sage", "bright loft")
    assert tokens(prompts, *parts) == tokens(prompts, ", ".join(parts))
    assert tokens(prompts, " ", "bright loft", "") == tokens(prompts, "bright loft")


def test_a_long_prompt_of_one_part_loses_its_end_as_in_diffusers(prompts: Prompts) -> None:
    short, _ = prompts.encode("red " * 10)
    ids, cuts = prompts.encode("red " * 200)
    assert ids[0] == 0
    assert ids[-1] == 1
    np.testing.assert_array_equal(ids[:11], short[:11])
    assert len(cuts) == 1


@pytest.mark.parametrize("style", ["modern", "scandinavian", "industrial"])
def test_the_style_is_kept_whole_after_any_prompt(prompts: Prompts, style: str) -> None:
    words = STYLES[style].prompt
    ids, cuts = prompts.encode(LONG, words)
    assert within(tokens(prompts, words), list(ids))
    (cut,) = cuts
    kept = LONG.strip().removesuffix(cut.text).strip()
    assert kept.split() == LONG.split()[: len(kept.split())], "the user's words are cut between words"
    assert within(tokens(prompts, kept), list(ids))
    assert len(kept.split()) >= 8


def test_no_part_is_lost_because_another_is_long(prompts: Prompts) -> None:
    palette = "colour palette of " + ", ".join(["sage green", "oak", "dusty rose", "off white"] * 2)
    for parts in [(LONG, palette, LONG), (LONG, LONG, LONG), (palette, LONG, palette)]:
        ids, cuts = prompts.encode(*parts)
        starts = [tokens(prompts, " ".join(part.split()[:4])) for part in parts]
        assert all(within(start, list(ids)) for start in starts)
        assert {cut.part for cut in cuts} <= {part.strip() for part in parts}


@given(parts=st.lists(st.text(max_size=200), max_size=8))
def test_any_parts_make_a_whole_frame(prompts: Prompts, parts: list[str]) -> None:
    ids, cuts = prompts.encode(*parts)
    assert ids.shape == (LENGTH,)
    assert ids[0] == 0
    assert 1 in ids
    assert all(cut.text and cut.part.endswith(cut.text) for cut in cuts)
    joined, joined_cuts = prompts.encode(", ".join(part.strip() for part in parts if part.strip()))
    if not joined_cuts:
        assert not cuts
        np.testing.assert_array_equal(ids, joined)


def test_a_script_without_spaces_fills_its_share(prompts: Prompts) -> None:
    ids, cuts = prompts.encode("日本の部屋" * 40, "modern")
    assert within(tokens(prompts, "modern"), list(ids))
    assert list(ids).count(1) <= 6, "the room is used"
    assert len(cuts) == 1


def test_special_words_of_the_tokenizer_are_no_way_out_of_the_frame(prompts: Prompts) -> None:
    """A user may write <|endoftext|>; the frame is still ours."""
    ids, _ = prompts.encode("a <|endoftext|> b " * 100)
    assert len(ids) == LENGTH
    assert ids[0] == 0
    assert ids[-1] == 1


def warnings(
    monkeypatch: pytest.MonkeyPatch,
    prompt: list[Cut] | None = None,
    steps_run: int = 4,
    start_noise: float = 1.0,
    **values: Any,
) -> dict[str, str]:
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    arrays: dict[str, tuple[str, ...] | NDArray[Any]] = {
        name: np.array([value]) if np.isscalar(value) else value for name, value in values.items()
    }
    request = parse_request({"image": PHOTO, "prompt": ("a room",), **arrays}, load_release())
    table = Table(np.zeros(steps_run), np.zeros(steps_run), np.zeros((steps_run, 6)), (1.0, start_noise))
    return {each.code: each.detail for each in result_warnings(request, prompt or [], [], table)}


def test_nothing_to_warn_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warnings(monkeypatch, negative_prompt=("dark",), strength=0.25, steps=4, preview_every=3) == {}


def test_what_was_left_out_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    (detail,) = warnings(
        monkeypatch, [Cut(", tall window and more", "one two, tall window and more")]
    ).values()
    assert detail == (
        f"prompt is longer than the {ROOM} tokens that the model reads; left out: the last 5 of 6 words, from "
        "“tall window and more” on"
    )


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_a_negative_prompt_without_guidance(monkeypatch: pytest.MonkeyPatch, guidance: float) -> None:
    found = warnings(monkeypatch, negative_prompt=("dark",), guidance_scale=guidance)
    assert list(found) == ["negative_prompt_unused"]
    assert "above 1" in found["negative_prompt_unused"]
    assert warnings(monkeypatch, negative_prompt=(" ",), guidance_scale=guidance) == {}


def test_less_strength_than_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    found = warnings(monkeypatch, strength=np.float32(0.1), steps=4, steps_run=1)
    assert "as at strength 0.25" in found["strength_raised"]
    assert warnings(monkeypatch, strength=np.float32(0.1), steps=10, steps_run=1) == {}


def test_start_noise_that_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.zeros((4, 14, 18), np.float32)
    found = warnings(monkeypatch, strength=0.25, start_noise=0.0, latents=noise)
    assert list(found) == ["latents_unused"]
    assert "at strength 0.25" in found["latents_unused"]
    assert warnings(monkeypatch, strength=0.25, start_noise=0.1, latents=noise) == {}
    assert warnings(monkeypatch, strength=0.25, start_noise=0.0) == {}


def test_previews_that_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(warnings(monkeypatch, preview_every=4)) == ["preview_every_unused"]


def test_too_many_parts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="prompt must be at most 8 strings, not 9"):
        warnings(monkeypatch, negative_prompt=("a",) * 9)
