"""The styles as data: every one that comes with this version, its picture, and files of an operator's own."""

from __future__ import annotations

import io
import os
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer

from dollhouse.evaluate.style_pictures import MAX_BYTES, SIZE, card, encoded, illustrate, keep
from dollhouse.render.looks import STYLES as LEARNT
from dollhouse.render.scene import FIRST_PIECE, room_slots
from dollhouse.showroom.dressing import DRESSINGS, dressed
from dollhouse.showroom.patterns import PATTERNS
from orchestrator.domain.style_pictures import FOLDER, StylePicture, load_pictures
from orchestrator.domain.styles import (
    BUILT_IN,
    DEFAULT_STYLE,
    OWN,
    STYLES,
    RoomType,
    StylesError,
    counted_as,
    load_styles,
    parse_styles,
)
from orchestrator.services.style_book import CHECK_SECONDS, StyleBook
from orchestrator.settings import SettingsError, load_settings
from restyle.objects import EVIDENCE
from restyle.prompt import ROOM
from tests.conftest import ROOT

PICTURES = load_pictures(BUILT_IN.with_name(FOLDER))
TOKENIZER = ROOT / "export" / "bundles" / "tokenizer" / "tokenizer.json"
RYOKAN = '[ryokan]\ntitle = "Ryokan"\nprompt = "tatami"\n'


def test_the_five_styles_of_the_replaced_service_come_first() -> None:
    assert tuple(STYLES)[:5] == LEARNT
    assert DEFAULT_STYLE in STYLES
    assert len(STYLES) >= 24


def test_no_style_says_the_same_as_another() -> None:
    for member in ("title", "prompt", "colors"):
        assert len({str(getattr(style, member)).lower() for style in STYLES.values()}) == len(STYLES), member
    for style in STYLES.values():
        assert style.negative_prompt
        assert style.rooms
        assert 3 <= len(set(style.colors)) == len(style.colors)
        assert len(set(style.rooms)) == len(style.rooms)
    for one, other in combinations(STYLES.values(), 2):
        mine, theirs = ({word.strip() for word in style.prompt.split(",")} for style in (one, other))
        assert len(mine & theirs) <= 2, f"{one.title} and {other.title}"


