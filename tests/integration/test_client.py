"""``reroom.triton`` on a real Triton, with the model of ``echo_model.py``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reroom.triton import (
    Alive,
    Analysis,
    Preview,
    RestyleError,
    RestyleEvent,
    RestyleRequest,
    Result,
    Stage,
    Step,
    TritonClient,
)
from stack.triton import TritonServer
from tests.support.echo_model import write_model
from tests.support.restyles import result_of

PHOTO = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("echo")


class TritonDied(Warning):
    """A cancel that meets the end of a request crashes Triton 2.51 now and then (CONTRIBUTING.md), and most tests of
    this file cancel. The test in which that happens fails, as it should; those after it get a new server."""


pytestmark = pytest.mark.filterwarnings("default::tests.integration.test_client.TritonDied")


@pytest.fixture(scope="module")
def one_server(folder: Path) -> Iterator[TritonServer]:
    write_model(folder / "models", folder)
    with TritonServer([folder / "models"]) as server:
        yield server


@pytest.fixture
def server(one_server: TritonServer) -> TritonServer:
    """The module's server; another in its place when it has died."""
    assert one_server.process is not None
    if one_server.process.exit_status is not None:
        end = "\n".join(one_server.process.written()[-10:])
        warnings.warn(TritonDied(f"Triton ended with {one_server.process.exit_status}\n{end}"), stacklevel=1)
        one_server.stop()
        one_server.start()
    return one_server


@pytest.fixture
async def client(server: TritonServer) -> AsyncIterator[TritonClient]:
    async with TritonClient(server.grpc) as client:
        yield client


def request(prompt: str = "a loft", **more: Any) -> RestyleRequest:
    return RestyleRequest(image=PHOTO, prompt=prompt, **more)


async def collect(client: TritonClient, wanted: RestyleRequest, **options: Any) -> list[RestyleEvent]:
    return [event async for event in client.restyle(wanted, **options)]


