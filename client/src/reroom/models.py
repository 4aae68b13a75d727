"""What is sent to the service and what it answers, as typed structs.

Answers ignore fields that this version does not know, so that a newer service can be used by an older client.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from reroom._files import Output, Photo, wanted_format, write

COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
TERMINAL = frozenset({COMPLETED, FAILED, CANCELLED})
"""States that a job never leaves. The others: queued, analyzing, generating, transforming, finalizing."""


_Fraction = Annotated[float, Meta(ge=0, le=1)]
_Box = Annotated[list[_Fraction], Meta(min_length=4, max_length=4)]
_Area = Annotated[str, Meta(min_length=1, max_length=60)] | _Box
_Areas = Annotated[list[_Area], Meta(max_length=32)]
_Guidance = Annotated[float, Meta(ge=0, le=30)]
_Prompt = Annotated[str, Meta(max_length=1000)]
_Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Quality = Literal["draft", "standard", "best"]
_Size = Literal["photo", "models"]
_Lossless = Literal["png"]
_Solver = Literal["ddim", "euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_karras"]
_Steps = Annotated[int, Meta(ge=1, le=100)]
_Strength = Annotated[float, Meta(ge=0.01, le=1)]


class Preferences(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be asked for beside the style. A field that is left at its default is not sent: None is the service's
    own choice.

    The one declaration of the client: ``reroom restyle`` has an option for every field, with this type, range and
    description. The service checks the ranges; NaN and infinity, which JSON cannot say, raise ValueError here.
    """

    keep_furniture: Annotated[
        bool,
        Meta(
            description="Start from the photo rather than from noise, so that furniture keeps its shape and much of "
            "its colour; no effect where the service does so anyway."
        ),
    ] = False
    keep: Annotated[
        _Areas,
        Meta(
            description="What stays as photographed: things that the detector sees (window, sofa: all of them), one "
            "of its objects (couch#2, as analyze names them), or a box (left,top,right,bottom in shares of the photo)."
        ),
    ] = []
    change: Annotated[
        _Areas, Meta(description="Only this is restyled, named as for keep; everything else stays.")
    ] = []
    color_palette: Annotated[
        list[Annotated[str, Meta(max_length=40)]],
        Meta(
            max_length=8,
            description="Colours in words. Without them the seed chooses a palette, or the style has its own.",
        ),
    ] = []
    palette_strength: Annotated[
        _Fraction | None,
        Meta(
            description="How far the picture's colours are moved towards those of the palette; 0 leaves it to the "
            "words."
        ),
    ] = None
    reference_strength: Annotated[
        _Fraction | None,
        Meta(description="How far the picture's colours are moved towards those of the reference picture."),
    ] = None
    room_type: Annotated[
        str,
        Meta(
            max_length=60,
            description="What room it is, such as kitchen, in place of what the service takes it for.",
        ),
    ] = ""
    quality: Annotated[
        _Quality | None,
        Meta(
            description="How much work the picture is worth: draft is the quickest, best the slowest. No effect where "
            "the service makes one kind of picture only."
        ),
    ] = None
    prompt: Annotated[
        _Prompt,
        Meta(
            description="Words that go before the style's own. If they are too many, their end is cut, with a warning."
        ),
    ] = ""
    negative_prompt: Annotated[
        _Prompt, Meta(description="What is not wanted; no effect at a guidance scale of 1 or less.")
    ] = ""
    seed: Annotated[
        _Seed | None, Meta(description="The same seed repeats a picture; the result says which one was used.")
    ] = None
    steps: Annotated[
        _Steps | None,
        Meta(description="Solver steps. A strength of less than 1 runs only that share of them."),
    ] = None
    strength: Annotated[
        _Strength | None, Meta(description="1 starts from noise, less starts from the photo.")
    ] = None
    guidance_scale: Annotated[
        _Guidance | None,
        Meta(
            description="How closely to follow the words; 1 or less turns this off and takes half the time."
        ),
    ] = None
    structure: Annotated[
        _Fraction | None,
        Meta(
            description="How closely to keep the room's depth and edges: 0.5 is the default, 1 is twice as close, 0 is "
            "not at all."
        ),
    ] = None
    solver: Annotated[
        _Solver | None,
        Meta(description="The method of the steps; the service's models may not allow every one."),
    ] = None
    attempts: Annotated[
        int,
        Meta(
            ge=1,
            le=2,
            description="2: restyle once more, with a stronger structure, when the quality score is low, and keep the "
            "better picture.",
        ),
    ] = 1
    min_quality: Annotated[
        _Fraction | None,
        Meta(
            description="The least structure (the lowest of openings, lines, camera and planes) that the picture must "
            "keep of the photo. While pictures fall below it, others are made, 3 in all, with other seeds and "
            "stronger structure; then the job fails with structure_lost and is not charged."
        ),
    ] = None
    min_openings: Annotated[
        _Fraction | None,
        Meta(description="As min_quality, for windows and doors alone; no effect where the models see none."),
    ] = None
    min_lines: Annotated[
        _Fraction | None,
        Meta(description="As min_quality, for straight lines alone."),
    ] = None
    min_camera: Annotated[
        _Fraction | None,
        Meta(description="As min_quality, for where the camera looks."),
    ] = None
    min_planes: Annotated[
        _Fraction | None,
        Meta(description="As min_quality, for floor, ceiling and walls alone."),
    ] = None
    detail: Annotated[
        _Fraction | None,
        Meta(
            description="How much of the photo's own detail the result gets, at the photo's size; 0: none, at the "
            "models' size."
        ),
    ] = None
    size: Annotated[
        _Size | None,
        Meta(
            description="The result's size: the photo's, enlarged where need be, or the models' own. With detail "
            "above 0 it is the photo's in any case."
        ),
    ] = None
    lossless: Annotated[
        _Lossless | None,
        Meta(
            description="Make the result as a file without loss too: in it, what is kept is exactly the photo's. It is "
            "what a .png or .webp output gets."
        ),
    ] = None
    preview_every: Annotated[
        int, Meta(ge=0, le=100, description="Send a preview event every so many steps; 0: never.")
    ] = 0
    label: Annotated[
        bool,
        Meta(
            description='Also make a picture with a visible badge "AI"; the thumbnail then has the badge too.'
        ),
    ] = False

    def __post_init__(self) -> None:
        for name, value in msgspec.structs.asdict(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value}")


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """A photo in the service's storage, to be submitted once, before it expires."""

    key: str
    expires_at: datetime | None = None


