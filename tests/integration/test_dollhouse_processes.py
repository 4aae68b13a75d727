"""Parts of a long run: side by side, in order, and none stays when the run ends before its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dollhouse.train.processes import Part, run_lanes
from dollhouse.train.progress import last_line
from stack.process import StackError

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
"""How long anything may take."""

WAIT_FOR = """
import sys, time
from pathlib import Path
mine, others = map(Path, sys.argv[1:])
mine.touch()
deadline = time.monotonic() + 30
while not others.exists():
    assert time.monotonic() < deadline, f"{others.name} never came"
    time.sleep(0.01)
"""
WITH_CHILD = """
import signal, subprocess, sys, time
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
STARTER = """
import sys
from pathlib import Path
from dollhouse.train import processes
from dollhouse.train.processes import Part, run_lanes
from stack.terminal import ending_on_signals
processes.GRACE_SECONDS = 1.0
parts = [
    Part(name, [sys.executable, "-c", sys.argv[1], name], Path(sys.argv[2]) / f"{name}.log", str)
    for name in ("meek", "stubborn")
]
try:
    with ending_on_signals():
        run_lanes([[part] for part in parts], {}, print)
except KeyboardInterrupt:
    sys.exit(130)
"""


def until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline, f"not within {SECONDS:.0f} s: {what}"
        time.sleep(0.02)


def processes_with(mark: Path) -> list[str]:
    """Command lines of running processes that have ``mark`` in their arguments or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue  # it has ended meanwhile, or is another user's
        if state != "Z" and str(mark).encode() in words:
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def part(name: str, code: str, folder: Path, *arguments: str | Path) -> Part:
    log = folder / f"{name}.log"
    return Part(name, [sys.executable, "-c", code, *map(str, arguments)], log, lambda: last_line(log))


def test_lanes_run_side_by_side_and_their_parts_in_order(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    code = "import os; print(os.environ['OMP_NUM_THREADS'])"
    lanes = [
        [part("a", WAIT_FOR, tmp_path, one, other), part("b", code, tmp_path)],
        [part("c", WAIT_FOR, tmp_path, other, one)],
    ]
    lines: list[str] = []
    run_lanes(lanes, {"OMP_NUM_THREADS": "7"}, lines.append)
    assert sorted(lines) == ["a: done", "b: done", "c: done"]
    assert lines.index("a: done") < lines.index("b: done")
    assert (tmp_path / "b.log").read_text() == "7\n"


def test_the_progress_of_a_part_is_reported(tmp_path: Path) -> None:
    code = "import time; print('shard 1 of 2', flush=True); time.sleep(1)"
    lines: list[str] = []
    run_lanes([[part("render", code, tmp_path)]], {}, lines.append, report_seconds=0.2)
    assert "render: shard 1 of 2" in lines


def test_a_part_that_fails_ends_the_others_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.log").write_text("a line of an earlier run\n")
    other = tmp_path / "other.log"
    bad = part(
        "bad",
        "import sys, time; from pathlib import Path\n"
        "while not Path(sys.argv[1]).read_text(): time.sleep(0.01)\n"
        "sys.exit('no space left')",
        tmp_path,
        other,
    )
    other.touch()
    lanes = [[bad, part("never", "1/0", tmp_path)], [part("other", WITH_CHILD, tmp_path, "meek")]]
    mark = {"TEST_MARK": str(tmp_path)}
    with pytest.raises(StackError) as caught:
        run_lanes(lanes, mark, lambda line: None)
    assert str(caught.value) == f"bad ended with status 1: no space left (its log: {tmp_path / 'bad.log'})"
    until(lambda: not processes_with(tmp_path), "the other part and its child end")
    assert not (tmp_path / "never.log").exists()


def test_a_part_that_is_killed_is_named(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(StackError, match=r"^hungry was ended by signal 9: it printed nothing"):
        run_lanes([[part("hungry", code, tmp_path)]], {}, lambda line: None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_parts_and_their_children(tmp_path: Path, number: signal.Signals) -> None:
    starter = [sys.executable, "-c", STARTER, WITH_CHILD, str(tmp_path)]
    logs = [tmp_path / "meek.log", tmp_path / "stubborn.log"]
    with subprocess.Popen(starter, cwd=ROOT, env={**os.environ, "TEST_MARK": str(tmp_path)}) as process:
        until(lambda: all(log.exists() and log.read_text() for log in logs), "both parts run")
        # The starter, two parts and their children; the guards' environments are for root alone.
        assert len([line for line in processes_with(tmp_path) if "guard.py" not in line]) == 5
        process.send_signal(number)
        time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(SECONDS) == 130
    until(lambda: not processes_with(tmp_path), "no orphan")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_command_leaves_no_renderer_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Even when it is killed: its renderer is a pool, whose workers would wait for ever."""
    options = ["--run", str(tmp_path), "--rooms", "64", "--side", "16", "--skip-export"]
    with subprocess.Popen(
        [sys.executable, "-m", "dollhouse", *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TEST_MARK": str(tmp_path)},
    ) as process:
        until(lambda: sum("spawn_main" in line for line in processes_with(tmp_path)) >= 1, "a worker renders")
        process.send_signal(number)
        output, _ = process.communicate(timeout=SECONDS)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert output.splitlines()[-1].endswith("interrupted: run it again and it goes on")
    until(lambda: not processes_with(tmp_path), "no orphan")
