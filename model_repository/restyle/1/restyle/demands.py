"""What a request demands that its picture keeps of the room, and how far a picture falls short of it."""

from collections.abc import Mapping

DEMANDS = {
    "min_quality": "structure",
    "min_openings": "openings",
    "min_lines": "lines",
    "min_camera": "camera",
    "min_planes": "planes",
}
"""Inputs of a request, each the least that a measure of :mod:`restyle.pictures.structure` may be."""

TRIES = 3
"""Pictures that are made at most for a request with demands."""


class StructureLost(Exception):
    """No picture kept as much of the room as the request demands; the message says what the best one kept."""


def shortfall(quality: Mapping[str, float], demands: Mapping[str, float]) -> float:
    """How much of the demands, {measure: the least that is wanted}, a picture misses: 0 = it meets them all.

    A measure that could not be taken, such as that of windows where there are none, meets every demand.
    """
    return max((least - quality.get(name, least) for name, least in demands.items()), default=0.0)


def lost_sentence(quality: Mapping[str, float], demands: Mapping[str, float], tries: int) -> str:
    """Why the best of so many pictures is not delivered."""
    names = [name for name in DEMANDS.values() if name in quality]
    kept = ", ".join(f"{name} {quality[name]:.2f}" for name in names)
    wanted = ", ".join(f"{name} {least:.2f}" for name, least in demands.items())
    made = "The picture that was made" if tries == 1 else f"The best of {tries} pictures"
    return f"{made} keeps too little of the room: {kept}; asked for was at least {wanted}."
