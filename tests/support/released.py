"""A model server that has several releases, each with its own way of making pictures."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import msgspec
import numpy as np

from orchestrator.ports import InferenceError, Unavailable
from reroom.triton import Analysis, RestyleEvent, RestyleRequest, Stage
from tests.support.fakes import FakeInference, a_result


@dataclass
class Ability:
    """How good the pictures of a release are, in relation to the first one's."""

    loss: float = 0.0
    """Of the score."""
    slower: float = 1.0
    failing: float = 0.0
    """The share of the photos at which it fails."""
    code: str = "model_error"
    unseen: int = 0
    """So many things fewer are seen in a photo."""
    crashing: bool = False
    """Whether it takes the server down, which stays away until somebody makes it ``ready``."""


@dataclass
class ReleasedInference(FakeInference):
    """``live`` serves requests that name no release. The measures of a photo depend on its job, by the seed, and a
    little on the release, as retrained networks differ."""

    abilities: dict[int, Ability]
    live: int
    asked: list[int | None] = field(default_factory=list)
    running: int = 0
    pause: float = 0.0

    def __post_init__(self) -> None:
        super().__init__([])

    async def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        if not self.ready:
            raise InferenceError("unavailable", "the fake model is away", retryable=True)
        self.asked.append(request.release)
        self.requests.append(request)
        version = self.live if request.release is None else request.release
        ability = self.abilities.get(version)
        if ability is None:
            raise InferenceError("release_not_here", f"release {version} is not served here", retryable=True)
        of_photo = random.Random(request.seed)
        level = of_photo.uniform(0.75, 0.9)
        of_both = random.Random(f"{request.seed} {version}")
        yield Stage(name="analyzing", progress=0.0)
        if ability.crashing:
            self.ready = False
            raise InferenceError("unavailable", "socket closed", retryable=True, server="here")
        if of_both.random() < ability.failing:
            raise InferenceError(ability.code, f"release {version} fails", retryable=True, server="here")
        things = max(0, of_photo.randint(4, 9) - ability.unseen)
        objects = [{"label": "chair", "score": 0.9, "box": [0.0, 0.25, 0.5, 1.0]}] * things
        yield Analysis(objects=objects, room_type="living room", progress=0.1)
        score = level + of_both.gauss(0, 0.02) - ability.loss
        usual = a_result(request.seed or 0)
        yield msgspec.structs.replace(
            usual,
            image=np.full((48, 64, 3), 10 * version, np.uint8),
            quality={**usual.quality, "score": min(1.0, max(0.0, score))},
            timings={"denoise": 2.0 * ability.slower * of_both.uniform(0.95, 1.05)},
            release=f"rooms-{version}",
        )

    async def ping(self) -> None:
        if not self.ready:
            raise Unavailable("the fake model is away")
