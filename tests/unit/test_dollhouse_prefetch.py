"""Batches made ahead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from dollhouse.train.prefetch import Prefetch


def test_what_is_asked_for_is_made_ahead_and_once() -> None:
    made: list[tuple[int, str]] = []

    def make(step: int, key: str) -> str:
        made.append((step, key))
        return f"{step}{key}"

    with ThreadPoolExecutor(1) as pool:
        prefetch = Prefetch(make, pool, ahead=2)
        assert [prefetch(step, "a") for step in range(3)] == ["0a", "1a", "2a"]
        assert [prefetch(step, "b") for step in (3, 4)] == ["3b", "4b"]
    of_b = [step for step, key in made if key == "b"]
    assert of_b == [3, 4, 5, 6]
    assert sorted(set(made)) == sorted(made)


def test_an_error_comes_where_its_batch_is_asked_for() -> None:
    def make(step: int, key: str) -> int:
        if step == 1:
            raise OSError("no such room")
        return step

    with ThreadPoolExecutor(1) as pool:
        prefetch = Prefetch(make, pool)
        assert prefetch(0, "a") == 0
        with pytest.raises(OSError, match="no such room"):
            prefetch(1, "a")
