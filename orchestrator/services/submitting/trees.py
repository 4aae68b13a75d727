"""Several pictures of one photo: a parent job with a child for each."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from orchestrator.domain.job import KEEP_MASK, REFERENCE, STYLE_WORDS, TREE, Child, Job, child_id
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import STYLES, StyleWords
from orchestrator.services.submitting.costs import Estimate


class Picture(msgspec.Struct, frozen=True):
    """One of several pictures that a submission asks for: a child."""

    style: str
    variation: int
    preferences: Preferences
    words: StyleWords | None = None
    """The style's; None: the worker has them."""


def required(style: str, words: StyleWords | None, *, masked: bool, refers: bool = False) -> list[str]:
    """What a worker must be able to do for the job. Older ones have the styles of their version, and take no other
    words."""
    usual = words is None or (style in STYLES and words == STYLES[style].words)
    wanted = {KEEP_MASK: masked, REFERENCE: refers, STYLE_WORDS: not usual}
    return [feature for feature, is_wanted in wanted.items() if is_wanted]


def parent_of(job: Job, pictures: Sequence[Picture], estimate: Estimate) -> Job:
    """The job as the parent of a child for each of the pictures."""
    return msgspec.structs.replace(
        job,
        style_words=None,
        style=", ".join(dict.fromkeys(picture.style for picture in pictures)),
        cost=estimate.first + estimate.later * (len(pictures) - 1),
        children=[
            Child(
                id=child_id(job.id, place),
                style=picture.style,
                variation=picture.variation,
                seed=picture.preferences.seed,
            )
            for place, picture in enumerate(pictures)
        ],
    )


def children_of(parent: Job, pictures: Sequence[Picture], estimate: Estimate) -> list[Job]:
    """The children of such a parent: jobs like it, which have its photo. None without pictures."""
    return [
        msgspec.structs.replace(
            parent,
            id=child.id,
            style=picture.style,
            style_words=picture.words,
            preferences=picture.preferences,
            # Scripts of older workers would not tell the parent how the child ended.
            requires=[
                *required(
                    picture.style,
                    picture.words,
                    masked=parent.mask_key is not None,
                    refers=parent.reference_key is not None,
                ),
                TREE,
            ],
            cost=estimate.later if place else estimate.first,
            children=[],
            parent=parent.id,
            place=place,
            variation=picture.variation,
        )
        for place, (child, picture) in enumerate(zip(parent.children, pictures, strict=True))
    ]
