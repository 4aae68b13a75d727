"""Turns untrusted bytes into a photo that the rest of the service can trust."""

from __future__ import annotations

import asyncio
import os
from typing import Literal

import msgspec

from orchestrator.domain.codes import ProblemCode
from orchestrator.photos.kinds import is_accepted, refusal
from orchestrator.photos.pool import DecoderPool
from orchestrator.photos.process import Answer, DecoderDied, Limits
from orchestrator.ports import Unavailable
from orchestrator.telemetry import metrics, tracing

DECODE_SECONDS = 8.0
"""Processor seconds of a picture. A photo at the limits takes about 2 s; a picture that is made to be slow is
stopped."""
HANG_SECONDS = 15.0
"""The most seconds of a picture by the clock; more than DECODE_SECONDS, since other work may use the processors."""
MEMORY = 256 * 2**20
"""Bytes of a decoder beside the pixels: Python, the libraries, and a few copies of the upload."""
MEMORY_A_PIXEL = 20
"""Bytes of a decoder for each pixel. A WebP with alpha needs 18, a PNG 13, a progressive JPEG 8."""
TRIES = 8
"""How often a picture is tried when its decoders are killed from outside."""
PROCESSES = min(4, len(os.sched_getaffinity(0)))
"""The number of pictures that this machine decodes at once."""
PATIENCE = 10.0
"""Seconds that an upload waits for its turn."""
ANSWER_SECONDS = 20.0
"""Seconds for all tries together: the API's answers come within 25 s."""


class Photo(msgspec.Struct, frozen=True):
    """An upright sRGB JPEG without metadata; width and height in pixels, at most 2048 each."""

    jpeg: bytes
    width: int
    height: int


class PhotoRejected(Exception):
    """The upload is refused. ``detail`` is a sentence for the user with what to do; ``field`` names the form's
    field."""

    def __init__(self, code: ProblemCode, detail: str, field: str = "file") -> None:
        super().__init__(detail)
        self.code, self.detail, self.field = code, detail, field


class PhotoGate:
    """Checks and normalises uploads in a few warm processes with limits of memory and time.

    Their code is ``photos.decoder``: ``limits`` has the rules for sides and shapes, ``picture`` the steps.

    Open it as an async context manager; it raises Unavailable when decoders cannot be started. ``max_pixels``
    limits width × height. At most ``processes`` photos are decoded at once, and one giant beside them, each with
    ``memory`` bytes of address space, for ``seconds`` of processor time and ``hang_seconds`` by the clock. An upload
    waits ``patience`` seconds for its turn. With ``sandbox`` "require", decoders do not start where system calls
    cannot be filtered; with "prefer" a warning is logged.
    """

    def __init__(
        self,
        max_pixels: int,
        processes: int = PROCESSES,
        seconds: float = DECODE_SECONDS,
        hang_seconds: float = HANG_SECONDS,
        patience: float = PATIENCE,
        memory: int | None = None,
        sandbox: Literal["require", "prefer"] = "prefer",
    ) -> None:
        limits = Limits(max_pixels, memory or MEMORY + MEMORY_A_PIXEL * max_pixels, seconds, sandbox)
        self._pool = DecoderPool(processes, limits, hang_seconds, patience)

    async def __aenter__(self) -> PhotoGate:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.__aexit__()

    async def accept(self, data: bytes | bytearray, client: str | None = None) -> Photo:
        """The normalised photo. ``client`` is the sender's address. Raises PhotoRejected, and Unavailable when no
        decoder is free or answers in time."""
        with tracing.span("gate") as span, metrics.timed(metrics.GATE_SECONDS):
            try:
                return await self._accept(data, client)
            except PhotoRejected as refused:
                metrics.GATE_REFUSALS.labels(refused.code).inc()
                span.note(code=refused.code)
                raise

    async def _accept(self, data: bytes | bytearray, client: str | None) -> Photo:
        if not data:
            raise PhotoRejected(ProblemCode.EMPTY_FILE, "the file is empty; choose the photo again")
        if not is_accepted(data):
            raise PhotoRejected(ProblemCode.UNSUPPORTED_IMAGE, refusal(data))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer, jpeg = await self._decode(data, client)
        except TimeoutError:
            raise Unavailable(f"the decoders did not finish within {ANSWER_SECONDS} s") from None
        if not answer.ok:
            raise PhotoRejected(ProblemCode(answer.code), answer.detail)
        return Photo(jpeg, answer.width, answer.height)

    async def _decode(self, data: bytes | bytearray, client: str | None) -> tuple[Answer, bytes]:
        killed = 0
        for _ in range(TRIES):
            try:
                return await self._pool.decode(data, client)
            except TimeoutError:
                raise Unavailable("a decoder did not answer in time") from None
            except DecoderDied as death:
                if death.took_too_long:
                    what = "the picture takes too long to read"
                    raise PhotoRejected(
                        ProblemCode.BROKEN_IMAGE, f"{what}; save it again as an ordinary JPEG"
                    ) from None
                if not death.by_others:
                    what = "the picture cannot be read"
                    raise PhotoRejected(
                        ProblemCode.BROKEN_IMAGE, f"{what}; save it again as an ordinary JPEG"
                    ) from None
                killed += death.begun
            # Once may be chance. Twice means that the system kills decoders because of this picture.
            if killed == 2:
                what = "the picture needs too much memory to decode"
                raise PhotoRejected(ProblemCode.IMAGE_TOO_LARGE, f"{what}; scale it down")
        raise Unavailable("the decoders are being killed")
