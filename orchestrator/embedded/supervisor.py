"""Parts that run together: started, watched, started again when they crash, and stopped."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from orchestrator.embedded.process import EmbeddedError, Part, Process, describe, retry_taken_ports

CRASHES_ALLOWED = 3
CRASH_WINDOW_SECONDS = 60.0
FIRST_RESTART_SECONDS = 0.5
POLL_SECONDS = 0.1

Say = Callable[[str], None]


def say(line: str) -> None:
    """To the terminal, if that is still there: after it hung up, writing fails."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        return


class Supervised:
    """One part that is started again when it ends by itself, later and later, and not for ever."""

    def __init__(self, part: Part, log: Path, say: Say) -> None:
        self.part, self._log, self._say = part, log, say
        self._crashes: deque[float] = deque(maxlen=CRASHES_ALLOWED)
        self._restart_at = 0.0
        self._ready = False
        self.process = Process(part, log)

    def starting(self) -> bool:
        """Whether it does not serve yet. Raises EmbeddedError when it will not."""
        self._ready = self._ready or self.process.ready()
        return not self._ready

    def check(self) -> None:
        """Look after it; does not block. Raises EmbeddedError when it has crashed too often."""
        now = time.monotonic()
        if self._restart_at:
            if now >= self._restart_at:
                self._restart_at, self._ready, self.process = 0.0, False, Process(self.part, self._log)
        elif (status := self.process.exit_status) is not None:
            self._crashed(now, status)
        elif not self._ready and not self.starting():
            self._say(f"{self.part.name} runs again")

    def _crashed(self, now: float, status: int) -> None:
        self.process.stop()
        what = f"{self.part.name} {describe(status)}"
        self._crashes.append(now)
        if len(self._crashes) == CRASHES_ALLOWED and now - self._crashes[0] < CRASH_WINDOW_SECONDS:
            raise EmbeddedError(
                f"{what}, {CRASHES_ALLOWED} times within a minute: giving up\n{self.process.tail()}"
            )
        recent = sum(now - crash < CRASH_WINDOW_SECONDS for crash in self._crashes)
        delay = FIRST_RESTART_SECONDS * 4 ** (recent - 1)
        self._say(f"{what}; starting it again in {delay:g} s\n{self.process.tail()}")
        self._restart_at = now + delay


class Supervisor:
    """Parts that serve together, for the length of a ``with`` block.

    ``make_parts`` is asked again when a port that it chose was taken meanwhile. Logs are ``logs``/<part>.log.
    """

    def __init__(self, make_parts: Callable[[], Iterable[Part]], logs: Path, say: Say = say) -> None:
        self._make_parts, self.logs, self._say = make_parts, logs, say
        self._supervised: list[Supervised] = []

    def start(self) -> Self:
        """Start all parts; returns when each is ready. Raises EmbeddedError, having stopped what was started."""
        try:
            retry_taken_ports(self._start)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        self.stop()
        for part in self._make_parts():
            self._supervised.append(Supervised(part, self.logs / f"{part.name}.log", self._say))
        waiting = self._supervised
        while waiting := [each for each in waiting if each.starting()]:
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Look after every part once; does not block. Raises EmbeddedError when one has crashed too often."""
        for each in self._supervised:
            each.check()

    def watch(self, until: threading.Event | None = None) -> None:
        """Look after every part until ``until`` is set, or for ever."""
        while not (until is not None and until.is_set()):
            self.check()
            time.sleep(POLL_SECONDS)

    def pid(self, name: str) -> int:
        """The process id of a part, for tests that kill it."""
        return next(each.process.pid for each in self._supervised if each.part.name == name)

    def stop(self) -> None:
        """Stop everything, users before what they use; returns when nothing is left."""
        try:
            self._stop()
        except (
            KeyboardInterrupt
        ):  # the one of ending_on_signals, or an impatient user's: it must not leave half
            self._stop()
            raise

    def _stop(self) -> None:
        for last in (False, True):
            processes = [each.process for each in self._supervised if each.part.stop_last == last]
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                process.stop()
        self._supervised = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Within the block, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt once; what follows is ignored.

    A hang-up is ignored where it already was (nohup).
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, lambda *_: None)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
