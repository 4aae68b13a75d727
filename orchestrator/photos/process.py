"""A decoder process and its protocol."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import msgspec

from orchestrator.ports import Unavailable

START_SECONDS = 30.0
"""Seconds that a decoder may take to start. On an idle machine it takes about 0.2 s."""
ENDING_SECONDS = 2.0
MAX_ANSWER = 2**25
"""Bytes of an answer. No JPEG of 2048 × 2048 is as large; a decoder that sends more has been taken over."""
MAX_SIDE = 2048
"""The longest side of the photos that decoders make, in pixels."""
_PIECE = 64 * 1024
_STDERR_KEPT = 2048
_ROOT = Path(__file__).resolve().parents[2]


Side = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIDE)]


SourceType = Annotated[str, msgspec.Meta(pattern="^[A-Za-z]{0,60}$")]


class Answer(msgspec.Struct):
    """A decoder's, beside the file that it sends."""

    ok: bool
    width: Side = 0
    height: Side = 0
    code: str = ""
    detail: str = ""
    source_type: SourceType = ""
    """What the picture, or what its manifests say where it comes from: the end of a term of IPTC's vocabulary."""
    credentialed: bool = False
    """Whether the picture seems to carry C2PA manifests."""


class Wanted(IntEnum):
    """What a decoder is to make of a picture."""

    PICTURE = 0
    MANIFESTS = 1


class Limits(msgspec.Struct, frozen=True):
    """The limits of a decoder for one picture: pixels, bytes of address space, and seconds of processor time.

    ``sandbox`` is "require" or "prefer": with "prefer" a decoder that cannot filter its system calls serves too.
    """

    max_pixels: int
    memory: int
    cpu_seconds: float
    sandbox: str = "prefer"


class DecoderDied(Exception):
    """A decoder ended before it answered. ``status`` is its exit status, negative for a signal; ``begun``: it had
    received the whole picture."""

    def __init__(self, status: int, begun: bool) -> None:
        super().__init__(f"a decoder ended with status {status}")
        self.status, self.begun = status, begun

    @property
    def took_too_long(self) -> bool:
        return self.status == -signal.SIGPROF

    @property
    def by_others(self) -> bool:
        """Whether it was killed from outside: by an operator, or by the system for lack of memory."""
        return self.status in (-signal.SIGKILL, -signal.SIGTERM)


class _Nonsense(Exception):
    """A decoder sent something that is not an answer: a picture's code may run in it."""


class Decoder:
    """A decoder process, for one picture at a time. Await ``stop`` at the end."""

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
        """The part of its sandbox that this machine does not offer, in words; empty for none."""
        self.dismissed = False
        """Whether it was ended on purpose."""

    @classmethod
    async def start(cls, limits: Limits) -> Decoder:
        """Start a decoder; returns when it is warm. Raises Unavailable."""
        # It gets a new environment, because it needs no keys and passwords. Arenas of the threads of libraries would
        # use up its address space.
        environment = {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        arguments = (str(value) for value in msgspec.structs.astuple(limits))
        creating = asyncio.ensure_future(asyncio.create_subprocess_exec(
            sys.executable, "-Ps", "-m", "orchestrator.photos.decoder", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment, cwd="/", start_new_session=True,
        ))  # fmt: skip
        try:
            process = await asyncio.shield(creating)
        except OSError as error:
            raise Unavailable(f"a decoder could not be started: {error.strerror}") from error
        except asyncio.CancelledError:
            # A creation that is cancelled may leave its process running, of which nobody knows.
            with contextlib.suppress(OSError):
                await cls(await creating).stop()
            raise
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

    async def decode(
        self, data: bytes | bytearray, pixels: int, wanted: Wanted = Wanted.PICTURE
    ) -> tuple[Answer, bytes]:
        """Send a file to the decoder; returns its answer, and the JPEG or the archive of the manifests, which is empty
        for a refused picture.

        ``pixels`` is what the file's header states; a picture that has more is refused. Raises DecoderDied.
        """
        async with self._at_work:
            self.pictures += 1
            self._received = False
            try:
                self._stdin.write(struct.pack(">BII", wanted, pixels, len(data)))
                # In pieces, because the pipe's buffer would become a second copy of the whole file.
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
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _Nonsense from None

    async def complaints(self) -> str:
        """Wait for its end. Returns the last bytes that it wrote to standard error, as text."""
        kept = b""
        while piece := await self._stderr.read(_PIECE):
            kept = (kept + piece)[-_STDERR_KEPT:]
        return kept.decode("utf-8", "replace")

    async def stop(self) -> int:
        """End it if it is running, and close its pipes. Returns its exit status."""
        self._stdin.close()
        # Do not kill a process that is ending by itself: others wait for its own exit status.
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
            # asyncio waits for the end of a process until its pipes are closed, so read what is left in them.
            while await self._stdout.read(_PIECE) or await self._stderr.read(_PIECE):
                pass
        return await self._process.wait()
