"""Parts that run together: started, watched, started again when they crash, and stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from stack.process import Part, Process, StackError, describe, retry_taken_ports
from stack.terminal import Report, report

FAILURES_ALLOWED = 3
"""A part that has ended this often with an error of its own, and has never run well, cannot run here: its settings may
be wrong."""

WELL_SECONDS = 5.0
"""A part that has served this long runs well: its next crash counts as the first again."""

FIRST_RESTART_SECONDS, LAST_RESTART_SECONDS = 0.5, 5.0
"""How long the first restart waits; each further one twice as long, up to the last. That is short, since a part that
could serve should not keep its users waiting, and starting one every five seconds is no load."""

POLL_SECONDS = 0.1


class Supervised:
    """One part that check() starts again when it has ended by itself, after a longer wait each time."""

    def __init__(self, part: Part, log: Path, report: Report) -> None:
        self.part, self._log, self._report = part, log, report
        self._crashes = 0
        """In a row, without having run well between them."""
        self._failures = 0
        """How often it ended with an error of its own."""
        self._proved = False
        """Whether it has ever run well."""
        self._restart_at = 0.0
        self._ready_since = 0.0
        self._down_since = time.monotonic()
        self._why = ""
        self.process = Process(part, log)

    def starting(self) -> bool:
        """Whether it does not serve yet. Raises StackError when it will not."""
        if not self._ready_since and self.process.ready():
            self._ready_since = time.monotonic()
        return not self._ready_since

    def check(self) -> None:
        """See whether it runs, and start it again if it does not; does not block for long.

        Raises StackError when it has failed from the start on.
        """
        try:
            if self._restart_at:
                self._start_again()
            elif (status := self.process.exit_status) is not None:
                self._failures += 0 < status < 128
                raise StackError(f"{self.part.name} {describe(status)}\n{self.process.tail()}")
            elif self._ready_since:
                self._runs_on()
            elif not self.starting():
                self._report(f"{self.part.name} runs again")
        except (StackError, OSError) as error:
            # OSError: no memory for a process, a log that was deleted. The rest goes on serving.
            self._crashed(str(error))

    def missing(self, seconds: float) -> str:
        """Why it is down, if it served before and has been down for more than ``seconds``; else an empty string."""
        down = not self._ready_since and time.monotonic() - self._down_since > seconds
        return self._why if down else ""

    def _start_again(self) -> None:
        if time.monotonic() >= self._restart_at:
            self._restart_at = 0.0
            self.process = Process(self.part, self._log)

    def _runs_on(self) -> None:
        if time.monotonic() - self._ready_since >= WELL_SECONDS:
            self._crashes, self._proved = 0, True

    def _crashed(self, why: str) -> None:
        self.process.stop()
        self._crashes += 1
        if self._ready_since:
            self._ready_since, self._down_since = 0.0, time.monotonic()
        self._why = why
        what, _, log = why.partition("\n")
        if self._failures >= FAILURES_ALLOWED and not self._proved:
            raise StackError(f"{what}, {self._failures} times since the start: giving up\n{log}")
        # The exponent is bounded too: a part may crash for weeks.
        delay = min(FIRST_RESTART_SECONDS * 2 ** min(self._crashes - 1, 16), LAST_RESTART_SECONDS)
        self._report(f"{what}; starting it again in {delay:g} s\n{log}")
        self._restart_at = time.monotonic() + delay


class Supervisor:
    """Parts that serve together, for the length of a ``with`` block.

    ``make_parts`` is asked again when a port that it chose was taken meanwhile. Logs are ``logs``/<part>.log.
    """

    def __init__(self, make_parts: Callable[[], Iterable[Part]], logs: Path, report: Report = report) -> None:
        self._make_parts, self.logs, self._report = make_parts, logs, report
        self._supervised: list[Supervised] = []

    def start(self) -> Self:
        """Start all parts; returns when each is ready. Raises StackError, having stopped what was started."""
        try:
            retry_taken_ports(self._start)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        self.stop()
        for part in self._make_parts():
            self._supervised.append(Supervised(part, self.logs / f"{part.name}.log", self._report))
        waiting = self._supervised
        while waiting := [each for each in waiting if each.starting()]:
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Look after every part once. Raises StackError when one has failed from the start on."""
        for each in self._supervised:
            each.check()

    def watch(self, until: threading.Event | None = None, *, patience: float | None = None) -> None:
        """Look after every part until ``until`` is set, or for ever.

        Raises StackError as :meth:`check` does, and when a part was down for ``patience`` seconds.
        """
        while not (until is not None and until.is_set()):
            self.check()
            for each in self._supervised:
                if patience is not None and (why := each.missing(patience)):
                    raise StackError(why)
            time.sleep(POLL_SECONDS)

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Within the block, a thread looks after every part, as under ``make up``. Then raises what that raised."""
        done, failures = threading.Event(), list[Exception]()

        def watch() -> None:
            try:
                self.watch(done)
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=watch, name="watch the parts")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        if failures:
            raise failures[0]

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
