"""See: fit the photo to a bucket and ask the networks what is in it."""

import asyncio
from dataclasses import dataclass
from typing import Any

from restyle.events import Analysis
from restyle.models import DETECTOR, Hints, Models, hints_of
from restyle.objects import objects_in_photo, room_confidence, room_type
from restyle.pictures.images import Bytes, Fit, edges_from_bucket, fit_photo, from_bucket, to_bucket
from restyle.release import Release


@dataclass(frozen=True)
class SeenPhoto:
    """The photo and what the networks see in it."""

    fit: Fit
    photo: Bytes
    """UINT8 [H,W,3] in the bucket's frame."""
    hints: Hints
    """In the bucket's frame."""
    objects: list[dict[str, Any]]
    """[{label, name, score, box}], box = [x0, y0, x1, y1] in 0..1 of the photo."""


async def see(image: Bytes, release: Release, models: Models) -> SeenPhoto:
    """Look at a photo UINT8 [H,W,3] of any size. Raises ModelFailed."""
    fit = fit_photo(*image.shape[:2], release.buckets)
    photo = await asyncio.to_thread(to_bucket, image, fit)
    hints, objects = await asyncio.gather(
        hints_of(photo, models), objects_of(photo, fit, release.labels, models)
    )
    return SeenPhoto(fit, photo, hints, objects)


async def objects_of(picture: Bytes, fit: Fit, names: list[str], models: Models) -> list[dict[str, Any]]:
    """What the detector sees in a picture UINT8 [H,W,3] in the bucket's frame: [{label, score, box}], box in 0..1 of
    the part that is photo. Raises ModelFailed."""
    boxes, scores, labels = await models(DETECTOR, ("boxes", "scores", "labels"), image=picture[None])
    return objects_in_photo(boxes[0], scores[0], labels[0], names, fit)


async def analysis_of(seen: SeenPhoto, release: Release, progress: float) -> Analysis:
    """The event that describes the photo to a client, with depth and edges in the result's frame."""
    return Analysis(
        objects=seen.objects,
        room_type=room_type(seen.objects),
        room_confidence=room_confidence(seen.objects),
        depth=await asyncio.to_thread(from_bucket, seen.hints.depth, seen.fit),
        edges=await asyncio.to_thread(edges_from_bucket, seen.hints.edges, seen.fit),
        release=release.name,
        progress=progress,
    )
