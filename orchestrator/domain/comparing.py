"""Whether a release on trial is as good as the live one: what is measured of each picture, as sums that grow.

Pairs are the same photo, seed and preferences through both releases; groups are the jobs that users submitted, by the
release that made them. Either way only sums are kept, so that a trial of any length needs the same memory, and any
process can add to them. :mod:`orchestrator.domain.judging` reads them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Mapping
from typing import Literal, NamedTuple

import msgspec

from orchestrator.domain.codes import FailureCode
from orchestrator.domain.job import DEFAULT_TIER
from reroom.triton import Analysis, RestyleEvent, Result

Arm = Literal["live", "canary"]
Sums = Mapping[str, float]

KINDS = ("openings", "lines", "camera", "planes")
"""What may be lost of the room (:class:`orchestrator.domain.result.Quality`)."""
OPTIONAL = ("openings", "planes")
"""The kinds that are measured only where the models see them; all other values are measured of every picture."""
RUINED = 0.2
"""By how much a score has fallen when the picture counts as ruined: several times what a good retrain moves one by."""
THINGS = "things"
"""How many objects were seen in the photo: what a caller can ask to be kept."""
FAILED, RUINS, OVER_BUDGET = "failed", "ruined", "over_budget"
OUTAGES = "outages"
"""How often servers went away while the canary made pictures."""


def measurable(name: str) -> str:
    """How it is called whether one of the OPTIONAL kinds could be measured: 1 if so, else 0."""
    return f"{name}_measured"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A picture, or that there is none. More is better, of all but the seconds."""

    release: str = ""
    tier: str = DEFAULT_TIER
    seconds: float = 0.0
    """Of the models, without the wait for them."""
    values: dict[str, float] = {}
    """``score``, the kinds, ``changed``, ``colours`` and THINGS, as far as they could be measured."""
    failure: str | None = None
    """The code of the error that took the picture's place."""

    @property
    def comparable(self) -> dict[str, float]:
        """The values, and the speed as a logarithm, whose differences are ratios."""
        return self.values | ({"speed": -math.log(self.seconds)} if self.seconds > 0 else {})


class Made(NamedTuple):
    """A picture, and how many things the models saw in its photo; None = they did not say."""

    result: Result
    things: int | None


async def made_of(events: AsyncIterable[RestyleEvent]) -> Made | None:
    """The picture of a request, from what the models tell of it; None when they end without one."""
    things = None
    async for event in events:
        if isinstance(event, Analysis):
            things = len(event.objects)
        elif isinstance(event, Result):
            return Made(event, things)
    return None


def measured(result: Result, things: int | None = None) -> Measured:
    """What the models say of a picture that they made. ``things``: how many objects they saw in its photo, None = it
    is not known."""
    values = {name: result.quality[name] for name in ("score", "changed", *KINDS) if name in result.quality}
    distances = [each for each in (result.palette_distance, result.reference_distance) if each is not None]
    if distances:
        values["colours"] = -sum(distances)
    if things is not None:
        values[THINGS] = float(things)
    return Measured(
        release=result.release,
        tier=result.tier or DEFAULT_TIER,
        seconds=sum(result.timings.values()),
        values={name: value for name, value in values.items() if math.isfinite(value)},
    )


PAIRS = "pairs"
_CUT_OFF = f"code:{FailureCode.UNAVAILABLE}"


def tried_sums(failure: str | None) -> dict[str, float]:
    """What it adds that the canary made a picture, or failed at one."""
    return _event(FAILED, failure is not None) | ({} if failure is None else {f"code:{failure}": 1.0})


def failed_together(sums: Sums) -> int:
    """How many failures are beyond the first one of an outage, which cuts off all pictures that are being made."""
    return max(0, round(sums.get(_CUT_OFF, 0) - sums.get(OUTAGES, 0)))


def pair_sums(live: Measured, canary: Measured, budget: float | None = None) -> dict[str, float]:
    """What a pair adds beside :func:`tried_sums`. ``budget`` is the most seconds that the canary's picture may take;
    None: it is compared with the live one's."""
    sums = {PAIRS: 1.0}
    if live.failure is not None or canary.failure is not None:
        return sums
    before, after = live.comparable, canary.comparable
    if "score" in before:
        lacks = before.keys() - after.keys() - set(OPTIONAL)
        sums |= _event(RUINS, bool(lacks) or after["score"] < before["score"] - RUINED)
    for name in OPTIONAL:
        sums |= _moments(f"pair:{measurable(name)}", float(name in after) - float(name in before))
    if budget is not None:
        sums |= _event(OVER_BUDGET, canary.seconds > budget)
    for name in before.keys() & after.keys():
        if name != "speed" or budget is None:
            sums |= _moments(f"pair:{name}", after[name] - before[name])
    return sums


def arm_sums(arm: Arm, made: Measured) -> dict[str, float]:
    """What the picture of a user's job adds to its group."""
    if made.failure is not None:
        return {}
    sums: dict[str, float] = {f"made:{arm}": 1.0}
    for name, value in made.comparable.items():
        sums |= _moments(f"group:{arm}:{made.tier}:{name}", value)
    return sums


class Moments(NamedTuple):
    """Of numbers: how many, their mean, and the sum of the squares of what they differ from it."""

    n: int
    mean: float
    squares: float


def moments(sums: Sums, name: str) -> Moments:
    n = round(sums.get(f"{name}:n", 0))
    if n == 0:
        return Moments(0, 0.0, 0.0)
    total = sums.get(f"{name}:s", 0.0)
    return Moments(n, total / n, max(0.0, sums.get(f"{name}:q", 0.0) - total * total / n))


def tiers(sums: Sums, name: str) -> list[str]:
    """The tiers in which both groups have numbers of this name."""
    found = {
        key.split(":")[2] for key in sums if key.startswith("group:canary:") and key.endswith(f":{name}:n")
    }
    return sorted(tier for tier in found if f"group:live:{tier}:{name}:n" in sums)


def _moments(name: str, value: float) -> dict[str, float]:
    return {f"{name}:n": 1.0, f"{name}:s": value, f"{name}:q": value * value}


def _event(name: str, happened: bool) -> dict[str, float]:
    return {f"event:{name}:n": 1.0, f"event:{name}:k": float(happened)}
