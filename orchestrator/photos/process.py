"""One decoder process, and what is said to it and heard from it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Annotated

import msgspec

from orchestrator.ports import Unavailable

START_SECONDS = 30.0
"""A decoder starts in about 0.2 s on an idle machine."""
ENDING_SECONDS = 2.0
MAX_ANSWER = 2**25
"""Bytes. No JPEG of 2048 × 2048 is as large; a decoder that sends more has been taken over."""
MAX_SIDE = 2048
"""Of the photos that decoders make, in pixels."""
_PIECE = 64 * 1024
_STDERR_KEPT = 2048
_ROOT = Path(__file__).resolve().parents[2]


Side = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIDE)]


class Answer(msgspec.Struct):
    ok: bool
    width: Side = 0
    height: Side = 0
    code: str = ""
    detail: str = ""


class Limits(msgspec.Struct, frozen=True):
    """What a decoder may use for one picture: memory in bytes of address space, seconds of processor time.

    ``sandbox`` is "require" or "prefer": whether one that cannot filter its system calls may serve.
    """

    max_pixels: int
    memory: int
    cpu_seconds: float
    sandbox: str = "prefer"


class DecoderDied(Exception):
    """``status`` as a process's: negative for a signal. ``begun``: it had the picture when it died."""

    def __init__(self, status: int, begun: bool) -> None:
        super().__init__(f"a decoder ended with status {status}")
        self.status, self.begun = status, begun

    @property
    def took_too_long(self) -> bool:
        return self.status == -signal.SIGPROF

    @property
    def by_others(self) -> bool:
        """Killed from outside: by an operator, or by the system for lack of memory."""
        return self.status in (-signal.SIGKILL, -signal.SIGTERM)


class _Nonsense(Exception):
    """A decoder's answer is none: a stranger's code may run in it."""


class Decoder:
    """One process, for one picture at a time. ``stop`` must be awaited in the end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._at_work = asyncio.Lock()
        self._received = False
        self.pictures = 0
        self.missing = ""
        """What of its sandbox cannot be had on this machine, in words."""
        self.dismissed = False
        """Whether it was ended on purpose."""

    @classmethod
    async def start(cls, limits: Limits) -> Decoder:
        """Returns when it is warm; raises Unavailable."""
        # Its environment is made from nothing: it has no use for keys and passwords.
        environment = {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"}
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        arguments = (str(value) for value in msgspec.structs.astuple(limits))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-Ps", "-m", "orchestrator.photos.decoder", *arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=environment, cwd="/", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(f"a decoder could not be started: {error.strerror}") from error
        decoder = cls(process)
        try:
            async with asyncio.timeout(START_SECONDS):
                decoder.missing = (await decoder._answer())[0].detail
        except (TimeoutError, EOFError, ConnectionError, _Nonsense):
            decoder.kill()
            complaints = (await decoder.complaints()).strip().rpartition("\n")[2] or "it does not answer"
            await decoder.stop()
            raise Unavailable(f"a decoder could not be started: {complaints}") from None
        except BaseException:
            await decoder.stop()
            raise
        return decoder

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def kill(self) -> None:
        if self.alive:
            self.dismissed = True
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def decode(self, data: bytes | bytearray, pixels: int) -> tuple[Answer, bytes]:
        """Raises DecoderDied."""
        async with self._at_work:
            self.pictures += 1
            self._received = False
            try:
                self._stdin.write(struct.pack(">II", pixels, len(data)))
                # In pieces, since the pipe's buffer would become a second copy of the whole.
                for start in range(0, len(data), _PIECE):
                    self._stdin.write(data[start : start + _PIECE])
                    await self._stdin.drain()
                return await self._answer()
            except _Nonsense:
                self.kill()
                await self._process.wait()
                raise DecoderDied(-signal.SIGABRT, self._received) from None
            except (EOFError, ConnectionError):
                raise DecoderDied(await self._process.wait(), self._received) from None

    async def _answer(self) -> tuple[Answer, bytes]:
        await self._stdout.readexactly(1)
        self._received = True
        parts = []
        for _ in range(2):
            (length,) = struct.unpack(">I", await self._stdout.readexactly(4))
            if length > MAX_ANSWER:
                raise _Nonsense
            parts.append(await self._stdout.readexactly(length))
        try:
            return msgspec.json.decode(parts[0], type=Answer), parts[1]
        except msgspec.DecodeError:
            raise _Nonsense from None

    async def complaints(self) -> str:
        """Waits for its end; what it wrote to standard error last."""
        kept = b""
        while piece := await self._stderr.read(_PIECE):
            kept = (kept + piece)[-_STDERR_KEPT:]
        return kept.decode("utf-8", "replace")

    async def stop(self) -> int:
        """Ends it if need be, closes its pipes and gives its status."""
        self._stdin.close()
        # One that is ending by itself is left alone: a kill could take its status from those who wait for it.
        if not self._stderr.at_eof():
            self.kill()
        try:
            async with asyncio.timeout(ENDING_SECONDS):
                return await self._rest()
        except TimeoutError:
            self.kill()
            return await self._rest()

    async def _rest(self) -> int:
        async with self._at_work:
            # A pipe that was left half read would stay open, and the process be waited for in vain.
            while await self._stdout.read(_PIECE) or await self._stderr.read(_PIECE):
                pass
        return await self._process.wait()
