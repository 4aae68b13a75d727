"""What a user may set beside the style. Each preference is declared once: its type, range, default and description.

The API validates by this declaration, OpenAPI shows it, and records in the job store are read by it. The model must
accept every value that it allows: the ranges are within those of ``restyle``, and a test runs both ends of each.
"""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

MAX_STEPS = 100
MIN_STRENGTH = 1 / MAX_STEPS
"""One step of MAX_STEPS. The model always runs at least one, so less would change nothing."""
MAX_COLOURS, MAX_COLOUR_LENGTH = 8, 40
MAX_AREAS, MAX_NAME_LENGTH = 32, 60

Solver = Literal["ddim", "euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_karras"]
"""The solvers that ``restyle`` has tables for. A release may support fewer and refuses the others."""
Quality = Literal["draft", "standard", "best"]
Size = Literal["photo", "models"]
Lossless = Literal["png"]
Colour = Annotated[str, Meta(max_length=MAX_COLOUR_LENGTH)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
Box = Annotated[
    list[Annotated[float, Meta(ge=0, le=1)]],
    Meta(min_length=4, max_length=4),
]
Area = Name | Box
"""A part of the photo: the name of something that the models see in it, or a box [x0, y0, x1, y1] in 0..1 of the photo,
from its top left."""


class Preferences(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a user may set beside the style. A number that is left out is the models' own default.

    A job's record contains only the preferences that the user gave, without defaults. A worker of an older version can
    therefore run every job that uses no newer preference.
    """

    keep_furniture: Annotated[
        bool,
        Meta(
            description="Start from the photo rather than from noise, so that furniture keeps its shape; without "
            "effect where the models do so anyway"
        ),
    ] = False
    keep: Annotated[
        list[Area],
        Meta(
            max_length=MAX_AREAS,
            description="What stays as photographed: labels of what the models see (window, sofa: all of them), names "
            "of single objects as POST /analyze tells them (couch#2), or boxes [x0, y0, x1, y1] in 0..1 of the photo",
        ),
    ] = []
    change: Annotated[
        list[Area],
        Meta(
            max_length=MAX_AREAS,
            description="Only this is restyled, named as for keep; everything else stays as photographed, and so does "
            "what keep names",
        ),
    ] = []
    color_palette: Annotated[
        list[Colour],
        Meta(
            max_length=MAX_COLOURS,
            description="Colours in words; one string holds them separated by commas. When absent, models that know "
            "palettes take one by the seed",
        ),
    ] = []
    palette_strength: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="How far the picture's colours are moved towards those of color_palette; 0 leaves it to "
                "the words. The models' own default when absent",
            ),
        ]
        | None
    ) = None
    reference_strength: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="How far the picture's colours and contrasts are moved towards those of the file "
                "reference; 0 only names its colours. The models' own default when absent",
            ),
        ]
        | None
    ) = None
    room_type: Annotated[
        str,
        Meta(
            max_length=MAX_NAME_LENGTH,
            description="What room it is, such as kitchen or nursery, in place of what the models take it for; "
            "its words go into the prompt",
        ),
    ] = ""
    quality: (
        Annotated[
            Quality,
            Meta(
                description="How much work the picture is worth: draft is the quickest, best the slowest. The models' "
                "own default when absent; without effect where they make one kind of picture only"
            ),
        ]
        | None
    ) = None
    prompt: Annotated[str, Meta(max_length=1000, description="Words that go before the style's own")] = ""
    negative_prompt: Annotated[
        str,
        Meta(
            max_length=1000,
            description="What should not be in the picture; without effect at guidance_scale 1 or less",
        ),
    ] = ""
    seed: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=2**63 - 1,
                description="Repeats a picture; a random one when absent. Whole numbers above 2^53 are exact only in "
                "64-bit integers",
            ),
        ]
        | None
    ) = None
    steps: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_STEPS,
                description="Solver steps, of which the share strength is run; those of the quality when absent",
            ),
        ]
        | None
    ) = None
    strength: (
        Annotated[
            float,
            Meta(
                ge=MIN_STRENGTH,
                le=1,
                description="1 starts from noise, less starts from the photo, in this share of the steps; the models' "
                "own default when absent",
            ),
        ]
        | None
    ) = None
    guidance_scale: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=30,
                description="How closely to follow the words; the models' own default when absent, off at 1 or less",
            ),
        ]
        | None
    ) = None
    structure: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="How closely to keep the room's depth and edges: 0.5 as the models' own default does, 1 "
                "twice as closely, 0 not at all",
            ),
        ]
        | None
    ) = None
    solver: (
        Annotated[
            Solver,
            Meta(
                description="The way the steps are taken; the models' own default when absent. A job fails with "
                "invalid_request where the models were not made for it"
            ),
        ]
        | None
    ) = None
    attempts: Annotated[
        int,
        Meta(
            ge=1,
            le=2,
            description="2 restyles once more, with stronger structure, when the picture's quality score is low; the "
            "better one is delivered",
        ),
    ] = 1
    min_quality: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="The least structure (the lowest of openings, lines, camera and planes) that the picture "
                "must keep of the photo. While pictures fall below it, others are made, 3 in all, with other seeds and "
                "stronger structure; then the job fails with structure_lost and is not charged",
            ),
        ]
        | None
    ) = None
    min_openings: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="As min_quality, for windows and doors alone; no effect where the models see none",
            ),
        ]
        | None
    ) = None
    min_lines: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="As min_quality, for straight lines alone",
            ),
        ]
        | None
    ) = None
    min_camera: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="As min_quality, for where the camera looks",
            ),
        ]
        | None
    ) = None
    min_planes: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="As min_quality, for floor, ceiling and walls alone",
            ),
        ]
        | None
    ) = None
    detail: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="How much of the photo's own detail the result gets, at the photo's size; 0 = none, at the "
                "models' own size. The models' own default when absent",
            ),
        ]
        | None
    ) = None
    size: (
        Annotated[
            Size,
            Meta(
                description="The result's size: the photo's, enlarged where need be, or the models' own. The "
                "photo's when absent, but with a detail of 0 the models'; with detail above 0 it is the photo's in "
                "any case"
            ),
        ]
        | None
    ) = None
    lossless: (
        Annotated[
            Lossless,
            Meta(
                description="The result as a file without loss too, beside the JPEG: in it, kept pixels are exactly "
                "the photo's"
            ),
        ]
        | None
    ) = None
    preview_every: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_STEPS,
            description="The number of steps between previews over the WebSocket; 0 = none",
        ),
    ] = 0
    label: Annotated[
        bool,
        Meta(
            description="Also make a picture with a visible badge AI at its top right, `labelled`; the thumbnail then "
            "has the badge too"
        ),
    ] = False


DEMANDS = ("min_quality", "min_openings", "min_lines", "min_camera", "min_planes")
"""Preferences each of which is the least that a measure of the picture may be."""

TRIES = 3
"""Pictures that the models make at most for a job with demands."""


def most_pictures(preferences: Preferences) -> int:
    """How many pictures the models make for a job at most, of which it gets the best."""
    demands = any(getattr(preferences, name) is not None for name in DEMANDS)
    return max(preferences.attempts, TRIES if demands else 1)


def _given(kind: Any) -> Any:
    """The type without ``| None``, which only means that the member was left out."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    return kind


PREFERENCES: dict[str, Any] = {
    field.name: _given(field.type) for field in msgspec.structs.fields(Preferences)
}
"""The type and limits of each preference that is given, by name."""