class PhotoUrl(msgspec.Struct, frozen=True):
    """Where a photo is on the internet. The service fetches it when it is submitted."""

    url: str


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of several that will be made of one photo: a job of its own, a child."""

    job_id: str
    style: str
    variation: int = 1
    """Which one of its style, from 1."""
    seed: int | None = None
    """As it was asked for; None: the models choose one."""


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The service's receipt for a job."""

    job_id: str
    estimated_time: float | None = None
    """Seconds until the result, estimated by the service."""
    websocket_url: str = ""
    status_url: str = ""
    children: list[Planned] = []
    """Of a submission of several pictures, whose job is their parent."""
    job: JobStatus | None = None
    """The job, if it was waited for (``wait``) and has ended meanwhile: completed, failed or cancelled."""


class JobError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job failed: a stable code and one sentence."""

    code: str
    detail: str


class ResultWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A preference that was changed or had no effect: a stable code and one sentence."""

    code: str
    detail: str


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """Signed URLs, which expire (ask for the status again for fresh ones), and how the picture was made."""

    transformed_url: str
    thumbnail_url: str | None = None
    original_url: str | None = None
    lossless_url: str | None = None
    """The result as PNG, without loss; None unless the job asked for it."""
    labelled_url: str | None = None
    """The picture with the badge "AI"; only with the preference label."""
    page_url: str | None = None
    """A page for everyone who has the link: it says that AI changed the picture, and shows it with the photo."""
    page_expires_at: datetime | None = None
    """Until when that link is good; None from older services."""
    metadata: dict[str, Any] = {}
    """style, processing_time (s), quality_score, room_type, room_confidence, seed, palette, prompt_truncated, …"""

    def url_for(self, output: Output) -> str:
        """The URL of the picture to save in a file of that name: the one without loss for .png and .webp, if the job
        made it. Raises ValueError for an extension that is no picture's."""
        lossless = wanted_format(output) in ("PNG", "WEBP") and self.lossless_url
        return lossless or self.transformed_url

    @property
    def warnings(self) -> list[ResultWarning]:
        """Preferences that were changed or had no effect; [] from services that do not send warnings."""
        try:
            return msgspec.convert(self.metadata.get("warnings") or [], list[ResultWarning])
        except msgspec.ValidationError:
            return []


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One of several pictures of a photo at one moment: a job of its own."""

    job_id: str
    style: str
    variation: int = 1
    """Which one of its style, from 1."""
    seed: int | None = None
    """That it was made with, or was asked for; None: the models have yet to choose one."""
    status: str
    progress: float = 0.0
    """0 … 1."""
    error: JobError | None = None
    expires_at: datetime | None = None
    """Until then its picture is there; None: it has none, or is a favourite."""
    result_url: str | None = None
    result: JobResult | None = None
    """Only of a completed one."""


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A job's state at one moment. Times of day are UTC, durations are seconds."""

    job_id: str
    status: str
    """One of the states that are listed at :data:`TERMINAL`."""
    progress: float = 0.0
    """0 … 1."""
    message: str = ""
    style: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    estimated_time: float | None = None
    estimated_time_remaining: float | None = None
    queue_position: int | None = None
    """How many jobs are before it (0 = next); None when it is not waiting."""
    attempts: int = 0
    """How many times a worker has started it."""
    error: JobError | None = None
    favourite: bool = False
    """Whether it is kept until it is unmarked or erased."""
    expires_at: datetime | None = None
    """Until then its pictures are there, and are deleted soon afterwards. None: it has none, it is a favourite, or the
    service is older. Of a parent: of its photo and contact sheet; each child has its own."""
    result_url: str | None = None
    result: JobResult | None = None
    """Only of a completed job; of a parent its children have the results."""
    parent: str | None = None
    """Of a child: its parent's id."""
    children: list[ChildStatus] = []
    """Of the parent of several pictures: those, by their places."""

    @property
    def finished(self) -> bool:
        """Whether the job has ended."""
        return self.status in TERMINAL


class SeenObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object that the detector found in a photo."""

    label: str
    score: float
    """0 … 1."""
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in 0 … 1 of the photo, from its top left."""
    name: str = ""
    """Its own, such as ``couch#2``, for ``keep`` and ``change``; "" from services that do not name objects."""


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a photo. Both pictures are PNG files, 8-bit grey, ``width`` × ``height``: the photo's aspect."""

    width: int
    height: int
    objects: list[SeenObject]
    """The one with the highest score first."""
    room_type: str
    """"unknown" when the photo does not show clearly enough what room it is."""
    room_confidence: float
    """0 … 1, how sure ``room_type`` is; 0 when it is "unknown"."""
    depth_png: bytes
    """White = near."""
    edges_png: bytes
    """White on black."""
    release: str = ""
    """The version of the service's models."""
    processing_time: float | None = None
    """Seconds."""

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write ``depth.png`` and ``edges.png`` into a folder, which is made if it is missing; their paths.

        Each is written whole or not at all, and replaces an older file. Raises OSError.
        """
        target = Path(folder)
        target.mkdir(exist_ok=True)
        paths = target / "depth.png", target / "edges.png"
        for path, picture in zip(paths, (self.depth_png, self.edges_png), strict=True):
            write(path, picture)
        return paths


class StylePicture(msgspec.Struct, frozen=True, kw_only=True):
    """A small picture of a style, which needs no key."""

    url: str
    made_by: str | None = None
    """The release that restyled a photo; None: an illustration of the style, which no release made."""


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """A style that can be named in a submission."""

    name: str
    title: str
    rooms: list[str] = []
    """The rooms that it suits best; none: any."""
    colors: list[str] = []
    """What it is known by, as sRGB ``#rrggbb``."""
    picture: StylePicture | None = None
    custom: bool = False
    """Whether it belongs to the key."""
    in_plan: bool = True
    """Whether the key's plan includes it."""
    prompt: str | None = None
    """Of the key's own styles."""
    negative_prompt: str | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the service, ``healthy`` or ``degraded``, and of each of its parts."""

    status: str
    timestamp: datetime | None = None
    services: dict[str, Any] = {}

    @property
    def healthy(self) -> bool:
        """Whether every part works."""
        return self.status == "healthy"


class Disabled(msgspec.Struct, frozen=True, kw_only=True):
    """Why an endpoint gets nothing, and since when."""

    reason: str
    """``gone`` (it answered 410), ``failing``, ``key_ended``, ``by_owner``, or one of a newer service."""
    at: datetime


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that is told what happens to the key's jobs."""

    id: str
    url: str
    events: list[str]
    """Such as ``job.completed``."""
    description: str = ""
    created_at: datetime | None = None
    secrets: int = 1
    """How many secrets sign now: 2 while a replaced one goes on."""
    disabled: Disabled | None = None
    """None while it is told."""


class WebhookMade(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with a new secret."""

    secret: str
    """``whsec_…``, for :func:`reroom.webhooks.verify`. The service shows it this once."""
    webhook: Webhook = msgspec.field(name="data")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event for an endpoint."""

    id: str
    """The header ``webhook-id``."""
    type: str
    job_id: str | None = None
    status: str
    """``waiting``, ``delivered`` or ``given_up``."""
    tries: int
    last_answer: str | None = None
    """The status of the last answer, or why there was none; None before the first try."""
    created_at: datetime
    next_try_at: datetime | None = None
    ended_at: datetime | None = None


JobRef = str | Submitted | JobStatus
"""A job: its id, its receipt or any status of it."""


class BatchItem(msgspec.Struct, frozen=True, kw_only=True):
    """One of several submissions: a photo (path, bytes, open file, an upload, or where it is) and how to
    restyle it."""

    photo: Photo | Uploaded | PhotoUrl
    style: str = "modern"
    preferences: PreferencesLike | None = None


PreferencesLike = Preferences | Mapping[str, Any]
"""Preferences, or a mapping, which may name some that this version does not know."""


def job_id(job: JobRef) -> str:
    """The id of a job."""
    return job if isinstance(job, str) else job.job_id
