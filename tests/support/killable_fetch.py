"""Runs transfers in processes that are killed: ``python -m tests.support.killable_fetch``.

It loads everything once; then each line on standard input, a JSON list, makes a process of its own by fork, and the
answer is a line with its process id. A line is [kind, source, target, version, kill_at]: the process kills itself at
its kill_at-th operation on files, 0 = never. When it has ended, a line with its exit status follows, and the number of
operations that it counted, or -1.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path

from export.releases.places.folder import FolderPlace
from export.releases.places.opening import open_place
from export.releases.places.port import Place
from export.releases.transfer import fetch, push

COUNTED = {
    "open",
    "os.rename",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "socket.connect",
    "fcntl.flock",
}


class Counter:
    """Counts operations, and ends the process at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.counted, self._kill_at = 0, kill_at

    def count(self, event: str, _: object) -> None:
        """An audit hook."""
        if event in COUNTED:
            self.counted += 1
            if self.counted == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Serve until standard input ends."""
    # A kill is no power cut: what a process wrote stays. Waiting for disks would be most of a test's time.
    os.fsync = lambda fd: None
    places: dict[str, Place] = {}
    for line in sys.stdin:
        kind, source, target, version, kill_at = json.loads(line)
        remote = source if kind == "fetch" else target
        # Opened here, once, since that takes much longer than a fork.
        place = places.setdefault(remote, open_place(remote))
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            counter = Counter(kill_at)
            sys.addaudithook(counter.count)
            try:
                if kind == "fetch":
                    fetch(place, FolderPlace(Path(target)), version)
                else:
                    push(FolderPlace(Path(source)), place, version)
                os.write(writer, str(counter.counted).encode())
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        print(child, flush=True)
        os.close(writer)
        with os.fdopen(reader) as stream:
            counts = stream.read() or "-1"
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), counts, flush=True)


if __name__ == "__main__":
    main()
