"""The events of a request. On the wire each is a JSON object; ``type`` is the class's name in lower case."""

from dataclasses import dataclass, field
from typing import Any

from restyle.pictures.images import Bytes, Floats


@dataclass(frozen=True)
class Stage:
    """A stage has begun. Names are the job states of the orchestrator."""

    name: str
    progress: float


@dataclass(frozen=True)
class Analysis:
    """What is in the photo: objects [{label, name, score, box}], box = [x0, y0, x1, y1] in 0..1 of the
    photo."""

    objects: list[dict[str, Any]]
    room_type: str
    room_confidence: float
    """See :func:`restyle.objects.room_confidence`."""
    depth: Bytes
    """UINT8 [H,W], the photo's aspect at the bucket's area, white = near."""
    edges: Bytes
    """UINT8 [H,W] of the same size, 0 or 255."""
    release: str
    progress: float


@dataclass(frozen=True)
class Step:
    """A solver step is done."""

    step: int
    of: int
    progress: float


@dataclass(frozen=True)
class Preview:
    """The picture so far, a small JPEG."""

    step: int
    jpeg: bytes
    progress: float


@dataclass(frozen=True)
class ResultWarning:
    """An input of the request that did not do what it says: a stable code and one sentence."""

    code: str
    detail: str


@dataclass(frozen=True)
class Result:
    """The picture: ``pixels`` FP32 [H,W,3] in 0..255 before rounding, and how it was made."""

    pixels: Floats
    seed: int
    quality: dict[str, float]
    attempts: int
    prompt_truncated: bool
    """Whether words of ``prompt`` or ``negative_prompt`` were left out; the warnings say which."""
    warnings: list[ResultWarning]
    timings: dict[str, float]
    """Seconds per stage, and for ``finishing``: bringing the picture to the photo's frame and size."""
    release: str
    solver: str
    steps: int
    strength: float
    palette: tuple[str, ...]
    """The colours that were put into the prompt, the request's or those of its seed."""
    palette_distance: float | None
    """How far the picture is from the palette's colours; see :func:`restyle.pictures.grading.palette_distance`. None
    where no colour of the palette is known."""
    reference_distance: float | None
    """How far its colours are from the reference's: :func:`restyle.pictures.grading.picture_distance`; None without
    one."""
    tier: str | None
    """The quality by which it was made, draft, standard or best; None where the release knows one kind only."""
    selection: dict[str, Any] | None
    """{share, kept, changed} of what the request kept of the photo: the share of its pixels, 0..1, and the objects,
    each {name, by}; None where it kept nothing. See :mod:`restyle.stages.select`."""
    enlarged_by: str | None
    """What brought the network's own pixels to the photo's size: the release's upscaler, or lanczos; None where nothing
    did."""
    reused: list[str]
    """What was not computed, because an earlier request of the same photo had it; see :mod:`restyle.reuse`."""


@dataclass(frozen=True)
class Alive:
    """The only answer to a probe: this process serves. It calls no model."""

    models: dict[str, int]
    """The models that this one calls, each with its version; −1 = its latest."""
    devices: dict[str, str]
    """What they run on, cpu or cuda, as far as they say so."""
    work: dict[str, Any] | None = None
    """What pictures cost; see :mod:`restyle.work`. Only `restyle` says it."""
    release: int = 0
    """The live release's version, which the three above are of."""
    releases: list[int] = field(default_factory=list)
    """The versions that a request may name."""
    running: dict[str, int] = field(default_factory=dict)
    """By version, how many requests run now, without this one."""


Event = Stage | Analysis | Step | Preview | Result
