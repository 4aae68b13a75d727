"""Restyles by a real Triton: straight through the public client, and as a worker asks for a job's."""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray

from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import STYLES
from orchestrator.services.running.translation import ProgressTranslator, metadata, request
from reroom.triton import RestyleEvent, RestyleRequest, Result, Step, TritonClient
from tests.support.jobs import a_job


async def events_of(client: TritonClient, asked: RestyleRequest) -> list[RestyleEvent]:
    return [event async for event in client.restyle(asked, deadline=60)]


async def result_of(client: TritonClient, asked: RestyleRequest) -> Result:
    last = (await events_of(client, asked))[-1]
    assert isinstance(last, Result)
    return last


async def restyled(
    client: TritonClient, photo: NDArray[Any], style: str = "boho", **wishes: Any
) -> tuple[Result, dict[str, Any], int]:
    """The model's result for a job, the metadata that its user gets, and the steps that were run."""
    job = a_job(style=style, preferences=Preferences(**wishes))
    *events, result = await events_of(client, request(job, STYLES[style], photo))
    assert isinstance(result, Result)
    steps = sum(isinstance(event, Step) for event in events)
    return result, msgspec.to_builtins(metadata(job, result, ProgressTranslator(), 1.0)), steps
