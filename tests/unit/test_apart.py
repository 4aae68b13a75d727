"""Work in a process of its own: results, errors and ends."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from export.graphs.apart import ProcessDied, apart


def double(value: int) -> int:
    if value < 0:
        raise ValueError("must not be negative")
    return 2 * value


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stay() -> None:
    time.sleep(60)


def test_it_gives_what_the_work_returns_or_raises() -> None:
    assert apart(double, 21) == 42
    with pytest.raises(ValueError, match=r"^must not be negative") as raised:
        apart(double, -1)
    assert any("in double" in note for note in raised.value.__notes__)


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(ProcessDied, match="the process of die died"):
        apart(die)


def test_ctrl_c_ends_the_process_at_once() -> None:
    threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        apart(stay)
    assert time.monotonic() - begun < 30
