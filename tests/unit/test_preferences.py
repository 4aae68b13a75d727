from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.requests.preferences import decode_preferences
from orchestrator.api.responses.errors import Problem
from orchestrator.domain.job import Job
from orchestrator.domain.preferences import PREFERENCES, Preferences
from orchestrator.domain.styles import STYLES
from orchestrator.services.running.translation import request
from reroom.triton import RestyleRequest

PHOTO = np.zeros((64, 64, 3), np.uint8)


def test_nothing_said_means_the_defaults() -> None:
    for text in (b"", b"  \n", b"{}", b'{"seed": null, "prompt": null, "keep_furniture": null}'):
        assert decode_preferences(text) == Preferences()


EVERYTHING: dict[str, Any] = {
    "keep": ["sofa", [0.1, 0, 0.5, 1]], "change": ["wall"],
    "keep_furniture": True, "color_palette": ["sage green", "oak"], "prompt": "a grand piano",
    "quality": "draft", "negative_prompt": "cats", "seed": 2**63 - 1, "steps": 100, "strength": 1, "guidance_scale": 0,
    "structure": 1, "solver": "ddim", "palette_strength": 1, "reference_strength": 0, "room_type": "nursery",
    "attempts": 2, "detail": 0.5, "preview_every": 5, "lossless": "png", "size": "models",
    "min_quality": 0.7, "min_openings": 0.6, "min_lines": 0.5, "min_camera": 0.4, "min_planes": 0.3,
    "label": True,
}  # fmt: skip


def test_everything_said() -> None:
    assert set(EVERYTHING) == set(PREFERENCES) == set(Preferences.__struct_fields__)
    assert decode_preferences(json.dumps(EVERYTHING).encode()) == Preferences(**EVERYTHING)


# What is the worker's own work.
@pytest.mark.parametrize("name", sorted(EVERYTHING.keys() - {"label", "lossless"}))
def test_every_preference_changes_the_request_to_the_model(name: str) -> None:
    def sent(preferences: Preferences) -> RestyleRequest:
        job = Job(
            id="a", style="modern", preferences=preferences, original_key="", created_at=0, updated_at=0
        )
        return request(job, STYLES["modern"], PHOTO)

    changed, default = sent(Preferences(**{name: EVERYTHING[name]})), sent(Preferences())
    members = [member for member in changed.__struct_fields__ if member != "image"]
    assert any(getattr(changed, member) != getattr(default, member) for member in members)


def test_a_palette_may_be_one_string() -> None:
    given = decode_preferences(b'{"color_palette": " sage green, oak ,"}')
    assert given.color_palette == ["sage green", "oak"]
    assert decode_preferences(b'{"color_palette": ""}').color_palette == []


def test_blank_colours_are_none() -> None:
    for palette in (b'["oak", "  ", ""]', b'"oak, ,"'):
        assert decode_preferences(b'{"color_palette": ' + palette + b"}").color_palette == ["oak"]


@pytest.mark.parametrize(
    ("written", "seed"),
    [
        ("42.0", 42), ("4.2e1", 42), ("-0.0", 0), ("0e5", 0), ("9007199254740993.0", 2**53 + 1),
        ("9223372036854775807.0", 2**63 - 1),
    ],
)  # fmt: skip
def test_a_whole_number_is_an_integer_however_it_is_written(written: str, seed: int) -> None:
    assert decode_preferences(f'{{"seed": {written}}}'.encode()).seed == seed


def test_a_byte_order_mark_is_no_fault() -> None:
    assert decode_preferences(b'\xef\xbb\xbf{"steps": 7}').steps == 7
    assert decode_preferences(b"\xef\xbb\xbf") == Preferences()


def test_too_large_a_number_is_called_so() -> None:
    with pytest.raises(Problem, match="too large"):
        decode_preferences(b'{"strength": 1e400}')


REFUSED = {
    "keep_furniture": ['"yes"', "1", "1.0"],
    "keep": [
        '"sofa"',
        "[7]",
        '[""]',
        "[[0,0,1]]",
        "[[0,0,1,1.01]]",
        '[["a",0,1,1]]',
        "[" + '"x",' * 32 + '"x"]',
    ],
    "change": ["[[0,0,1,-0.1]]"],
    "lossless": ['"gif"', "true"],
    "color_palette": ["7", "[7]", '["a","a","a","a","a","a","a","a","a"]', '"' + "x" * 41 + '"'],
    "prompt": ['"' + "x" * 1001 + '"', "[]"],
    "negative_prompt": ["{}"],
    "seed": ["-1", str(2**63), "1" * 400, "1.5", "true", "42.5", "9007199254740992.5", "1e400"],
    "steps": ["0", "101", '"20"', "1e400"],
    "strength": ["0", "1.01", "-1e-9", "1e-300", "0.0099", "1e400", "-1e999"],
    "guidance_scale": ["30.1", "-0.1", "1e400"],
    "detail": ["1.01", "-0.01"],
    "preview_every": ["101"],
    "label": [],
    "Seed": ["1"],
    "": ["1"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_names_the_member_that_is_wrong(name: str, value: str) -> None:
    with pytest.raises(Problem) as caught:
        decode_preferences(f'{{"{name}": {value}}}'.encode())
    assert (caught.value.status, caught.value.code) == (422, "invalid_preferences")
    assert caught.value.field == (f"preferences.{name}" if name else "preferences")


@pytest.mark.parametrize(
    "text",
    [
        b"no json", b"[]", b'"text"', b"null", b"{", b"\xff\xfe", b'{"prompt": "\xff"}', b'{"strength": NaN}',
        b'{"strength": Infinity}', b'{"prompt": "\\ud800"}', b"[" * 30_000, b'{"seed":' * 6_000,
    ],
)  # fmt: skip
def test_refuses_what_is_no_object(text: bytes) -> None:
    with pytest.raises(Problem) as caught:
        decode_preferences(text)
    assert (caught.value.status, caught.value.code) == (422, "invalid_preferences")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(list(PREFERENCES)) | st.text(max_size=5), values) | values)
def test_any_json_is_taken_or_refused_cleanly(given: Any) -> None:
    with contextlib.suppress(Problem):
        assert isinstance(decode_preferences(json.dumps(given).encode()), Preferences)
