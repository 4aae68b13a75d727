"""The figures of dollhouse.evaluate.room_confidence, and what the committed ones promise."""

from __future__ import annotations

import pytest

from benchmarks import RESULTS
from dollhouse.evaluate.room_confidence import Answer, figures
from measuring import report
from measuring.releases import find_release


def test_figures_of_rooms_that_are_made_up() -> None:
    named: list[Answer] = [(0.9, True)] * 5 + [(0.7, right) for right in (False, True, False, True, False)]
    found = figures([*named, *[(0.0, False)] * 10])
    assert (found["rooms"], found["named"], found["named_rightly"]) == (20, 0.5, 0.35)
    assert (found["confidence"], found["accuracy"]) == (pytest.approx(0.8), 0.7)
    assert found["confidence_where_wrong"] == pytest.approx(0.7)
    # Pairs from the least sure on, the wrong ones before the right: accuracies 0, ½, 1, 1, 1.
    errors = [0.7, 0.2, 0.2, 0.1, 0.1]
    assert found["calibration_error"] == pytest.approx(sum(errors) / 5)


def test_nothing_wrong_is_no_error() -> None:
    assert figures([(1.0, True)] * 5)["confidence_where_wrong"] is None


def test_the_committed_figures_tell_right_from_wrong() -> None:
    document = report.read(RESULTS / "room_confidence.json")
    assert document["release"]["sha256"] == find_release("dollhouse").digest
    clean, jittered = document["clean"], document["jittered"]
    assert clean["rooms"] == jittered["rooms"] >= 400
    assert clean["named_rightly"] >= 0.85
    for found in (clean, jittered):
        assert found["accuracy"] >= 0.95
        assert abs(found["confidence"] - found["accuracy"]) < 0.06
        assert found["confidence_where_wrong"] < found["confidence"]
    assert jittered["named"] < clean["named"]
