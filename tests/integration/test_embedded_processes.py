"""Processes of the embedded stack, with small stand-in commands: what ends, what starts again, what is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stack import supervisor
from stack.process import Part, Process, StackError
from stack.supervisor import Supervisor
from stack.terminal import ending_on_signals

SLEEPER = "import time; print('hello', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER
PARENT = """
import os, subprocess, sys, time
for detached in (False, True):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=detached)
    print(child.pid, flush=True)
time.sleep(600)
"""
STARTER = """
import sys, time
from pathlib import Path
from stack.process import Part, Process
part = Part(name="x", command=[sys.executable, "-c", sys.argv[1]], ready=lambda: True)
process = Process(part, Path(sys.argv[2]))
print(process.pid, flush=True)
time.sleep(600)
"""


def python_part(code: str, name: str = "part", stop_seconds: float = 5.0, **more: object) -> Part:
    options = {"ready": lambda: True, **more}
    return Part(name=name, command=[sys.executable, "-c", code], stop_seconds=stop_seconds, **options)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def pids_in(log: Path, count: int) -> list[int]:
    wait_for(lambda: log.exists() and len(log.read_text().split()) >= count)
    return [int(word) for word in log.read_text().split()[:count]]


def test_stop_ends_a_willing_process_at_once(tmp_path: Path) -> None:
    process = Process(python_part(SLEEPER), tmp_path / "log")
    wait_for(lambda: "hello" in (tmp_path / "log").read_text())
    begun = time.monotonic()
    assert process.stop() == 128 + signal.SIGTERM
    assert time.monotonic() - begun < 2
    assert not alive(process.pid)


def test_stop_kills_a_stubborn_process_after_its_grace(tmp_path: Path) -> None:
    process = Process(python_part(STUBBORN, stop_seconds=0.3), tmp_path / "log")
    wait_for(lambda: "hello" in (tmp_path / "log").read_text())
    assert process.stop() == 128 + signal.SIGKILL
    assert not alive(process.pid)


@pytest.mark.parametrize("how", ["stop", "kill", "drop"])
def test_descendants_end_with_the_process_even_detached_ones(tmp_path: Path, how: str) -> None:
    process = Process(python_part(PARENT), tmp_path / "log")
    children, pid = pids_in(tmp_path / "log", 2), process.pid
    assert all(map(alive, children))
    match how:
        case "stop":
            process.stop()
        case "kill":
            os.kill(pid, signal.SIGKILL)
        case "drop":
            process.ask_to_stop()
    wait_for(lambda: not any(map(alive, [pid, *children])))
    process.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_starter_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", STARTER, PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        children = pids_in(tmp_path / "log", 2)
        starter.send_signal(number)
    wait_for(lambda: not any(map(alive, [pid, *children])))


def test_exit_status_and_the_end_of_the_log_are_reported(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier run\n")
    never = python_part("print('no such thing'); raise SystemExit(3)", ready=lambda: False)
    with pytest.raises(StackError, match="part ended with status 3 while starting") as caught:
        Process(never, tmp_path / "log").wait_ready()
    assert "no such thing" in str(caught.value)
    assert "earlier" not in str(caught.value)


def test_a_process_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    process = Process(python_part(SLEEPER, ready=lambda: False, start_seconds=0.2), tmp_path / "log")
    with pytest.raises(StackError, match=r"part was not ready after 0 s"):
        process.wait_ready()
    assert not alive(process.pid)


def test_a_missing_command_is_one_sentence(tmp_path: Path) -> None:
    part = Part(name="redis", command=[tmp_path / "nothing"], ready=lambda: True)
    with pytest.raises(StackError, match=r"^redis: cannot start .*nothing: No such file or directory$"):
        Process(part, tmp_path / "log")


def test_shared_memory_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    prefix = f"reroom-test-{os.getpid()}-"
    file = Path("/dev/shm") / f"{prefix}region"
    process = Process(python_part(SLEEPER, shared_memory=prefix), tmp_path / "log")
    file.write_bytes(b"left")
    os.kill(process.pid, signal.SIGKILL)
    process.stop()
    assert not file.exists()


def test_shared_memory_is_for_its_owner_alone_once_a_part_serves(tmp_path: Path) -> None:
    """Triton's is 0644, whatever the umask."""
    prefix = f"reroom-test-{os.getpid()}-"
    file = Path("/dev/shm") / f"{prefix}region"
    file.touch()
    file.chmod(0o644)
    process = Process(python_part(SLEEPER, shared_memory=prefix), tmp_path / "log")
    process.wait_ready()
    mode = file.stat().st_mode & 0o777
    process.stop()
    assert mode == 0o600


