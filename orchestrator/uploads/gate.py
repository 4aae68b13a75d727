"""From a stranger's bytes to a photo that the rest of the service can trust."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from pathlib import Path

import msgspec

from orchestrator.ports import Unavailable

DECODE_SECONDS = 20.0
"""A photo at the limits takes about 2 s; a picture made to be slow is stopped here."""
_PIECE = 64 * 1024
_SCRIPT = Path(__file__).with_name("decoder.py")


class Photo(msgspec.Struct, frozen=True):
    """An upright sRGB JPEG without metadata; width and height in pixels, at most 2048 each."""

    jpeg: bytes
    width: int
    height: int


class PhotoRejected(Exception):
    """The upload is not taken: ``code`` is empty_file, unsupported_image, broken_image, animated_image,
    image_too_large, image_too_small or image_too_narrow; ``detail`` is a sentence for the user."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class _Answer(msgspec.Struct):
    ok: bool
    width: int = 0
    height: int = 0
    code: str = ""
    detail: str = ""


class _Decoder:
    """One warm decoder process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, max_pixels: int) -> _Decoder:
        # Pixels are held up to three times at four bytes while they are converted.
        memory = 512 * 2**20 + 16 * max_pixels
        arguments = (str(value) for value in (max_pixels, memory, int(DECODE_SECONDS)))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(_SCRIPT), *arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(f"a decoder could not be started: {error.strerror}") from error
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def decode(self, data: bytes | bytearray) -> tuple[_Answer, bytes]:
        """Raises EOFError or ConnectionError when the process died over it."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(struct.pack(">I", len(data)))
        # In pieces, since the pipe's buffer would become a second copy of the whole.
        for start in range(0, len(data), _PIECE):
            stdin.write(data[start : start + _PIECE])
            await stdin.drain()
        parts = []
        for _ in range(2):
            (length,) = struct.unpack(">I", await stdout.readexactly(4))
            parts.append(await stdout.readexactly(length))
        return msgspec.json.decode(parts[0], type=_Answer), parts[1]

    async def stop(self) -> None:
        if self.alive:
            self._process.kill()
        await self._process.wait()


class PhotoGate:
    """Checks and normalises uploads in a few warm processes of bounded memory and time.

    Open it as an async context manager. ``max_pixels`` limits width × height, ``seconds`` the
    time for one picture.
    """

    def __init__(
        self, max_pixels: int, processes: int | None = None, seconds: float = DECODE_SECONDS
    ) -> None:
        self._max_pixels, self._seconds = max_pixels, seconds
        self._slots = asyncio.Semaphore(processes or min(4, os.cpu_count() or 1))
        self._idle: list[_Decoder] = []

    async def __aenter__(self) -> PhotoGate:
        self._idle.append(await _Decoder.start(self._max_pixels))
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._idle:
            await self._idle.pop().stop()

    async def accept(self, data: bytes | bytearray) -> Photo:
        """The normalised photo; raises PhotoRejected, or Unavailable when no decoder can be started."""
        if not data:
            raise PhotoRejected("empty_file", "the file is empty")
        if not _looks_like_a_picture(data):
            raise PhotoRejected("unsupported_image", "the file is not a JPEG, PNG or WebP picture")
        async with self._slots:
            answer, jpeg = await self._decode(data)
        if not answer.ok:
            raise PhotoRejected(answer.code, answer.detail)
        return Photo(jpeg, answer.width, answer.height)

    async def _decode(self, data: bytes | bytearray) -> tuple[_Answer, bytes]:
        decoder = await self._take()
        finished = False
        try:
            async with asyncio.timeout(self._seconds):
                result = await decoder.decode(data)
            finished = True
            return result
        except (TimeoutError, EOFError, ConnectionError):
            raise PhotoRejected("broken_image", "the picture takes too much time or memory to read") from None
        finally:
            # One that was interrupted still has an answer under way and cannot be used again.
            if finished:
                self._idle.append(decoder)
            else:
                await asyncio.shield(decoder.stop())

    async def _take(self) -> _Decoder:
        while self._idle:
            decoder = self._idle.pop()
            if decoder.alive:
                return decoder
        return await _Decoder.start(self._max_pixels)


def _looks_like_a_picture(data: bytes | bytearray) -> bool:
    jpeg, png = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
    return data.startswith((jpeg, png)) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
