"""Plans: named sets of limits that API keys have. They are data, read from a TOML file with a table for each plan."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from orchestrator.domain.keys import DEFAULT_PLAN, PLAN
from orchestrator.domain.preferences import Quality
from orchestrator.domain.styles import OWN, STYLES, counted_as

Count = Annotated[int, Meta(ge=1)] | None
"""A limit; None = no limit."""
Seconds = Annotated[float, Meta(gt=0)] | None
MINUTE, HOUR = 60, 3600

MAX_OWN_STYLES = 50
"""The most styles of its own that a key may keep: each list of styles has all of them."""


class PlansError(Exception):
    """The file of plans cannot be used. The message says where, and what is wrong, in one sentence."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key may use. A limit that is left out does not limit."""

    requests_per_minute: Count = None
    """Requests of the key within any 60 seconds."""
    requests_per_hour: Count = None
    address_requests_per_minute: Count = None
    """Requests from one address within any 60 seconds, whoever sends them. Requests without a valid key have the limits
    of the plan ``default``."""
    address_requests_per_hour: Count = None
    concurrent_jobs: Count = None
    """Jobs of the key that have not ended: those that wait and those that run, together."""
    waiting_jobs: Count = None
    """Of these, the jobs that no worker runs."""
    gpu_seconds_per_day: Seconds = None
    """Seconds of the models' time for jobs that were submitted on one day, in UTC."""
    gpu_seconds_per_month: Seconds = None
    stored_bytes: Count = None
    """Bytes of the photos and pictures of all jobs that are remembered."""
    stored_objects: Count = None
    """The number of those photos and pictures: a completed job has three, and one more for each mask, reference,
    manifests of its photo, label, lossless file, contact sheet and before/after picture."""
    qualities: Annotated[list[Quality], Meta(min_length=1)] | None = None
    """The values of the preference ``quality`` that are allowed; a job that names none gets the first. None: every
    value, and the models' own default."""
    styles: Annotated[list[str], Meta(min_length=1)] | None = None
    """The allowed styles; None = all. ``custom`` stands for all of the key's own."""
    custom_styles: Annotated[int, Meta(ge=0, le=MAX_OWN_STYLES)] | None = None
    """How many styles of its own the key may keep; None = the most that the service allows, 0 = none."""
    priority: Literal["normal", "high"] = "normal"
    """Which of two queues the jobs wait in."""
    weight: Annotated[float, Meta(gt=0, le=100)] = 1.0
    """The key's share of the workers' time, beside other keys whose jobs wait in the same queue."""

    def allows_style(self, style: str) -> bool:
        return self.styles is None or counted_as(style) in self.styles

    def allows_quality(self, quality: Quality | None) -> bool:
        return self.qualities is None or quality is None or quality in self.qualities


class Plans:
    """All plans by name. There is always one called ``default``: without one in the file, it limits nothing."""

    def __init__(self, plans: Mapping[str, Plan] | None = None) -> None:
        self.by_name: dict[str, Plan] = {DEFAULT_PLAN: Plan(), **(plans or {})}

    def of(self, name: str) -> Plan:
        """The plan; ``default`` for a name that is not there any more, so that no key is without limits by mistake."""
        return self.by_name.get(name, self.by_name[DEFAULT_PLAN])


def load_plans(path: Path | None, styles: Collection[str] = STYLES) -> Plans:
    """The plans of a TOML file; None = the built-in one alone. ``styles``: the names of the service's. Raises
    PlansError."""
    if path is None:
        return Plans()
    try:
        return parse_plans(path.read_text(), styles)
    except PlansError as error:
        raise PlansError(f"{path}: {error}") from None
    except OSError as error:
        raise PlansError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PlansError(f"{path} is not a text in UTF-8") from None


def parse_plans(text: str, styles: Collection[str] = STYLES) -> Plans:
    """Raises PlansError."""
    try:
        tables = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise PlansError(f"this is not TOML: {error}") from None
    return Plans({name: _plan(name, table, styles) for name, table in tables.items()})


def _plan(name: str, table: object, styles: Collection[str]) -> Plan:
    if not re.fullmatch(PLAN, name):
        raise PlansError(f"{name!r} is no name of a plan: it has 1 to 40 of a-z, 0-9, _ and -")
    if not isinstance(table, dict):
        raise PlansError(
            f"{name} stands outside of a plan: begin the plan with a line such as [{DEFAULT_PLAN}]"
        )
    try:
        plan = msgspec.convert(table, Plan)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at `$.")
        at = f".{place.rstrip('`')}" if place else ""
        raise PlansError(f"{name}{at}: {sentence}") from None
    unknown = [style for style in plan.styles or () if style not in (*styles, OWN)]
    if unknown:
        raise PlansError(f"{name}.styles: there is no style {unknown[0]!r}, only {', '.join((*styles, OWN))}")
    if plan.waiting_jobs and plan.concurrent_jobs and plan.waiting_jobs > plan.concurrent_jobs:
        raise PlansError(f"{name}.waiting_jobs is more than concurrent_jobs, which counts waiting jobs too")
    return plan


def day_of(seconds: float) -> str:
    """The day of UNIX seconds in UTC, such as 2026-11-26. The first seven characters are its month."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def month_of(seconds: float) -> str:
    """The month of UNIX seconds in UTC, such as 2026-11."""
    return day_of(seconds)[:7]


def next_day(seconds: float) -> float:
    """When the next day begins in UTC, in UNIX seconds."""
    day = datetime.fromtimestamp(seconds, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (day + timedelta(days=1)).timestamp()


def next_month(seconds: float) -> float:
    """When the next month begins in UTC, in UNIX seconds."""
    first = datetime.fromtimestamp(seconds, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1).timestamp()
