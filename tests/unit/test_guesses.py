"""Guesses of administrators' keys are slowed down, for each address by itself."""

from __future__ import annotations

from orchestrator.api.middleware import guesses
from orchestrator.api.middleware.guesses import WRONG_PER_HOUR, WRONG_PER_MINUTE, Guesses
from tests.support.clock import Clock


def wrong(slow: Guesses, times: int, address: str | None = "203.0.113.9") -> None:
    for _ in range(times):
        slow.note(address)


def test_ten_wrong_keys_a_minute() -> None:
    clock = Clock()
    slow = Guesses(clock)
    wrong(slow, WRONG_PER_MINUTE - 1)
    assert slow.seconds_left("203.0.113.9") == 0
    clock.now += 20
    wrong(slow, 1)
    assert slow.seconds_left("203.0.113.9") == 40
    assert slow.seconds_left("203.0.113.10") == 0
    clock.now += 41
    assert slow.seconds_left("203.0.113.9") == 0


def test_and_sixty_an_hour() -> None:
    clock = Clock()
    slow = Guesses(clock)
    for _ in range(WRONG_PER_HOUR // WRONG_PER_MINUTE):
        assert slow.seconds_left("203.0.113.9") == 0
        wrong(slow, WRONG_PER_MINUTE)
        clock.now += 61
    assert slow.seconds_left("203.0.113.9") == 3600 - 6 * 61
    clock.now += 3600
    assert slow.seconds_left("203.0.113.9") == 0


def test_a_proxy_that_names_no_client_is_not_slowed() -> None:
    slow = Guesses(Clock())
    wrong(slow, 1000, None)
    assert slow.seconds_left(None) == 0


def test_no_more_addresses_are_remembered_than_there_is_room_for() -> None:
    slow = Guesses(Clock())
    for number in range(guesses.MOST_ADDRESSES + 5):
        slow.note(f"address {number}")
    assert len(slow._wrong) == guesses.MOST_ADDRESSES
    assert "address 0" not in slow._wrong
