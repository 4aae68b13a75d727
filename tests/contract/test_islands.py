"""What one island promises and another relies on, compared as data: neither may import the other."""

from __future__ import annotations

import runpy
from typing import get_type_hints

import cv2
import msgspec
import numpy as np

from export.contract import CANNY
from orchestrator.domain.job import JobState
from orchestrator.domain.preferences import PREFERENCES
from orchestrator.domain.styles import DEFAULT_STYLE, STYLES
from orchestrator.photos import process
from orchestrator.photos.decoder import limits as decoder
from orchestrator.services.analysis import Analysis
from restyle import objects, palette, request
from tests.conftest import ROOT
from tests.support.pictures import room


def test_a_photo_that_passes_the_gate_is_taken_by_the_model() -> None:
    assert decoder.STORED_SIDE == process.MAX_SIDE <= request.MAX_SIDE
    assert decoder.MAX_ASPECT <= request.MAX_ASPECT
    # The longest strip that is taken keeps this short a side when it is stored.
    assert min(decoder.MIN_SIDE, decoder.STORED_SIDE // decoder.MAX_ASPECT) >= request.MIN_SIDE


def test_the_words_of_every_style_fit_a_request() -> None:
    for style in STYLES.values():
        # 1000 characters of the user's come before the style's, and from older workers a palette of 8 × 40.
        assert len(style.prompt) + 1000 + 8 * 42 + 50 <= request.MAX_PROMPT
    assert DEFAULT_STYLE in STYLES


def test_a_palette_that_passes_the_api_is_taken_by_the_model() -> None:
    schema = msgspec.json.schema(PREFERENCES["color_palette"])
    assert schema["maxItems"] <= request.MAX_COLOURS
    assert schema["maxItems"] * schema["items"]["maxLength"] <= request.MAX_PALETTE


def test_older_workers_write_palettes_in_the_models_words() -> None:
    assert palette.WORDS == "colour palette of"


def test_the_api_documents_the_models_name_of_an_unknown_room() -> None:
    (annotation,) = get_type_hints(Analysis, include_extras=True)["room_type"].__metadata__
    assert f'"{objects.UNKNOWN}"' in annotation.description


def test_edges_are_found_as_the_export_says() -> None:
    """Training, inputs of benchmarks and the comparison with diffusers take the export's thresholds."""
    module = runpy.run_path(str(ROOT / "model_repository" / "edges" / "1" / "canny.py"))
    assert (module["LOW"], module["HIGH"]) == CANNY
    photo = room(96, 120)
    np.testing.assert_array_equal(module["canny"](photo), cv2.Canny(photo, *CANNY))


def test_lines_are_the_long_straight_ones() -> None:
    module = runpy.run_path(str(ROOT / "model_repository" / "edges" / "1" / "lines.py"))
    photo = np.full((200, 300, 3), 40, np.uint8)
    cv2.rectangle(photo, (50, 40), (250, 160), (200, 180, 160), -1)
    for x in range(100, 200, 12):
        cv2.rectangle(photo, (x, 100), (x + 5, 105), (20, 20, 20), -1)  # shorter than is drawn
    lines = module["straight_lines"](photo)
    assert (lines.shape, lines.dtype) == ((200, 300), np.uint8)
    assert set(np.unique(lines)) == {0, 255}
    rows, columns = np.nonzero(lines)
    assert rows.min() in range(38, 43)
    assert rows.max() in range(158, 163)
    assert columns.min() in range(48, 53)
    assert columns.max() in range(248, 253)
    assert not lines[60:150, 70:230].any(), "the small squares are left out"
    # Lines of one pixel: about the rectangle's circumference.
    assert 500 < len(rows) < 900
    assert not module["straight_lines"](np.zeros((64, 64, 3), np.uint8)).any()


def test_the_models_stages_are_states_of_a_job() -> None:
    stages = {"analyzing", "generating", "transforming", "finalizing"}
    assert stages < {state.value for state in JobState}
