"""Photo + request → the stages in order, as a generator of what happened.

It knows neither Triton nor who listens: models are called through ``Models``, and a caller that stops iterating stops
the work.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from restyle.clock import Clock
from restyle.events import Analysis, Event, Preview, Result, Stage, Step
from restyle.objects import objects_in_photo, room_confidence, room_type
from restyle.pictures.images import (
    Bytes,
    Fit,
    Floats,
    edges_from_bucket,
    fit_photo,
    from_bucket,
    inside,
    latent_mask,
    paste_kept,
    preview_jpeg,
    resize,
    to_bucket,
    to_bytes,
    to_pixels,
    to_signal,
)
from restyle.pictures.quality import measure_quality
from restyle.pictures.recolouring import Recolouring, finished_size, learn_recolouring
from restyle.prompt import Cut, Prompts
from restyle.release import Release
from restyle.request import MAX_CONTROL, InvalidRequest, Request
from restyle.result_warnings import result_warnings
from restyle.solver import B, D, Table

EDGES = "edges"
"""The one model that is code as this one is, and no graph of a release."""

STRONGER = 1.4
"""Factor on the control scales of a second attempt."""

# Where the stages lie on the way from 0 to 1; the steps take nearly all of the time.
GENERATING, TRANSFORMING, FINALIZING = 0.08, 0.12, 0.92


class BrokenPicture(Exception):
    """A model answered with something that is not a picture."""


class Models(Protocol):
    """The other models of the server."""

    async def __call__(self, model: str, outputs: tuple[str, ...], **tensors: np.ndarray) -> list[np.ndarray]:
        """Run ``model``; returns ``outputs`` in that order."""


@dataclass(frozen=True)
class _Scene:
    """What the steps are conditioned on, all in the bucket's frame."""

    fit: Fit
    photo: Bytes
    depth: Bytes
    edges: Bytes
    text: Floats
    """[1,K,77,D]: (unconditional, conditional), or the conditional alone."""
    prompt_cuts: list[Cut]
    negative_prompt_cuts: list[Cut]
    photo_latents: Floats
    """[1,4,h,w]; zeros where neither the start nor a mask needs them."""
    keep: Floats | None
    """[1,1,h,w]: how much of each latent cell is to stay."""


@dataclass(frozen=True)
class _Picture:
    """What an attempt came to, in the bucket's frame, and its quality."""

    pixels: Floats
    """FP32 [H,W,3] in 0..255."""
    recolouring: Recolouring | None
    """How the photo became ``pixels``; None where the result is to be the network's own pixels."""
    quality: dict[str, float]

    @property
    def score(self) -> float:
        return self.quality["score"]


def philox_noise(seed: int, step: int, shape: tuple[int, ...]) -> Floats:
    """Standard normal FP32 noise that depends on seed and step alone: not on batch, previews or retries."""
    return np.random.Generator(np.random.Philox(key=[seed, step])).standard_normal(shape, np.float32)


def _control_scale(request: Request, attempt: int) -> Floats:
    """FP32 [2]; stronger with every attempt, as far as it goes."""
    scale = np.array(request.control_scale) * STRONGER ** (attempt - 1)
    return np.minimum(scale, MAX_CONTROL).astype(np.float32)


