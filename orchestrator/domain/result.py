"""How a picture was made: the worker writes it, and the API passes it on."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

Score = Annotated[float, Meta(ge=0, le=1)]


Box = Annotated[
    list[float],
    Meta(min_length=4, max_length=4, description="[x0, y0, x1, y1] in 0..1 of the photo, from its top left"),
]


class SeenObject(msgspec.Struct, frozen=True, kw_only=True):
    label: str
    name: (
        Annotated[
            str,
            Meta(
                description="Its own, such as couch#2: what keep and change may name; absent from older models"
            ),
        ]
        | UnsetType
    ) = UNSET
    score: Annotated[float, Meta(ge=0, le=1)]
    box: Box


class SelectedObject(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[str, Meta(description="An object's, a kind of thing such as wall, or box")]
    by: Annotated[str, Meta(description="What its part of the mask follows: its outline, or its box")]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What stayed of the photo."""

    share: Annotated[Score, Meta(description="Of the photo's pixels")]
    kept: list[SelectedObject] = []
    changed: Annotated[
        list[SelectedObject], Meta(description="All that was restyled, where change named it")
    ] = []


class Quality(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Measures of the picture beside its photo, 0 to 1 each and 1 best: edges and depth that it keeps, how sharp it is
    at the photo's edges, contrast (a veil takes it), exposure (nothing burnt out or black that the photo shows),
    cleanliness (no blotches, no noise), and how much was changed (0: nothing was restyled). The score is their weighted
    geometric mean, so that one bad fault is enough for a bad picture.

    Then what is left of the room, by kind: openings (windows and doors are where they were; absent where the models see
    none), lines (straight edges are found again, and straight), camera (it looks where it looked), planes (floor,
    ceiling and walls lie where they lay; absent where furniture hides them). The structure is the lowest of them."""

    edge_agreement: Score | UnsetType = UNSET
    depth_agreement: Score | UnsetType = UNSET
    sharpness: Score | UnsetType = UNSET
    contrast: Score | UnsetType = UNSET
    exposure: Score | UnsetType = UNSET
    cleanliness: Score | UnsetType = UNSET
    changed: Score | UnsetType = UNSET
    score: Score | UnsetType = UNSET
    openings: Score | UnsetType = UNSET
    lines: Score | UnsetType = UNSET
    camera: Score | UnsetType = UNSET
    planes: Score | UnsetType = UNSET
    structure: Score | UnsetType = UNSET


class ResultWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A preference that had no effect, or another one than expected: a stable code and one sentence."""

    code: str
    detail: str


class ResultMetadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the picture was made. Other releases of the service may leave members out, or add some."""

    style: str | UnsetType = UNSET
    processing_time: Annotated[float, Meta(ge=0, description="Seconds")] | UnsetType = UNSET
    quality_score: Score | UnsetType | None = UNSET
    quality: Quality | UnsetType = UNSET
    room_type: str | UnsetType = UNSET
    room_confidence: Score | UnsetType | None = UNSET
    objects: list[SeenObject] | UnsetType = UNSET
    selection: (
        Annotated[
            Selection,
            Meta(description="What stayed as photographed; absent where the whole photo was restyled"),
        ]
        | UnsetType
    ) = UNSET
    seed: Annotated[int, Meta(ge=0, description="Repeats the picture when given again")] | UnsetType = UNSET
    palette: (
        Annotated[
            list[str],
            Meta(description="Colours that the models used: the requested ones, or some chosen by the seed"),
        ]
        | UnsetType
        | None
    ) = UNSET
    palette_distance: (
        Annotated[
            float,
            Meta(
                ge=0,
                description="How far the pixels that may change are from the palette's nearest colour, the mean in "
                "OKLab times 100: 2 is about the least that is seen. Absent where no colour is known",
            ),
        ]
        | UnsetType
    ) = UNSET
    reference_distance: (
        Annotated[
            float,
            Meta(
                ge=0,
                description="How far the colours and contrasts are from the reference's, in the same unit",
            ),
        ]
        | UnsetType
    ) = UNSET
    strength: Annotated[float, Meta(gt=0, le=1)] | UnsetType | None = UNSET
    tier: (
        Annotated[str, Meta(description="The quality by which it was made: draft, standard or best")]
        | UnsetType
    ) = UNSET
    attempts: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    prompt_truncated: bool | UnsetType = UNSET
    warnings: list[ResultWarning] | UnsetType = UNSET
    timings: Annotated[dict[str, float], Meta(description="Seconds by stage")] | UnsetType = UNSET
    gpu_seconds: (
        Annotated[float, Meta(ge=0, description="Seconds of the models' time: what the quota is charged")]
        | UnsetType
    ) = UNSET
    cost: (
        Annotated[float, Meta(ge=0, description="At the price of its submission; absent where none was set")]
        | UnsetType
    ) = UNSET
    currency: Annotated[str, Meta(description="Of the cost: three letters")] | UnsetType = UNSET
    enlarged_by: (
        Annotated[
            str,
            Meta(
                description="What brought the network's own pixels to the photo's size: an upscaler of the models, or "
                "lanczos; absent where nothing had to"
            ),
        ]
        | UnsetType
    ) = UNSET
    reused: (
        Annotated[
            list[str],
            Meta(
                description="What was not computed, because a recent job of the same photo had it: depth, edges, …"
            ),
        ]
        | UnsetType
    ) = UNSET
    kept: (
        Annotated[Score, Meta(description="The share of the picture that the keep mask left as photographed")]
        | UnsetType
    ) = UNSET
    release: Annotated[str, Meta(description="The models that made it")] | UnsetType = UNSET
    width: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    height: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
