"""Turns untrusted bytes into a photo that the rest of the service can trust."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Literal

import msgspec

from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.marks import GENERATED, MAX_MANIFESTS
from orchestrator.photos.kinds import is_accepted, refusal
from orchestrator.photos.pool import DecoderPool
from orchestrator.photos.process import Answer, DecoderDied, Limits, Wanted
from orchestrator.ports import Unavailable
from orchestrator.telemetry import metrics, tracing

DECODE_SECONDS = 8.0
"""Processor seconds of a picture. A photo at the limits takes about 2 s; a picture that is made to be slow is
stopped."""
HANG_SECONDS = 15.0
"""The most seconds of a picture by the clock; more than DECODE_SECONDS, since other work may use the processors."""
MEMORY = 288 * 2**20
"""Bytes of a decoder beside the pixels: Python, the libraries, and a few copies of the upload."""
MEMORY_A_PIXEL = 20
"""Bytes of a decoder for each pixel. A WebP with alpha needs 18, a PNG 13, a progressive JPEG 8."""
MANIFEST_SECONDS = 4.0
"""Seconds for the manifests of a photo that was decoded."""
TRIES = 8
"""How often a picture is tried when its decoders are killed from outside."""
PROCESSES = min(4, len(os.sched_getaffinity(0)))
"""The number of pictures that this machine decodes at once."""
PATIENCE = 10.0
"""Seconds that an upload waits for its turn."""
ANSWER_SECONDS = 20.0
"""Seconds for all tries together: the API's answers come within 25 s."""

log = logging.getLogger(__name__)


class Photo(msgspec.Struct, frozen=True):
    """An upright sRGB JPEG without metadata; width and height in pixels, at most 2048 each."""

    jpeg: bytes
    width: int
    height: int
    source_type: str = ""
    """What the upload said of where it comes from, the end of a term of IPTC's vocabulary such as ``digitalCapture``;
    "" for nothing."""
    manifests: bytes = b""
    """The C2PA manifests that the upload carried, as c2pa's archive of an ingredient; empty for none, or for some that
    cannot be kept."""


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
    cannot be filtered; with "prefer" a warning is logged. Without ``manifests`` no photo's are kept.
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
        manifests: bool = True,
    ) -> None:
        self._keeps_manifests = manifests
        limits = Limits(max_pixels, memory or MEMORY + MEMORY_A_PIXEL * max_pixels, seconds, sandbox)
        self._pool = DecoderPool(processes, limits, hang_seconds, patience)

    async def __aenter__(self) -> PhotoGate:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.__aexit__()

    async def accept(
        self, data: bytes | bytearray, client: str | None = None, *, keep_manifests: bool = False
    ) -> Photo:
        """The normalised photo, with the manifests that it carried if they are to be kept. ``client`` is the sender's
        address. Raises PhotoRejected, and Unavailable when no decoder is free or answers in time."""
        with tracing.span("gate") as span, metrics.timed(metrics.GATE_SECONDS):
            try:
                return await self._accept(data, client, keep_manifests)
            except PhotoRejected as refused:
                metrics.GATE_REFUSALS.labels(refused.code).inc()
                span.note(code=refused.code)
                raise

    async def _accept(self, data: bytes | bytearray, client: str | None, keep_manifests: bool) -> Photo:
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
        photo = Photo(jpeg, answer.width, answer.height, answer.source_type)
        if not (keep_manifests and self._keeps_manifests and answer.credentialed):
            return photo
        return await self._with_manifests(photo, data, client)

    async def _with_manifests(self, photo: Photo, data: bytes | bytearray, client: str | None) -> Photo:
        """With what the upload's manifests say, as far as a decoder can read them: no photo is refused because of
        them."""
        try:
            async with asyncio.timeout(MANIFEST_SECONDS):
                answer, archive = await self._pool.decode(data, client, Wanted.MANIFESTS)
        except (DecoderDied, TimeoutError, Unavailable) as error:
            log.warning(
                "the C2PA manifests of a photo are not kept: %s", str(error) or "reading them took too long"
            )
            return photo
        if not answer.ok or len(archive) > MAX_MANIFESTS:
            log.warning(
                "the C2PA manifests of a photo are not kept: %s", answer.detail or "there are too many"
            )
            return photo
        said = GENERATED if GENERATED in (photo.source_type, answer.source_type) else answer.source_type
        return msgspec.structs.replace(photo, source_type=said or photo.source_type, manifests=archive)

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