class Restyler:
    """The service's one use case, over a release's models."""

    def __init__(self, release: Release, prompts: Prompts, models: Models) -> None:
        self.release, self.prompts, self.models = release, prompts, models

    async def restyle(self, request: Request) -> AsyncIterator[Event]:
        """Everything that happens, ending with one Result, or with the Analysis when only that is asked for.

        Raises InvalidRequest, or what ``models`` raises.
        """
        clock = Clock()
        clock.enter("analyzing")
        yield Stage("analyzing", 0.0)
        fit = fit_photo(*request.image.shape[:2], self.release.buckets)
        self._check_latents(request, fit)
        photo = await asyncio.to_thread(to_bucket, request.image, fit)
        depth, edges, objects = await asyncio.gather(
            self._depth(photo), self._edges(photo), self._objects(photo, fit)
        )
        yield Analysis(
            objects=objects,
            room_type=room_type(objects),
            room_confidence=room_confidence(objects),
            depth=await asyncio.to_thread(from_bucket, depth, fit),
            edges=await asyncio.to_thread(edges_from_bucket, edges, fit),
            release=self.release.name,
            progress=1.0 if request.analysis_only else GENERATING,
        )
        if request.analysis_only:
            return

        clock.enter("generating")
        yield Stage("generating", GENERATING)
        scene = await self._scene(request, fit, photo, depth, edges)
        best: _Picture | None = None
        for attempt in range(1, request.attempts + 1):
            async for event in self._attempt(request, scene, attempt, clock):
                if not isinstance(event, _Picture):
                    yield event
                elif best is None or event.score > best.score:
                    best = event
            if best and best.score >= self.release.quality_threshold:
                break
            if (_control_scale(request, attempt + 1) == _control_scale(request, attempt)).all():
                break  # the same picture again
        assert best is not None
        clock.enter("finishing")
        pixels = await asyncio.to_thread(_in_photos_frame, request, scene.fit, best)
        clock.enter("")
        yield Result(
            pixels=pixels,
            seed=request.seed,
            quality=best.quality,
            attempts=attempt,
            prompt_truncated=bool(scene.prompt_cuts or scene.negative_prompt_cuts),
            warnings=result_warnings(
                request, scene.prompt_cuts, scene.negative_prompt_cuts, self._table(request)
            ),
            timings=clock.timings,
            release=self.release.name,
            solver=request.solver,
            steps=request.steps,
            strength=round(request.strength, 6),
            palette=request.palette,
        )

    async def _attempt(
        self, request: Request, scene: _Scene, attempt: int, clock: Clock
    ) -> AsyncIterator[Event | _Picture]:
        """Steps and decoding, once; the last item is the picture."""
        first, last = self._span(attempt, request.attempts)
        clock.enter("transforming")
        yield Stage("transforming", first)
        latents = scene.photo_latents
        async for step, of, state, x0 in self._denoise(request, scene, attempt):
            progress = round(first + (last - first) * step / of, 4)
            yield Step(step, of, progress)
            if request.preview_every and step % request.preview_every == 0 and step < of:
                jpeg = await asyncio.to_thread(preview_jpeg, x0, self.release.preview_matrix, scene.fit)
                yield Preview(step, jpeg, progress)
            latents = state
        clock.enter("finalizing")
        yield Stage("finalizing", last)
        yield await self._picture(request, scene, latents, clock)

    @staticmethod
    def _span(attempt: int, attempts: int) -> tuple[float, float]:
        """Where an attempt's steps lie in the progress, which must never fall."""
        share = (FINALIZING - TRANSFORMING) / attempts
        return round(TRANSFORMING + share * (attempt - 1), 4), round(TRANSFORMING + share * attempt, 4)

    def _check_latents(self, request: Request, fit: Fit) -> None:
        if request.latents is not None and request.latents.shape != self._latent_shape(fit)[1:]:
            expected, given = list(self._latent_shape(fit)[1:]), list(request.latents.shape)
            raise InvalidRequest(f"latents must be {expected} for a photo of this shape, not {given}")

    def _latent_shape(self, fit: Fit) -> tuple[int, ...]:
        factor = self.release.vae_factor
        return (1, self.release.latent_channels, fit.bucket[0] // factor, fit.bucket[1] // factor)

    async def _depth(self, image: Bytes) -> Bytes:
        (depth,) = await self.models("depth", ("depth",), image=image[None])
        return depth[0]

    async def _edges(self, image: Bytes) -> Bytes:
        (edges,) = await self.models(EDGES, ("edges",), image=image)
        return edges

    async def _objects(self, image: Bytes, fit: Fit) -> list[dict[str, Any]]:
        boxes, scores, labels = await self.models(
            "detector", ("boxes", "scores", "labels"), image=image[None]
        )
        return objects_in_photo(boxes[0], scores[0], labels[0], self.release.labels, fit)

    async def _scene(self, request: Request, fit: Fit, photo: Bytes, depth: Bytes, edges: Bytes) -> _Scene:
        ids, cuts = self.prompts.encode(*request.prompt)
        rows, negative_cuts = [ids], []
        if request.guided:
            unwanted, negative_cuts = self.prompts.encode(*request.negative_prompt)
            rows = [unwanted, ids]
        (text,), photo_latents = await asyncio.gather(
            self.models("text_encoder", ("hidden_states",), input_ids=np.stack(rows)),
            self._photo_latents(request, fit, photo),
        )
        keep = None
        if request.keep_mask is not None:
            keep = await asyncio.to_thread(latent_mask, request.keep_mask, fit, self.release.vae_factor)
        return _Scene(fit, photo, depth, edges, text[None], cuts, negative_cuts, photo_latents, keep)

    async def _photo_latents(self, request: Request, fit: Fit, photo: Bytes) -> Floats:
        if request.strength >= 1.0 and request.keep_mask is None:
            return np.zeros(self._latent_shape(fit), np.float32)
        (latents,) = await self.models("vae_encoder", ("latents",), image=to_signal(photo))
        return latents

    async def _denoise(
        self, request: Request, scene: _Scene, attempt: int
    ) -> AsyncIterator[tuple[int, int, Floats, Floats]]:
        """The diffusion loop: (step from 1, of, latents, x0) after every guided step."""
        table = self._table(request)
        shape = self._latent_shape(scene.fit)
        noise = philox_noise(request.seed, 0, shape) if request.latents is None else request.latents[None]
        latents = (table.start[0] * scene.photo_latents + table.start[1] * noise).astype(np.float32)
        x0 = np.zeros(shape, np.float32)
        scale = _control_scale(request, attempt)
        for index in range(len(table)):
            fresh = (
                philox_noise(request.seed, index + 1, shape) if table.rows[index, D] else np.zeros_like(x0)
            )
            latents, x0 = await self._guided_step(request, scene, table, index, scale, (latents, x0, fresh))
            if scene.keep is not None:
                # x' is linear in x0: moving x0 towards the photo moves x' by b as much.
                change = scene.keep * (scene.photo_latents - x0)
                x0 = x0 + change
                latents = (latents + table.rows[index, B] * change).astype(np.float32)
            yield index + 1, len(table), latents, x0

    def _table(self, request: Request) -> Table:
        return self.release.table(request.solver, request.steps, request.strength)

    async def _guided_step(
        self,
        request: Request,
        scene: _Scene,
        table: Table,
        index: int,
        scale: np.ndarray,
        state: tuple[Floats, Floats, Floats],
    ) -> list[np.ndarray]:
        latents, x0_previous, noise = state
        return await self.models(
            "denoiser",
            ("latents_next", "x0"),
            latents=latents,
            x0_previous=x0_previous,
            noise=noise,
            timestep=np.array([[table.timesteps[index]]], np.float32),
            coefficients=np.array([[*table.rows[index], request.guidance_scale]], np.float32),
            text=scene.text,
            depth=scene.depth[None],
            edges=scene.edges[None],
            control_scale=scale[None],
        )

    async def _picture(self, request: Request, scene: _Scene, latents: Floats, clock: Clock) -> _Picture:
        """Decode, and measure as it will be shown."""
        (signal,) = await self.models("vae_decoder", ("image",), latents=latents)
        if not np.isfinite(signal).all():
            raise BrokenPicture("vae_decoder made no finite picture of the latents")
        pixels, recolouring = to_pixels(signal), None
        if request.detail > 0:
            clock.enter("finishing")
            recolouring = await asyncio.to_thread(learn_recolouring, scene.photo, pixels, request.detail)
            pixels = await asyncio.to_thread(recolouring.of, scene.photo)
            clock.enter("finalizing")
        shown, kept = pixels, None
        if request.keep_mask is not None:
            mask = await asyncio.to_thread(to_bucket, request.keep_mask, scene.fit)
            shown = await asyncio.to_thread(paste_kept, pixels, scene.photo, mask)
            kept = inside(mask, scene.fit)
        picture = to_bytes(shown)
        edges, depth = await asyncio.gather(self._edges(picture), self._depth(picture))
        # The padding is not delivered, so it does not count.
        parts = (scene.photo, scene.edges, scene.depth, picture, edges, depth)
        quality = await asyncio.to_thread(measure_quality, *(inside(part, scene.fit) for part in parts), kept)
        return _Picture(pixels, recolouring, quality)


def _in_photos_frame(request: Request, fit: Fit, picture: _Picture) -> Floats:
    """The picture as it is delivered: finished at the photo's size where that is asked for, and with what is kept."""
    if picture.recolouring is None:
        pixels = from_bucket(picture.pixels, fit)
    else:
        photo = resize(request.image, finished_size(request.image.shape[:2], fit))
        pixels = picture.recolouring.inside(fit).of(photo)
    return pixels if request.keep_mask is None else paste_kept(pixels, request.image, request.keep_mask)
