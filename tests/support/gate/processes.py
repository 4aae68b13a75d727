"""Looks at decoder processes through /proc."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Process:
    pid: int

    @property
    def folder(self) -> Path:
        return Path(f"/proc/{self.pid}")

    @property
    def state(self) -> str:
        """R, S, D, T, Z and so on; empty when it is gone."""
        return self._stat(0)

    @property
    def cpu_seconds(self) -> float:
        ticks = int(self._stat(11) or 0) + int(self._stat(12) or 0)
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def arguments(self) -> list[str]:
        return self._read("cmdline").split("\0")

    def status(self, name: str) -> int:
        """A number of /proc/PID/status, such as VmRSS in kB."""
        return int(self._read("status").split(f"{name}:")[1].split()[0], 16 if name.startswith("Cap") else 10)

    def children(self) -> list[Process]:
        return [Process(int(pid)) for pid in self._read(f"task/{self.pid}/children").split()]

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    def _stat(self, index: int) -> str:
        text = self._read("stat")
        return text.rpartition(")")[2].split()[index] if text else ""

    def _read(self, name: str) -> str:
        try:
            return (self.folder / name).read_text()
        except (FileNotFoundError, ProcessLookupError):
            return ""


def decoders() -> list[Process]:
    """This process's decoders, zombies included."""
    children = Process(os.getpid()).children()
    return [
        child for child in children if child.state == "Z" or "orchestrator.photos.decoder" in child.arguments
    ]


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Watch:
    """Tells which of the decoders that are warm now works on a picture."""

    def __init__(self) -> None:
        self._before = {process: process.cpu_seconds for process in decoders()}

    async def busy(self, upload: asyncio.Future[Any]) -> Process:
        """The one that does, as soon as it shows; not one that was given before."""

        def found() -> list[Process]:
            assert not upload.done(), "it was over too soon"
            return [one for one, before in self._before.items() if one.cpu_seconds > before + 0.02]

        await until(lambda: bool(found()))
        process = found()[0]
        del self._before[process]
        return process
