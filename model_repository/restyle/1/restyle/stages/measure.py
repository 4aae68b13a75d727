"""Measure: compare a finished picture with the photo."""

import asyncio
from dataclasses import dataclass

from restyle.models import Models, hints_of
from restyle.pictures.images import inside
from restyle.pictures.quality import measure_quality
from restyle.stages.finish import FinishedPicture
from restyle.stages.see import SeenPhoto


@dataclass(frozen=True)
class MeasuredPicture:
    """A finished picture and how good it is."""

    picture: FinishedPicture
    quality: dict[str, float]
    """The measures of :func:`measure_quality`, 0..1, and their ``score``."""

    @property
    def score(self) -> float:
        return self.quality["score"]


async def measure(seen: SeenPhoto, picture: FinishedPicture, models: Models) -> MeasuredPicture:
    """Measure the picture as it will be delivered. Raises ModelFailed."""
    shown = await hints_of(picture.shown, models)
    pictures = (
        *(seen.photo, seen.hints.edges, seen.hints.depth),
        *(picture.shown, shown.edges, shown.depth),
    )
    # The padding is not delivered, so it does not count.
    quality = await asyncio.to_thread(
        measure_quality, *(inside(each, seen.fit) for each in pictures), picture.kept
    )
    return MeasuredPicture(picture, quality)
