"""What passes the API's door runs: the ends of every preference's range, through the real model."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest

from orchestrator.api.requests.preferences import decode_preferences
from orchestrator.domain.job import Job
from orchestrator.domain.preferences import PREFERENCES, Solver
from orchestrator.domain.styles import STYLES
from orchestrator.services.running.translation import request as request_of
from reroom.triton import RestyleError, Result, Step, TritonClient
from restyle.demands import DEMANDS
from tests.support.pictures import room
from tests.support.restyles import events_of

PHOTO = room(96, 120)
NUMBERS = {
    name: (schema["minimum"], schema["maximum"])
    for name, kind in PREFERENCES.items()
    if "minimum" in (schema := msgspec.json.schema(kind))
}
LONG = "ж😀 \t\x01" * 200


async def steps_of(client: TritonClient, preferences: dict[str, Any]) -> int:
    """How many steps a job with these preferences takes; it must end with a picture."""
    job = Job(
        id="a", style="modern", preferences=decode_preferences(json.dumps({"steps": 2} | preferences).encode()),
        original_key="", created_at=0, updated_at=0,
    )  # fmt: skip
    request = request_of(job, STYLES["modern"], PHOTO)
    *events, result = await events_of(client, request)
    assert isinstance(result, Result)
    return sum(isinstance(event, Step) for event in events)


def test_every_number_has_ends() -> None:
    counts, shares = {"seed", "steps", "attempts", "preview_every"}, {
        "strength", "structure", "detail", "palette_strength", "reference_strength", *DEMANDS,
    }  # fmt: skip
    assert set(NUMBERS) == {*counts, *shares, "guidance_scale"}


ENDS = [(name, end) for name, ends in NUMBERS.items() for end in ends if not (name in DEMANDS and end == 1)]


@pytest.mark.parametrize(("name", "end"), ENDS)
async def test_the_ends_of_each_range_run(client: TritonClient, name: str, end: float) -> None:
    expected = {"steps": end, "attempts": 2 * end, "strength": 2 if end == 1 else 1}
    assert await steps_of(client, {name: end}) == expected.get(name, 2)


@pytest.mark.parametrize("name", DEMANDS)
async def test_who_demands_everything_gets_it_or_one_sentence(client: TritonClient, name: str) -> None:
    """These networks are random: whether their picture keeps the room is not known here."""
    refused = None
    try:
        assert await steps_of(client, {name: 1}) in (2, 4, 6)
    except RestyleError as error:
        refused = error
    if refused is not None:
        assert (refused.code, refused.retryable) == ("structure_lost", False)
        assert "The best of 3 pictures keeps too little of the room: " in refused.detail
        assert f"asked for was at least {DEMANDS[name]} 1.00" in refused.detail


@pytest.mark.parametrize("solver", get_args(Solver))
async def test_every_solver_runs(client: TritonClient, solver: str) -> None:
    assert await steps_of(client, {"solver": solver}) == 2


@pytest.mark.parametrize("steps", [1, 2, 99, 100])
@pytest.mark.parametrize("keep_furniture", [False, True])
async def test_the_least_strength_is_one_step(client: TritonClient, steps: int, keep_furniture: bool) -> None:
    wishes = {"strength": NUMBERS["strength"][0], "steps": steps, "keep_furniture": keep_furniture}
    assert await steps_of(client, wishes) == 1


@pytest.mark.parametrize(
    "wishes",
    [
        {"strength": 1 - 1e-12},
        {"guidance_scale": 5e-324},
        {"guidance_scale": 1 + 1e-12},
        {"prompt": LONG, "negative_prompt": LONG, "color_palette": ["x" * 40] * 8, "guidance_scale": 30},
        {"prompt": "", "negative_prompt": "", "color_palette": ""},
    ],
    ids=str,
)
async def test_what_fp32_makes_something_else_of_runs(client: TritonClient, wishes: dict[str, Any]) -> None:
    assert await steps_of(client, wishes) == 2
