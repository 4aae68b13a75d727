"""The other models of the server, as the stages call them."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from restyle.pictures.images import Bytes

DEPTH, DETECTOR = "depth", "detector"

EDGES = "edges"
"""The only one of them that is code and no graph of a release."""

SEGMENTS = "segments"
"""A graph that only the releases have whose ControlNets are shown it. What is kept follows its outlines."""


class ModelFailed(Exception):
    """Another model refused a request or broke."""


class BrokenPicture(ModelFailed):
    """A model answered with values that are no picture."""


class Models(Protocol):
    """Calls a model by its name."""

    async def __call__(self, model: str, outputs: tuple[str, ...], **tensors: np.ndarray) -> list[np.ndarray]:
        """Run ``model`` on ``tensors``; returns ``outputs`` in that order. Raises ModelFailed."""


@dataclass(frozen=True)
class Hints:
    """What every release sees of a picture: by it a result is compared with its photo, whatever its ControlNets are
    shown."""

    depth: Bytes
    """UINT8 [H,W], white = near."""
    edges: Bytes
    """UINT8 [H,W], 0 or 255."""


async def hints_of(picture: Bytes, models: Models) -> Hints:
    """Depth and edges of a picture UINT8 [H,W,3], at its size. Raises ModelFailed."""
    (edges,), (depth,) = await asyncio.gather(
        models(EDGES, ("edges",), image=picture),
        models(DEPTH, ("depth",), image=picture[None]),
    )
    return Hints(depth[0], edges)


async def hint_of(name: str, picture: Bytes, known: Hints, models: Models) -> Bytes:
    """What the denoiser's input ``name``, one of ``restyle.release.HINTS``, is shown of a picture UINT8 [H,W,3]: UINT8
    [H,W], or [H,W,3] for segments. ``known`` are the hints of the same picture. Raises ModelFailed."""
    match name:
        case "depth":
            return known.depth
        case "edges":
            return known.edges
        case "lines":
            (lines,) = await models(EDGES, ("lines",), image=picture)
            return lines
    (segments,) = await models(SEGMENTS, ("segments",), image=picture[None])
    return segments[0]
