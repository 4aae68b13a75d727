"""The arithmetic of the benchmarks of releases."""

from __future__ import annotations

import pytest

from benchmarks.release_jobs import Ran, mixed, pictures_of
from benchmarks.release_kills import added, chances


def test_two_runs_are_told_together() -> None:
    before = {"moments": 20, "failed_jobs": 1, "longest_s": 3.0, "errors": ["b"]}
    found = {"moments": 5, "failed_jobs": 2, "longest_s": 2.0, "errors": ["a", "b"], "refused": 1}
    assert added(before, found) == {
        "moments": 25,
        "failed_jobs": 3,
        "longest_s": 3.0,
        "errors": ["a", "b"],
        "refused": 1,
    }
    assert added({}, found) == found


def test_moments_that_are_added_are_others_and_always_the_same() -> None:
    both, later = chances("triton", 0, 5), chances("triton", 3, 2)
    drawn = [chance.random() for chance in both]
    assert [chance.random() for chance in later] == drawn[3:]
    assert len(set(drawn)) == 5
    assert chances("agent", 0, 1)[0].random() not in drawn


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([("tiny-1", "a"), ("tiny-2", "b"), ("tiny-1", "a")], 0),
        ([("tiny-1", "a"), ("tiny-1", "b")], 1),
        ([("tiny-1", "a"), ("tiny-2", "a")], 1),
    ],
)
def test_a_picture_that_is_not_its_releases_is_mixed(made: list[tuple[str, str]], expected: int) -> None:
    ran = [Ran(0.0, 1.0, release, picture) for release, picture in made]
    failed = Ran(0.0, 1.0, "", "", error="away")
    assert mixed(pictures_of([*ran, failed])) == expected
