"""Requests to the models ``restyle`` and ``analyse``, and their answers. Images are RGB."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from reroom.models import ResultWarning


class RestyleRequest(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One request. None = the server's default. The server checks the values."""

    image: NDArray[np.uint8]
    """The photo, RGB [H, W, 3]."""
    prompt: str | tuple[str, ...]
    """The prompt, or several parts of it, such as the user's and a style's. When they are together too long for the
    text encoder, each keeps a share of its tokens, so that a long part does not displace the others."""
    negative_prompt: str | tuple[str, ...] = ""
    """What is not wanted, as a prompt or parts of one; no effect at a guidance scale of 1 or less."""
    palette: tuple[str, ...] | None = None
    """Colours in words, at most 8, which the server puts into the prompt before its last part; () = the style's own
    colours. None = the server's choice: a release with palettes takes one of them by the seed."""
    palette_strength: float | None = None
    """0 … 1: how far the picture's colours are moved towards those of ``palette``; 0 = words alone."""
    reference: NDArray[np.uint8] | None = None
    """Another picture, RGB [h, w, 3], whose colours and contrasts are wanted; its main colours are named in the prompt
    where ``palette`` is None."""
    reference_strength: float | None = None
    """0 … 1: how far the picture's colours are moved towards those of ``reference``."""
    quality: str | None = None
    """draft, standard or best: which of the server's tiers; its settings stand for those that are left out here."""
    style: str | None = None
    """The name of a style, for a release that has a denoiser of its own for it; its words are in the prompt. None: no
    style, or one that no release can know."""
    seed: int | None = None
    """0 … 2**63−1; None = random. The result has the seed that was used."""
    steps: int | None = None
    """Solver steps, 1 … 100, of which the share ``strength`` is run. With the server's default strength their number is
    rounded so that this share is a whole number of steps."""
    solver: str | None = None
    """The name of one of the bundle's solvers."""
    guidance_scale: float | None = None
    """Classifier-free guidance; 1 or less = off, in half the time."""
    strength: float | None = None
    """0 < strength ≤ 1; 1 starts from noise, less starts from the photo."""
    max_strength: float | None = None
    """An upper bound, 0 … 1, for the server's default strength; no effect beside ``strength``."""
    control_scale: tuple[float, float] | None = None
    """Weights of the depth and the edge ControlNet."""
    structure: float | None = None
    """0 … 1, in place of ``control_scale``: multiplies the server's default weights by 0 … 2."""
    keep_mask: NDArray[np.uint8] | None = None
    """[H, W] like the photo; pixels > 127 stay as photographed."""
    keep: tuple[str, ...] = ()
    """What stays as photographed: labels of what the detector sees (``couch``, ``windows``; all of them), or names of
    single objects (``couch#2``), as analyses tell them."""
    keep_boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Boxes that stay: x0, y0, x1, y1 in 0 … 1 of the photo, from its top left."""
    change: tuple[str, ...] = ()
    """Only this is restyled, named as in ``keep``; what ``keep`` names stays within it too."""
    change_boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Boxes that are restyled, as ``change``."""
    preview_every: int = 0
    """A preview every so many steps; 0 = none."""
    attempts: int = 1
    """2 = once more, with stronger control, when the quality score is low."""
    min_quality: float | None = None
    """0 … 1, the least ``structure`` of the result's quality. While pictures fall below it, others are made, 3 in all,
    with other seeds and stronger control; then the request fails with ``structure_lost``. The same goes for each
    kind."""
    min_openings: float | None = None
    min_lines: float | None = None
    min_camera: float | None = None
    min_planes: float | None = None
    detail: float | None = None
    """0 … 1; above 0 the result has the photo's own size, and its edges and textures wherever the room is the same."""
    size: str | None = None
    """``photo``: the result has the photo's size, enlarged where ``detail`` is 0; ``models``: the models' own, except
    with detail, which needs the photo's."""
    latents: NDArray[np.float32] | None = None
    """Start noise [4, h, w] in place of the seed's, for exact comparisons; no effect where a release starts from the
    photo alone."""
    photo_id: str | None = None
    """At most 100 characters. For some minutes the server keeps what it finds in the photo, for later requests with the
    same photo and this id. Use an id that others cannot guess, and forget it to have nothing reused. None = nothing of
    the photo is kept."""
    release: int | None = None
    """The version of the release that makes the picture, where the server has several; None = its live one. A server
    that does not have it says ``release_not_here``; one of an older version refuses this field."""