def test_a_crashed_part_is_named_and_started_again(tmp_path: Path) -> None:
    reports: list[str] = []
    with Supervisor(
        lambda: [python_part(SLEEPER, "one"), python_part(SLEEPER, "two")], tmp_path, reports.append
    ) as stack:
        wait_for(lambda: "hello" in (tmp_path / "two.log").read_text())
        untouched, killed = stack.pid("one"), stack.pid("two")
        os.kill(killed, signal.SIGKILL)

        def runs_again() -> bool:
            stack.check()
            return reports[-1:] == ["two runs again"]

        wait_for(runs_again)
        again = stack.pid("two")
        assert again != killed
        assert alive(again)
        assert stack.pid("one") == untouched
        assert reports[0].startswith("two was ended by signal 9; starting it again in 0.5 s\n")
        assert "hello" in reports[0]
    assert not any(map(alive, [untouched, again]))


def test_a_part_that_fails_from_the_start_ends_everything(tmp_path: Path) -> None:
    reports: list[str] = []
    parts = [python_part(SLEEPER, "good"), python_part("raise SystemExit('out of luck')", "bad")]
    stack = Supervisor(lambda: parts, tmp_path, reports.append)
    with stack:
        good = stack.pid("good")
        with pytest.raises(StackError, match="bad ended with status 1, 3 times since the start") as caught:
            stack.watch()
    assert "out of luck" in str(caught.value)
    assert len([line for line in reports if "starting it again" in line]) == 2
    assert not alive(good)


MORTAL = """
import os, signal, sys, time
if os.path.exists(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(600)
"""


def test_a_part_that_keeps_crashing_waits_longer_and_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_RESTART_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "LAST_RESTART_SECONDS", 0.4)
    monkeypatch.setattr(supervisor, "WELL_SECONDS", 0.5)
    reports: list[str] = []
    deadly = tmp_path / "deadly"
    mortal = Part(name="mortal", command=[sys.executable, "-c", MORTAL, deadly], ready=lambda: True)
    done = threading.Event()
    with Supervisor(
        lambda: [python_part(SLEEPER, "good"), mortal], tmp_path / "logs", reports.append
    ) as stack:
        good = stack.pid("good")
        watching = threading.Thread(target=stack.watch, args=[done])
        watching.start()
        try:
            deadly.touch()
            os.kill(stack.pid("mortal"), signal.SIGKILL)
            wait_for(lambda: len(delays(reports)) == 5)
            deadly.unlink()
            wait_for(lambda: alive(stack.pid("mortal")))
            time.sleep(1.0)
            os.kill(stack.pid("mortal"), signal.SIGKILL)
            wait_for(lambda: len(delays(reports)) >= 6)
            assert delays(reports)[:6] == [0.1, 0.2, 0.4, 0.4, 0.4, 0.1], "it ran well in between"
            assert watching.is_alive()
            assert stack.pid("good") == good
        finally:
            done.set()
            watching.join()


def delays(reports: list[str]) -> list[float]:
    """The delay of every restart that the supervisor reported, in seconds."""
    found = (re.search(r"was ended by signal 9; starting it again in (\S+) s", line) for line in reports)
    return [float(each[1]) for each in found if each]


def test_a_watch_with_little_patience_raises_for_the_part_that_stays_down(tmp_path: Path) -> None:
    deadly = tmp_path / "deadly"
    mortal = Part(name="mortal", command=[sys.executable, "-c", MORTAL, deadly], ready=lambda: True)
    with Supervisor(lambda: [mortal], tmp_path / "logs", lambda line: None) as stack:
        deadly.touch()
        os.kill(stack.pid("mortal"), signal.SIGKILL)
        with pytest.raises(StackError, match="mortal was ended by signal 9"):
            stack.watch(patience=0.2)


def test_a_part_that_cannot_start_ends_those_that_did(tmp_path: Path) -> None:
    parts = [python_part(PARENT, "good"), python_part("raise SystemExit(7)", "bad", ready=lambda: False)]
    with pytest.raises(StackError, match="bad ended with status 7 while starting"):
        Supervisor(lambda: parts, tmp_path).start()
    log = (tmp_path / "good.log").read_text().split()
    assert not any(alive(int(pid)) for pid in log)


def test_a_signal_while_stopping_does_not_leave_half(tmp_path: Path) -> None:
    parts = [
        python_part(STUBBORN, name, stop_seconds=0.8, stop_last=name == "last") for name in ("first", "last")
    ]
    stack = Supervisor(lambda: parts, tmp_path).start()
    wait_for(lambda: all("hello" in (tmp_path / f"{part.name}.log").read_text() for part in parts))
    pids = [stack.pid(part.name) for part in parts]
    interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt), ending_on_signals():
        stack.stop()
    interrupt.join()
    assert not any(map(alive, pids))
