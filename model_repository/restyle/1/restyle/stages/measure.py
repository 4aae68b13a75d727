"""Measure: compare a finished picture with the photo."""

import asyncio
from dataclasses import dataclass

from restyle.models import Models, hints_of
from restyle.pictures.images import inside
from restyle.pictures.quality import measure_quality
from restyle.pictures.structure import Sight, measure_structure
from restyle.stages.finish import FinishedPicture
from restyle.stages.see import SeenPhoto, objects_of


@dataclass(frozen=True)
class MeasuredPicture:
    """A finished picture and how good it is."""

    picture: FinishedPicture
    quality: dict[str, float]
    """The measures of :func:`measure_quality` and :func:`measure_structure`, 0..1 each, ``score`` among them."""

    @property
    def score(self) -> float:
        return self.quality["score"]


async def measure(
    seen: SeenPhoto, picture: FinishedPicture, labels: list[str], models: Models
) -> MeasuredPicture:
    """Measure the picture as it will be delivered. ``labels``: the names of the detector's. Raises ModelFailed."""
    hints, objects = await asyncio.gather(
        hints_of(picture.shown, models), objects_of(picture.shown, seen.fit, labels, models)
    )
    # The padding is not delivered, so it does not count.
    photo, edges, depth, shown, shown_edges, shown_depth = (
        inside(each, seen.fit)
        for each in (
            *(seen.photo, seen.hints.edges, seen.hints.depth),
            *(picture.shown, hints.edges, hints.depth),
        )
    )
    quality, structure = await asyncio.gather(
        asyncio.to_thread(
            measure_quality, photo, edges, depth, shown, shown_edges, shown_depth, picture.kept
        ),
        asyncio.to_thread(
            measure_structure, Sight(photo, depth, seen.objects), Sight(shown, shown_depth, objects)
        ),
    )
    return MeasuredPicture(picture, {**quality, **structure})
