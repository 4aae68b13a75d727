"""Looking at photos over a scripted model: how many at once, how long, and what becomes of errors."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

from orchestrator.api.responses.errors import to_problem
from orchestrator.domain import events
from orchestrator.ports import InferenceError
from orchestrator.services.analysis import MODEL_SECONDS, WAIT_SECONDS, AnalysisService, TooBusy, TooSlow
from reroom import Client
from tests.support.api_server import photo
from tests.support.fakes import FakeInference, an_analysis
from tests.support.running_stack import until

JPEG = photo()


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        return np.asarray(picture)


async def test_the_pictures_are_the_models_own() -> None:
    inference = FakeInference()
    seen = await AnalysisService(inference, 1).analyse(JPEG)
    assert inference.photos[0].shape == (64, 96, 3)
    expected = an_analysis()
    np.testing.assert_array_equal(pixels(seen.depth_png), expected.depth)
    np.testing.assert_array_equal(pixels(seen.edges_png), expected.edges)
    assert (seen.width, seen.height) == (64, 48)
    (bed,) = seen.objects
    assert (bed.label, bed.score, bed.box) == ("bed", 0.9, [0.0, 0.25, 0.5, 1.0])
    assert (seen.room_type, seen.room_confidence, seen.release) == ("bedroom", 0.9, "tiny-1")
    assert seen.processing_time > 0


async def test_two_at_once_at_most_and_the_others_wait() -> None:
    inference = FakeInference()
    inference.looking = 0.05
    analysis = AnalysisService(inference, 2)
    await asyncio.gather(*(analysis.analyse(JPEG) for _ in range(6)))
    assert inference.most_looks_at_once == 2


async def test_a_request_that_waits_too_long_is_refused_and_costs_nothing() -> None:
    inference = FakeInference()
    inference.looking = 0.4
    analysis = AnalysisService(inference, 1, wait=0.05)
    first = asyncio.create_task(analysis.analyse(JPEG))
    await asyncio.sleep(0.01)
    with pytest.raises(TooBusy) as caught:
        await analysis.analyse(JPEG)
    assert (to_problem(caught.value).status, to_problem(caught.value).code) == (503, "unavailable")
    assert to_problem(caught.value).headers == {"Retry-After": "2"}
    assert await first
    inference.looking = 0.0
    assert await analysis.analyse(JPEG)
    assert len(inference.photos) == 2


async def test_a_slow_model_is_given_up_and_its_place_is_free_again() -> None:
    inference = FakeInference()
    inference.looking = 60.0
    analysis = AnalysisService(inference, 1, seconds=0.05)
    with pytest.raises(TooSlow) as caught:
        await analysis.analyse(JPEG)
    assert (to_problem(caught.value).status, to_problem(caught.value).code) == (504, "model_timeout")
    assert (inference.looks_cancelled, inference.looks_at_once) == (1, 0)
    inference.looking = 0.0
    assert await analysis.analyse(JPEG)


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        ("unavailable", 503, "unavailable"),
        ("model_error", 502, "model_error"),
        ("invalid_request", 502, "model_error"),
    ],
)
async def test_errors_of_the_model(code: str, status: int, shown: str) -> None:
    inference = FakeInference()
    inference.analysed = InferenceError(code, "depth: a secret of the house", retryable=True)
    analysis = AnalysisService(inference, 1)
    for _ in range(2):
        with pytest.raises(InferenceError) as caught:
            await analysis.analyse(JPEG)
    problem = to_problem(caught.value)
    assert (problem.status, problem.code) == (status, shown)
    assert ("Retry-After" in (problem.headers or {})) == (status == 503)
    assert "secret" not in problem.detail


async def test_a_look_whose_client_left_ends_by_itself_and_counts_until_then() -> None:
    """Triton 2.51 crashes over cancels of requests this short."""
    inference = FakeInference()
    inference.looking = 0.6
    analysis = AnalysisService(inference, 1, wait=0.05)
    left = asyncio.create_task(analysis.analyse(JPEG))
    await until(lambda: inference.looks_at_once == 1, "it is looked at")
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    with pytest.raises(TooBusy):
        await analysis.analyse(JPEG)
    await until(lambda: inference.looks_at_once == 0, "the look ended")
    assert inference.looks_cancelled == 0
    inference.looking = 0.0
    assert await analysis.analyse(JPEG)


def test_events_of_older_releases_are_read() -> None:
    old = b'{"type":"analysis","objects":[],"room_type":"office","progress":0.08}'
    event = events.decode(old)
    assert isinstance(event, events.Analysis)
    assert event.room_confidence is None
    assert events.encode(event) == old
    new = events.Analysis(objects=[], room_type="office", progress=0.08, room_confidence=0.5)
    assert events.decode(events.encode(new)) == new


def test_the_answer_comes_before_the_client_loses_patience() -> None:
    assert Client.__init__.__kwdefaults__ is not None
    assert Client.__init__.__kwdefaults__["timeout"] > WAIT_SECONDS + MODEL_SECONDS
