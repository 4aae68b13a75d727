"""Programs that a signal stops, also when what started all of this ignores it (``nohup make test &``)."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dollhouse.train.processes import Part, run_lanes
from stack.process import Part as StackPart
from stack.process import Process
from stack.terminal import ending_on_signals
from tests.support.programs import ran

ROOT = Path(__file__).parents[2]
IGNORABLE = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
IGNORED = (
    f"import signal; print([n for n in {[*map(int, IGNORABLE)]} if signal.getsignal(n) == signal.SIG_IGN])"
)


def ignore_all() -> None:
    for number in IGNORABLE:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def ignoring(*numbers: signal.Signals) -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_children_of_a_test_ignore_nothing() -> None:
    assert ran(sys.executable, "-c", IGNORED).stdout == "[]\n"


def test_that_holds_where_pytest_ignores_them() -> None:
    test = f"{Path(__file__).relative_to(ROOT)}::{test_children_of_a_test_ignore_nothing.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    done = ran(*command, cwd=ROOT, preexec_fn=ignore_all)
    assert done.returncode == 0, done.stdout


def test_parts_of_a_training_ignore_nothing(tmp_path: Path) -> None:
    part = Part("part", [sys.executable, "-c", IGNORED], tmp_path / "log", lambda: "")
    with ignoring(*IGNORABLE):
        run_lanes([[part]], {}, lambda line: None)
    assert part.log.read_text() == "[]\n"


def test_parts_of_the_stack_ignore_nothing(tmp_path: Path) -> None:
    """Their guard handles these signals, which puts the defaults back for the command that it starts."""
    part = StackPart(name="part", command=[sys.executable, "-c", IGNORED], ready=lambda: True)
    with ignoring(*IGNORABLE):
        process = Process(part, tmp_path / "log")
    end = time.monotonic() + 20
    while process.exit_status is None:
        assert time.monotonic() < end, "it did not end"
        time.sleep(0.01)
    process.stop()
    assert process.log.read_text() == "[]\n"


def test_a_training_under_nohup_outlives_its_terminal() -> None:
    with ignoring(signal.SIGHUP), ending_on_signals():
        signal.raise_signal(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt), ending_on_signals():
        signal.raise_signal(signal.SIGHUP)
