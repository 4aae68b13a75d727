"""The embedded backend's process yields to others while it loads, where it can become as important again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import priority

BACKEND = Path(priority.__file__).parent

LOADS = """
import os, threading
import priority
priority.load()
before = os.getpriority(os.PRIO_PROCESS, 0)
ended = threading.Event()
threading.Thread(target=ended.wait).start()  # as ONNX Runtime's are, it is started while the graph loads
priority.serve()
after = {os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir("/proc/self/task")}
ended.set()
print(before, *after)
"""


def niceness() -> list[int]:
    """While a process loads, and of its threads when it serves."""
    done = subprocess.run(
        [sys.executable, "-c", LOADS], cwd=BACKEND, capture_output=True, text=True, check=True
    )
    return [int(each) for each in done.stdout.split()]


@pytest.mark.skipif(not priority.may_return(), reason="takes root or CAP_SYS_NICE: run the tests as root")
def test_a_process_yields_while_it_loads_and_all_its_threads_serve_as_before() -> None:
    here = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness() == [max(here, priority.LOADING), here]


def test_a_process_that_could_not_return_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[object] = []
    monkeypatch.setattr(os, "setpriority", lambda *arguments: changed.append(arguments))
    monkeypatch.setattr(priority, "may_return", lambda: False)
    priority.load()
    priority.serve()
    assert changed == []
