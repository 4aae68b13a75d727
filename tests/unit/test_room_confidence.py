"""The figures of benchmarks.room_confidence, and what the committed ones promise."""

from __future__ import annotations

import pytest

from benchmarks import RESULTS, report
from benchmarks.releases import find_release
from benchmarks.room_confidence import Told, figures


def test_figures_of_rooms_that_are_made_up() -> None:
    told: list[Told] = [(0.9, True)] * 5 + [
        (0.3, False),
        (0.3, True),
        (0.3, False),
        (0.3, True),
        (0.3, False),
    ]
    found = figures(told)
    assert (found["rooms"], found["accuracy"]) == (10, 0.7)
    assert found["confidence"] == pytest.approx(0.6)
    assert (found["accuracy_of_the_surer_half"], found["accuracy_of_the_other_half"]) == (1.0, 0.4)
    assert found["confidence_where_wrong"] == pytest.approx(0.3)
    # Pairs from the least sure on: accuracies ½, ½, ½ (0.3 and 0.9 meet), 1, 1.
    errors = [0.2, 0.2, 0.1, 0.1, 0.1]
    assert found["calibration_error"] == pytest.approx(sum(errors) / 5)


def test_nothing_wrong_is_no_error() -> None:
    assert figures([(1.0, True)] * 5)["confidence_where_wrong"] is None


def test_the_committed_figures_tell_right_from_wrong() -> None:
    found = report.read(RESULTS / "room_confidence.json")
    assert found["release"]["sha256"] == find_release("dollhouse").digest
    assert found["rooms"] >= 400
    assert found["accuracy_of_the_surer_half"] > found["accuracy_of_the_other_half"]
    # Humble rather than sure of itself.
    assert found["confidence"] <= found["accuracy"] <= found["confidence"] + 0.1
    assert found["confidence_where_wrong"] < found["confidence"] - 0.2
