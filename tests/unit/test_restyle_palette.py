"""Palettes of `restyle`: which one a request gets, and where its words stand in the prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from orchestrator.domain.styles import STYLES
from restyle.palette import choose_palette, with_palette
from restyle.release import Release, load_release
from restyle.request import MAX_COLOURS, InvalidRequest, Request, parse_request
from tests.conftest import RELEASE
from tests.support.pictures import room

PALETTES = (("sage green",), ("navy", "cream"), ())
PHOTO = room(96, 120)
STYLE = STYLES["boho"].prompt


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    return replace(load_release(), palettes=PALETTES)


def parse(release: Release, *prompt: str, **values: Any) -> Request:
    arrays = {
        name: value if isinstance(value, tuple) else np.array([value]) for name, value in values.items()
    }
    return parse_request({"image": PHOTO, "prompt": prompt, **arrays}, release)


def test_the_seed_chooses_and_will_always_choose_the_same() -> None:
    """A published picture must be repeatable from its seed, so these may never change."""
    seeds = (0, 1, 2, 3, 4, 2**53 - 1, 2**63 - 1)
    chosen = [choose_palette(seed, [STYLE], PALETTES) for seed in seeds]
    assert [PALETTES.index(palette) for palette in chosen] == [0, 1, 2, 0, 1, 1, 1]


def test_who_asks_for_neither_seed_nor_colours_gets_the_first_palette(release: Release) -> None:
    """The style's own, in a bundle for which it is that; a random one is no promise that a style can keep."""
    drawn = [parse(release, STYLE) for _ in range(50)]
    assert {request.palette for request in drawn} == {PALETTES[0]}
    assert len({request.seed for request in drawn}) == 50
    assert all(0 <= request.seed < 2**53 for request in drawn)
    assert parse(replace(release, palettes=()), STYLE).palette == ()


def test_the_words_stand_before_the_styles(release: Release) -> None:
    request = parse(release, "a reading corner", STYLE, seed=1)
    assert request.prompt == ("a reading corner", "colour palette of navy, cream", STYLE)
    assert request.palette == ("navy", "cream")
    assert parse(release, STYLE, seed=0).prompt == ("colour palette of sage green", STYLE)
    assert parse(release, STYLE, seed=2).prompt == (STYLE,)
    assert with_palette((), ("oak",)) == ("colour palette of oak",)


def test_what_is_asked_for_is_taken(release: Release) -> None:
    request = parse(release, "a loft", palette=(" oak", "", "dusty rose "), seed=1)
    assert request.prompt == ("colour palette of oak, dusty rose", "a loft")
    assert request.palette == ("oak", "dusty rose")
    for nothing in [(), ("",), (" ",)]:
        request = parse(release, "a loft", palette=nothing, seed=1)
        assert (request.prompt, request.palette) == (("a loft",), ())


def test_a_palette_in_the_prompt_is_not_contradicted(release: Release) -> None:
    """As older workers send it, which compose its words themselves, or as people write them."""
    for seed in range(3):
        for words in ("colour palette of oak", "a loft, Colour palette of oak"):
            request = parse(release, words, STYLE, seed=seed)
            assert (request.prompt, request.palette) == ((words, STYLE), ())


def test_other_words_leave_the_choice_to_the_seed(release: Release) -> None:
    assert parse(release, "sage green walls", STYLE, seed=1).palette == ("navy", "cream")


def test_a_release_without_palettes_chooses_none(release: Release) -> None:
    request = parse(replace(release, palettes=()), STYLE, seed=1)
    assert (request.prompt, request.palette) == ((STYLE,), ())


@pytest.mark.parametrize(
    ("palette", "sentence"),
    [
        (("oak",) * (MAX_COLOURS + 1), "palette must be at most 8 strings, not 9"),
        (("x" * 401,), "palette must be at most 400 characters, not 401"),
    ],
)
def test_palettes_beyond_reason_are_refused(
    release: Release, palette: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{sentence}$"):
        parse(release, STYLE, palette=palette)