async def running(client: TritonClient, wanted: RestyleRequest) -> asyncio.Task[None]:
    """The request, whose first step has come. Raises what it failed with before."""
    stepped = asyncio.Event()

    async def follow() -> None:
        async for event in client.restyle(wanted):
            if isinstance(event, Step):
                stepped.set()

    task = asyncio.create_task(follow())
    # Else, when the test fails first, the collector reports it in the middle of pytest's own work, which CPython 3.11
    # may not survive ("AST constructor recursion depth mismatch").
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    first = asyncio.create_task(stepped.wait())
    await asyncio.wait({task, first}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    first.cancel()
    if not stepped.is_set():
        task.cancel()
        await task
    return task


def mark(file: Path) -> int:
    """The step at which the model saw the cancel."""
    end = time.monotonic() + 30
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < end, "the model was not stopped"
        time.sleep(0.02)
    return int(file.read_text())


async def test_events_are_typed_and_new_ones_do_no_harm(client: TritonClient) -> None:
    events = await collect(client, request(preview_every=1))
    assert [type(event) for event in events] == [Stage, Analysis, Step, Step, Step, Preview, Result]
    result = events[-1]
    assert isinstance(result, Result)
    np.testing.assert_array_equal(result.image, 255 - PHOTO)
    assert (result.seed, result.quality, result.timings) == (7, {"score": 0.5}, {"steps": 0.1})
    preview = events[-2]
    assert isinstance(preview, Preview)
    assert preview.jpeg == b"\xff\xd8\xff"


async def test_every_field_arrives(client: TritonClient) -> None:
    mask = np.zeros((48, 64), np.uint8)
    latents = np.ones((4, 2, 3), np.float32)
    whole = request(
        negative_prompt="dark", seed=2**63 - 1, steps=2, solver="ddim", guidance_scale=0.0, strength=0.5,
        control_scale=(0.0, 1.0), keep_mask=mask, preview_every=2, attempts=2, detail=0.0, latents=latents,
        palette=("sage green", "oak"), max_strength=0.25, palette_strength=0.5, reference_strength=1.0,
        reference=PHOTO[:2, :2], keep=("sofa", "window#2"), keep_boxes=((0, 0, 0.5, 1),), change=("wall",),
        change_boxes=((0, 0, 1, 0.25), (0, 0, 0.25, 1)), size="photo", min_quality=0.5, min_openings=0.25,
        min_lines=0.75, min_camera=1.0, min_planes=0.125,
    )  # fmt: skip
    result = await result_of(client, whole)
    assert json.loads(result.release) == {
        "negative_prompt": "dark", "seed": [2**63 - 1], "steps": [2], "solver": "ddim", "guidance_scale": [0.0],
        "strength": [0.5], "control_scale": [0.0, 1.0], "keep_mask": mask.tolist(), "preview_every": [2],
        "attempts": [2], "detail": [0.0], "latents": latents.tolist(), "palette": ["sage green", "oak"],
        "max_strength": [0.25], "palette_strength": [0.5], "reference_strength": [1.0],
        "reference": PHOTO[:2, :2].tolist(), "keep": ["sofa", "window#2"], "keep_boxes": [[0, 0, 0.5, 1]],
        "size": "photo", "change": ["wall"], "change_boxes": [[0, 0, 1, 0.25], [0, 0, 0.25, 1]],
        "min_quality": [0.5], "min_openings": [0.25], "min_lines": [0.75], "min_camera": [1.0],
        "min_planes": [0.125],
    }  # fmt: skip


async def test_defaults_are_left_out_but_seed_0_is_not(client: TritonClient) -> None:
    result = await result_of(client, request(seed=0))
    assert json.loads(result.release) == {"seed": [0]}
    assert (result.palette, result.strength) == (None, None), "the model is older than these"


async def test_no_colours_are_another_palette_than_none(client: TritonClient) -> None:
    result = await result_of(client, request(palette=()))
    assert json.loads(result.release) == {"palette": []}


async def test_a_photo_of_12_megapixels(client: TritonClient) -> None:
    photo = np.zeros((3000, 4000, 3), np.uint8)
    result = await result_of(client, RestyleRequest(image=photo, prompt="big", steps=1))
    assert result.image.shape == photo.shape


async def test_a_request_over_the_message_limit(client: TritonClient) -> None:
    with pytest.raises(RestyleError, match="larger than max") as caught:
        await collect(client, RestyleRequest(image=np.zeros((5000, 5000, 3), np.uint8), prompt="huge"))
    assert (caught.value.code, caught.value.retryable) == ("invalid_request", False)


async def test_a_view_that_is_not_contiguous(client: TritonClient) -> None:
    result = await result_of(client, RestyleRequest(image=PHOTO[:, ::-1], prompt="mirrored"))
    np.testing.assert_array_equal(result.image, 255 - PHOTO[:, ::-1])


@pytest.mark.parametrize(
    ("message", "code", "detail", "retryable"),
    [
        ("invalid_request: steps must be 1", "invalid_request", "steps must be 1", False),
        ("model_error: the denoiser broke: x", "model_error", "the denoiser broke: x", True),
        ("cancelled: by hand", "cancelled", "by hand", False),
        ("Something else broke", "model_error", "Something else broke", True),
    ],
)
async def test_errors_of_the_model(
    client: TritonClient, message: str, code: str, detail: str, retryable: bool
) -> None:
    with pytest.raises(RestyleError) as caught:
        await collect(client, request(f"error {message}"))
    assert (caught.value.code, caught.value.detail, caught.value.retryable) == (code, detail, retryable)


@pytest.mark.parametrize(
    ("prompt", "words"), [("nonsense", "not understood"), ("nothing", "without a result")]
)
async def test_a_stream_that_is_not_as_agreed(client: TritonClient, prompt: str, words: str) -> None:
    with pytest.raises(RestyleError, match=words) as caught:
        await collect(client, request(prompt))
    assert caught.value.code == "model_error"


@pytest.mark.parametrize("prompt", ["error model_error: broke", "nonsense"])
async def test_a_request_that_fails_is_left_to_end_by_itself(
    client: TritonClient, folder: Path, prompt: str
) -> None:
    """A cancel that meets the end of a request crashes Triton 2.51 now and then."""
    (folder / "ended").unlink(missing_ok=True)
    with pytest.raises(RestyleError):
        await collect(client, request(prompt))
    assert (folder / "ended").read_text() == "by itself"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image": PHOTO.astype(np.float32)}, r"image must be uint8 \[H, W, 3\], not float32 \[48, 64, 3\]"),
        ({"image": PHOTO[:, :, 0]}, r"not uint8 \[48, 64\]"),
        ({"image": PHOTO[:0]}, r"not uint8 \[0, 64, 3\]"),
        ({"keep_mask": np.zeros((2, 2), np.uint8)}, r"keep_mask must be uint8 \[48, 64\]"),
        ({"latents": np.zeros((4, 2, 2))}, r"latents must be float32 \[4, h, w\], not float64"),
        ({"control_scale": (1.0,)}, "control_scale must be two numbers"),
        ({"seed": 2**63}, "seed"),
        ({"steps": 2**31}, "steps"),
        ({"prompt": "\ud800"}, "prompt"),
    ],
)
async def test_wrong_requests_are_not_sent(wrong: dict[str, Any], words: str) -> None:
    fields = {"image": PHOTO, "prompt": "x", **wrong}
    async with TritonClient("127.0.0.1:9") as nowhere:
        with pytest.raises(RestyleError, match=words) as caught:
            await collect(nowhere, RestyleRequest(**fields))
    assert (caught.value.code, caught.value.retryable) == ("invalid_request", False)


