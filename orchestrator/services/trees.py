"""Several pictures of one photo: a parent job with a child for each."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from orchestrator.domain.job import TREE, Child, Job, child_id
from orchestrator.domain.preferences import Preferences
from orchestrator.services.costs import Estimate


class Picture(msgspec.Struct, frozen=True):
    """One of several pictures that a submission asks for: a child."""

    style: str
    variation: int
    preferences: Preferences


def parent_of(job: Job, pictures: Sequence[Picture], estimate: Estimate) -> Job:
    """The job as the parent of a child for each of the pictures."""
    return msgspec.structs.replace(
        job,
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
            preferences=picture.preferences,
            # Scripts of older workers would not tell the parent how the child ended.
            requires=[*parent.requires, TREE],
            cost=estimate.later if place else estimate.first,
            children=[],
            parent=parent.id,
            place=place,
            variation=picture.variation,
        )
        for place, (child, picture) in enumerate(zip(parent.children, pictures, strict=True))
    ]
