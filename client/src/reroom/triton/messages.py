"""What goes to the models ``restyle`` and ``analyse`` and what comes back. Images are RGB."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from reroom.models import ResultWarning


class RestyleRequest(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One request. Fields left at None take the server's defaults; values are judged by the server."""

    image: NDArray[np.uint8]
    """The photo, RGB [H, W, 3]."""
    prompt: str | tuple[str, ...]
    """The words, or several parts of them: the user's, a style's. When the parts together are longer than the text
    encoder reads, each keeps a share of it, so that none is lost because another is long."""
    negative_prompt: str | tuple[str, ...] = ""
    """Words or parts of what is not wanted; without effect at a guidance scale of at most 1."""
    palette: tuple[str, ...] | None = None
    """Colours in words, at most 8, which the server says in the prompt before its last part; () = the style's own
    colours. None leaves it to the server: a release that knows palettes takes one of them by the seed."""
    seed: int | None = None
    """0 … 2**63−1; None = random. The one that was used comes back in the result."""
    steps: int | None = None
    """Solver steps, 1 … 100, of which the share ``strength`` is run. Where that is left to the server, so many are
    taken that its own share of them is whole steps."""
    solver: str | None = None
    """A solver's name, as the bundle knows it."""
    guidance_scale: float | None = None
    """Classifier-free guidance; at most 1 = off, for half the time."""
    strength: float | None = None
    """0 < strength ≤ 1; 1 starts from noise, less starts from the photo."""
    max_strength: float | None = None
    """An upper bound, 0 … 1, of the strength that is the server's default; without effect beside ``strength``."""
    control_scale: tuple[float, float] | None = None
    """Weights of the depth and the edge ControlNet."""
    structure: float | None = None
    """0 … 1, in place of ``control_scale``: multiplies the server's default weights by 0 … 2."""
    keep_mask: NDArray[np.uint8] | None = None
    """[H, W] like the photo; pixels > 127 stay as photographed."""
    preview_every: int = 0
    """A preview every so many steps; 0 = none."""
    attempts: int = 1
    """2 = once more, with stronger control, when the quality score is low."""
    detail: float | None = None
    """0 … 1; above 0 the result has the photo's own size, and its edges and textures wherever the room is the same."""
    latents: NDArray[np.float32] | None = None
    """Start noise [4, h, w] in place of the seed's, for exact comparisons; without effect where a release starts from
    the photo alone."""


class Stage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="stage"):
    """The work entered stage ``name``: analyzing, generating, transforming or finalizing."""

    name: str
    progress: float
    """0 … 1, never falling."""


class Analysis(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="analysis"):
    """What is in the photo of a restyle: ``objects`` = [{label, score, box: [x0, y0, x1, y1] in 0..1}]."""

    objects: list[dict[str, Any]]
    room_type: str
    progress: float
    room_confidence: float | None = None
    """0 … 1, how sure ``room_type`` is; None from models that do not say."""
    release: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="step"):
    """Solver step ``step`` (from 1) was done; ``of`` counts the steps really run."""

    step: int
    of: int
    progress: float


class Preview(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="preview"):
    """The picture so far, as a small JPEG."""

    step: int
    jpeg: bytes
    progress: float


class Result(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The finished picture, RGB uint8 [H, W, 3], and how it was made. Always the last event."""

    image: NDArray[np.uint8]
    seed: int
    quality: dict[str, float]
    """0..1: edge_agreement, depth_agreement, sharpness, contrast, exposure, cleanliness, changed, and one score."""
    attempts: int
    prompt_truncated: bool
    """True when a prompt was longer than the text encoder reads; the warnings say what was left out."""
    timings: dict[str, float]
    """Seconds per stage."""
    release: str
    warnings: list[ResultWarning] = []
    """What of the request did not do what it says."""
    palette: list[str] | None = None
    """The colours that were said in the prompt, the request's or those of its seed; [] = none. None from models that do
    not say."""
    strength: float | None = None
    """What the picture was made at; None from models that do not say."""


class PhotoAnalysis(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The answer of ``analyse``: what is in a photo. The pictures have its aspect, at the area that the networks work
    on."""

    depth: NDArray[np.uint8]
    """[H, W], white = near, scaled so that the nearest is 255 and the farthest 0."""
    edges: NDArray[np.uint8]
    """[H, W], 0 or 255."""
    objects: list[dict[str, Any]]
    """[{label, score, box}], score 0 … 1, box = [x0, y0, x1, y1] in 0 … 1 of the photo."""
    room_type: str
    """"unknown" when too little speaks for a kind of room."""
    room_confidence: float
    """0 … 1, how sure ``room_type`` is; 0 when it is "unknown"."""
    release: str


RestyleEvent = Stage | Analysis | Step | Preview | Result
"""What a stream gives: stages, steps and previews as they happen, and the result at the end."""