@pytest.mark.parametrize("name", STYLES)
def test_the_words_fit_what_a_text_encoder_reads(name: str) -> None:
    """The tokenizer here has 769 tokens and breaks words into more pieces than CLIP's, which has 49,408."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    for words in (STYLES[name].prompt, STYLES[name].negative_prompt):
        assert len(tokenizer.encode(words, add_special_tokens=False)) <= ROOM


def test_rooms_are_those_that_analyses_name() -> None:
    assert set(get_args(RoomType)) == set(EVIDENCE)
    assert {room for style in STYLES.values() for room in style.rooms} == set(EVIDENCE)


def _shown(picture: StylePicture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB").resize((32, 24)), np.float32)


def test_every_style_has_a_picture_unlike_all_others() -> None:
    assert set(PICTURES) == set(STYLES)
    for name, picture in PICTURES.items():
        opened = Image.open(io.BytesIO(picture.data))
        assert (opened.size, picture.media_type, len(picture.data) <= MAX_BYTES) == (SIZE, "image/webp", True)
        assert (picture.made_by is not None) == (name in LEARNT), "the dollhouse knows the styles it learnt"
    shown = {name: _shown(picture) for name, picture in PICTURES.items()}
    for one, other in combinations(shown, 2):
        assert np.abs(shown[one] - shown[other]).mean() > 4, f"{one} and {other}"


@pytest.mark.usefixtures("one_torch_thread")
def test_the_pictures_that_no_release_made_are_those_that_the_command_renders(tmp_path: Path) -> None:
    own = parse_styles(RYOKAN + 'colors = ["#102030"]\n')["ryokan"]
    illustrate(tmp_path, {"japandi": STYLES["japandi"], "ryokan": own})
    made = load_pictures(tmp_path)
    # Encoders of other versions differ a little.
    assert np.abs(_shown(made["japandi"]) - _shown(PICTURES["japandi"])).mean() < 2
    assert made["ryokan"].made_by is None
    assert np.abs(_shown(made["ryokan"])[2, 2] - (16, 32, 48)).max() < 8, "a card of its colours"
    assert card(["#102030"]).getpixel((5, 5)) == (16, 32, 48)
    with pytest.raises(ValueError, match="at every quality"):
        encoded(Image.effect_noise((480, 360), 90).convert("RGB"))


def test_every_style_that_the_dollhouse_has_not_learnt_can_be_rendered() -> None:
    """Everything in every dressing is made of something, and no dressing has a material that nothing is made of."""
    assert set(DRESSINGS) | set(LEARNT) == set(STYLES)
    for style in STYLES:
        room, look = dressed(style)
        parts = list(enumerate(room_slots(room)))
        parts += [(FIRST_PIECE, piece.slot) for thing in room.things for piece in thing.pieces]
        used = [look.swatch(room, slot, part) for part, slot in parts if slot]
        assert {each.pattern for each in used} <= set(PATTERNS), style
        if style in DRESSINGS:
            idle = {slot for slot, each in DRESSINGS[style].materials.items() if each not in used}
            assert not idle, style
        assert 0 < look.grade(room).exposure < 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[ryokan", "this is not TOML: "),
        ('title = "x"', "title stands outside of a style"),
        ("[Ryokan]", "'Ryokan' is no name of a style: it has 1 to 40 of"),
        ('["custom"]', "'custom' is no name of a style"),
        ("[my-ryokan]", "my-ryokan: only styles that callers make for themselves begin with my-"),
        (RYOKAN + 'negative = "x"', "ryokan: Object contains unknown field `negative`"),
        ('[ryokan]\nprompt = "x"', "ryokan: Object missing required field `title`"),
        (RYOKAN + 'rooms = ["garage"]', "ryokan.rooms[0]: Invalid enum value 'garage'"),
        (RYOKAN + 'colors = ["red"]', "ryokan.colors[0]: Expected `str` matching"),
        ("[modern]\noffered = false", "modern is what jobs get that name no style"),
    ],
)
def test_a_wrong_file_gets_one_sentence(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StylesError) as refused:
        parse_styles(text, STYLES)
    assert str(refused.value).startswith(sentence)
    file = tmp_path / "styles.toml"
    file.write_text(text)
    monkeypatch.setenv("REROOM_STYLES_FILE", str(file))
    monkeypatch.setenv("REROOM_SIGNING_KEY", "x" * 16)
    with pytest.raises(SettingsError, match="REROOM_STYLES_FILE: ") as at_start:
        load_settings()
    assert f"{file}: {sentence}" in str(at_start.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StylesError, match="cannot be read: No such file or directory"):
        load_styles(tmp_path / "none.toml", STYLES)
    (tmp_path / "latin.toml").write_bytes(b"# \xe4\n")
    with pytest.raises(StylesError, match="is not a text in UTF-8"):
        load_styles(tmp_path / "latin.toml", STYLES)


def test_a_file_adds_changes_and_takes_away() -> None:
    text = RYOKAN + '[coastal]\nprompt = "the sea"\n[boho]\noffered = false\n'
    found = parse_styles(text, STYLES)
    assert list(found) == [*(name for name in STYLES if name != "boho"), "ryokan"]
    assert (found["coastal"].prompt, found["coastal"].title) == ("the sea", STYLES["coastal"].title)


def test_styles_of_callers_count_as_one() -> None:
    assert [counted_as(name) for name in ("boho", "my-boho", "myriad")] == ["boho", OWN, "myriad"]


def test_a_file_is_looked_at_once_a_second_at_most(tmp_path: Path) -> None:
    file, now = tmp_path / "styles.toml", 0.0
    file.write_text(RYOKAN)
    book = StyleBook(file, clock=lambda: now)
    first = book.now()
    file.write_text(RYOKAN.replace("ryokan]", "machiya]"))
    assert book.now() is first
    now = CHECK_SECONDS
    assert "machiya" in book.now().by_name
    again = book.now()
    now += CHECK_SECONDS
    assert book.now() is again, "what has not changed is not read again"
    os.remove(file)
    now += CHECK_SECONDS
    assert book.now() is again, "a file that is gone takes no style away"


def test_a_picture_beside_the_file_is_taken_for_the_built_in_one(tmp_path: Path) -> None:
    file, now = tmp_path / "styles.toml", 0.0
    file.write_text(RYOKAN)
    book = StyleBook(file, clock=lambda: now)
    assert book.now().pictures == PICTURES
    keep(tmp_path / FOLDER, "sd15-1", {"boho": Image.new("RGB", SIZE)})
    now = CHECK_SECONDS
    assert book.now().pictures["boho"].made_by == "sd15-1"
    assert book.now().pictures["modern"] == PICTURES["modern"]
    (tmp_path / FOLDER / "made_by.toml").write_bytes(b'boho = "\xff"')
    with pytest.raises(StylesError, match=r"made_by\.toml must be TOML"):
        load_pictures(tmp_path / FOLDER)
    (tmp_path / FOLDER / "made_by.toml").write_text("")
    (tmp_path / FOLDER / "ryokan.webp").write_bytes(b"x" * 300_000)
    now += CHECK_SECONDS
    assert "ryokan" not in book.now().pictures