class Stage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="stage"):
    """The work entered stage ``name``: analyzing, generating, transforming or finalizing."""

    name: str
    progress: float
    """0 … 1, never falling."""
    release: str = ""
    """On the first event of a stream: what makes the picture, such as dollhouse-5. Models of older versions send it
    with the analysis only."""


class Analysis(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="analysis"):
    """What was found in the photo of a restyle: ``objects`` = [{label, name, score, box: [x0, y0, x1, y1] in 0..1}].
    Models of older versions send no ``name``."""

    objects: list[dict[str, Any]]
    room_type: str
    progress: float
    room_confidence: float | None = None
    """0 … 1, how sure ``room_type`` is; None from models that do not send it."""
    release: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="step"):
    """Solver step ``step`` (from 1) is done; ``of`` is how many are run."""

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
    """0..1: edge_agreement, depth_agreement, sharpness, contrast, exposure, cleanliness, changed, and one score; beside
    them openings, lines, camera and planes, as far as they could be measured, and structure, the lowest of these."""
    attempts: int
    prompt_truncated: bool
    """Whether a prompt was too long for the text encoder; the warnings say what was left out."""
    timings: dict[str, float]
    """Seconds per stage."""
    release: str
    warnings: list[ResultWarning] = []
    """Parts of the request that were changed or had no effect."""
    palette: list[str] | None = None
    """The colours in the prompt, the request's or those that the seed chose; [] = none. None from models that do not
    send it."""
    palette_distance: float | None = None
    """How far, in OKLab times 100, the picture's pixels are in the mean from the nearest colour of the palette: 2 is
    about the least that is seen. None where no colour is known, and from models that do not send it."""
    reference_distance: float | None = None
    """How far its colours, means and contrasts, are from the reference's; None without one."""
    strength: float | None = None
    """The strength that was used; None from models that do not send it."""
    tier: str | None = None
    """The quality by which it was made: draft, standard or best. None from models that make one kind of picture."""
    selection: dict[str, Any] | None = None
    """What was kept of the photo: {share: of its pixels, kept, changed: [{name, by}]}, where ``by`` says what the mask
    of an object follows: its outline or its box. None where nothing was kept, and from models that do not send it."""
    enlarged_by: str | None = None
    """What brought the picture to the photo's size: the release's ``upscaler``, or ``lanczos``; None where nothing
    did."""
    reused: list[str] = []
    """What was not computed, because the server had it of an earlier request with the same photo and ``photo_id``:
    depth, edges, objects, text, …"""


class PhotoAnalysis(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The answer of ``analyse``. The pictures have the photo's aspect ratio, at the models' size."""

    depth: NDArray[np.uint8]
    """[H, W], white = near, scaled so that the nearest is 255 and the farthest 0."""
    edges: NDArray[np.uint8]
    """[H, W], 0 or 255."""
    objects: list[dict[str, Any]]
    """[{label, name, score, box}], score 0 … 1, box = [x0, y0, x1, y1] in 0 … 1 of the photo."""
    room_type: str
    """"unknown" when the photo does not show clearly enough what room it is."""
    room_confidence: float
    """0 … 1, how sure ``room_type`` is; 0 when it is "unknown"."""
    release: str


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``restyle`` or ``analyse`` to a probe."""

    models: dict[str, int] = {}
    """The models that it calls, with their versions (−1 = the latest)."""
    devices: dict[str, str] = {}
    """What these run on, cpu or cuda; only of models that say so, which NVIDIA's backends do not."""
    work: dict[str, Any] | None = None
    """What its pictures cost: of each quality the steps, the buckets, and measured seconds; None from `analyse`."""
    release: int = 0
    """The version of the live release; 0 from models that do not send it."""
    releases: list[int] | None = None
    """The versions that a request may name; None from models that know no field ``release``."""


class ModelStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What all versions of a model have done since the server started, whoever asked."""

    succeeded: int = 0
    """Requests."""
    failed: int = 0
    items: int = 0
    """What was computed: of a model with batches, each one's size counts."""
    runs: int = 0
    """In how many batches that was."""
    compute_seconds: float = 0.0
    queue_seconds: float = 0.0
    """How long requests waited, together."""


RestyleEvent = Stage | Analysis | Step | Preview | Result
"""The events of a stream: stages, steps and previews as they happen, and the result at the end."""
