"""Programs that a signal stops, although the process that started the tests ignores it (``nohup make test &``)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dollhouse.train.processes import Part, run_lanes
from stack.process import Part as StackPart
from stack.process import Process
from stack.terminal import ending_on_signals

ROOT = Path(__file__).parents[2]
IGNORABLE = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
IGNORED = (
    f"import signal; print([n for n in {[*map(int, IGNORABLE)]} if signal.getsignal(n) == signal.SIG_IGN])"
)


def ignore_all() -> None:
    for number in IGNORABLE:
        signal.signal(number, signal.SIG_IGN)


def test_children_of_a_test_ignore_nothing() -> None:
    ran = subprocess.run([sys.executable, "-c", IGNORED], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_that_holds_where_pytest_ignores_them() -> None:
    test = f"{Path(__file__).relative_to(ROOT)}::{test_children_of_a_test_ignore_nothing.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    done = subprocess.run(
        command, cwd=ROOT, preexec_fn=ignore_all, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_parts_of_a_training_ignore_nothing(tmp_path: Path) -> None:
    part = Part("part", [sys.executable, "-c", IGNORED], tmp_path / "log", lambda: "")
    before = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORABLE}
    try:
        run_lanes([[part]], {}, lambda line: None)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert part.log.read_text() == "[]\n"


def test_parts_of_the_stack_ignore_nothing(tmp_path: Path) -> None:
    """Their guard handles these signals, which puts the defaults back for the command that it starts."""
    part = StackPart(name="part", command=[sys.executable, "-c", IGNORED], ready=lambda: True)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORABLE}
    try:
        process = Process(part, tmp_path / "log")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    end = time.monotonic() + 20
    while process.exit_status is None:
        assert time.monotonic() < end, "it did not end"
        time.sleep(0.01)
    process.stop()
    assert process.log.read_text() == "[]\n"


def test_a_training_under_nohup_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_on_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    with pytest.raises(KeyboardInterrupt), ending_on_signals():
        signal.raise_signal(signal.SIGHUP)