async def test_a_repository_that_cannot_analyse(client: TritonClient) -> None:
    with pytest.raises(RestyleError, match="unknown model: 'analyse'") as caught:
        await client.analyse(PHOTO)
    assert caught.value.code == "unavailable"


async def test_a_wrong_photo_is_not_sent_to_be_analysed() -> None:
    async with TritonClient("127.0.0.1:9") as nowhere:
        with pytest.raises(RestyleError, match=r"image must be uint8 \[H, W, 3\], not uint8 \[48, 64\]"):
            await nowhere.analyse(PHOTO[:, :, 0])


async def test_closing_the_iterator_stops_the_model(client: TritonClient, folder: Path) -> None:
    async with contextlib.aclosing(client.restyle(request("closed", steps=500))) as events:
        async for event in events:
            if isinstance(event, Step) and event.step == 5:
                break
    assert 5 < mark(folder / "closed") < 100


async def test_cancelling_the_task_stops_the_model(client: TritonClient, folder: Path) -> None:
    task = await running(client, request("task", steps=500))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mark(folder / "task") < 100


async def test_the_deadline_stops_the_model(client: TritonClient, folder: Path) -> None:
    with pytest.raises(RestyleError) as caught:
        await collect(client, request("late", steps=500), deadline=0.5)
    assert (caught.value.code, caught.value.retryable) == ("deadline_exceeded", True)
    assert mark(folder / "late") < 100


async def test_closing_the_client_ends_its_requests(server: TritonServer, folder: Path) -> None:
    client = TritonClient(server.grpc)
    task = await running(client, request("orphan", steps=500))
    await client.close()
    with pytest.raises(RestyleError) as caught:
        await task
    assert caught.value.code == "cancelled"
    assert mark(folder / "orphan") < 100


async def test_many_streams_on_one_channel(client: TritonClient) -> None:
    found = await asyncio.gather(*(collect(client, request(seed=seed, steps=10)) for seed in range(16)))
    assert [events[-1].seed for events in found if isinstance(events[-1], Result)] == list(range(16))


async def test_readiness(client: TritonClient) -> None:
    assert await client.server_ready()
    assert await client.model_ready()
    assert await client.model_ready("restyle")
    assert not await client.model_ready("no_such_model")
    assert await client.probe(deadline=10) == Alive(), "a model older than probes"
    with pytest.raises(RestyleError) as caught:
        await client.probe_model("no_such_model", -1, deadline=10)
    assert caught.value.code == "unavailable"


async def test_nothing_listens() -> None:
    async with TritonClient("127.0.0.1:9") as nowhere:
        assert not await nowhere.server_ready()
        assert not await nowhere.model_ready()
        with pytest.raises(RestyleError) as caught:
            await collect(nowhere, request())
        with pytest.raises(RestyleError, match="unavailable"):
            await nowhere.probe(deadline=10)
        with pytest.raises(RestyleError, match="unavailable"):
            await nowhere.probe_model("edges", -1, deadline=10)
    assert (caught.value.code, caught.value.retryable) == ("unavailable", True)


async def test_a_server_killed_mid_stream(server: TritonServer) -> None:
    async with TritonClient(server.grpc) as client:
        task = await running(client, request("killed", steps=500))
        server.kill()
        with pytest.raises(RestyleError) as caught:
            await task
        assert (caught.value.code, caught.value.retryable) == ("unavailable", True)
