"""A photo → what is in it: the first stage alone."""

from collections.abc import AsyncGenerator

from restyle.events import Event
from restyle.models import Models
from restyle.pictures.images import Bytes
from restyle.release import Release
from restyle.stages.see import analysis_of, see


async def analyse(image: Bytes, release: Release, models: Models) -> AsyncGenerator[Event, None]:
    """One Analysis of a photo UINT8 [H,W,3], the one that a restyle of it yields. Raises ModelFailed."""
    yield await analysis_of(await see(image, release, models), release, 1.0)
