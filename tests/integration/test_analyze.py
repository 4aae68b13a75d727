"""``POST /analyze`` over HTTP, by a real server and gate, over a scripted model."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.api.middleware.clients import Clients
from orchestrator.api.requests.budget import UploadBudget
from orchestrator.api.requests.intake import Uploads
from orchestrator.app import create_app
from orchestrator.services.analysis import AnalysisService
from orchestrator.settings import Settings
from tests.support.api_server import ALLOWED_ORIGIN, photo, problem, serving
from tests.support.fakes import FakeInference, an_analysis
from tests.support.running_stack import until
from tests.support.servers import free_port

MAX_UPLOAD = 100_000


class Bench:
    """The API on a port, its model, and where it would store things. There is no Redis."""

    def __init__(self, folder: Path) -> None:
        self.inference = FakeInference()
        self.folder = folder
        self.budget = UploadBudget(4 * MAX_UPLOAD, MAX_UPLOAD)
        self.http: httpx2.AsyncClient

    async def analyze(self, **options: Any) -> httpx2.Response:
        return await self.http.post("/analyze", files={"file": ("a.jpg", photo())}, **options)

    def stored(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        settings = Settings.model_validate(
            {
                "redis_url": f"redis://127.0.0.1:{free_port()}",
                "signing_key": "a signing key for the tests",
                "open": True,
                "storage_dir": self.folder,
                "max_upload_bytes": MAX_UPLOAD,
                "allowed_origins": ALLOWED_ORIGIN,
            }
        )
        app = create_app(settings)
        async with serving(app) as self.http:
            analysis = AnalysisService(self.inference, 1, wait=1.0, seconds=3.0)
            app.state.update(
                {
                    "analysis": analysis,
                    "uploads": Uploads(self.budget, Clients(settings.trusted_proxies), MAX_UPLOAD),
                }
            )
            yield


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    async with bench.served():
        yield bench
    assert bench.inference.looks_at_once == 0
    with bench.budget.hold(None) as count_bytes:
        count_bytes(4 * MAX_UPLOAD)  # everything was given back
    assert bench.stored() == []


async def test_a_photo_is_described(bench: Bench) -> None:
    response = await bench.analyze()
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {"success", "data"}
    assert set(body["data"]) == {
        "width", "height", "objects", "room_type", "room_confidence", "depth_png", "edges_png", "release",
        "processing_time",
    }  # fmt: skip
    assert body["data"]["objects"] == an_analysis().objects
    for name in ("depth_png", "edges_png"):
        assert base64.b64decode(body["data"][name]).startswith(b"\x89PNG")


async def test_pages_of_allowed_origins_may_ask(bench: Bench) -> None:
    response = await bench.analyze(headers={"Origin": ALLOWED_ORIGIN})
    assert response.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
    elsewhere = await bench.analyze(headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in elsewhere.headers


@pytest.mark.parametrize(
    ("files", "data", "status", "code", "field"),
    [
        ({"file": b"hello"}, {}, 415, "unsupported_image", "file"),
        ({"file": b""}, {}, 422, "empty_file", "file"),
        ({"file": photo()[:300]}, {}, 422, "broken_image", "file"),
        ({"file": photo((63, 63))}, {}, 422, "image_too_small", "file"),
        ({"file": photo()}, {"style": "boho"}, 422, "unknown_field", "style"),
        ({"image": photo()}, {}, 422, "unknown_field", "image"),
        ({"file": b"\xff\xd8\xff" + bytes(MAX_UPLOAD)}, {}, 413, "body_too_large", "file"),
    ],
)
async def test_bad_forms_are_named_and_not_looked_at(
    bench: Bench, files: dict[str, bytes], data: dict[str, str], status: int, code: str, field: str
) -> None:
    response = await bench.http.post(
        "/analyze", data=data, files={name: ("a.jpg", content) for name, content in files.items()}
    )
    problem(response, status, code, field)
    assert bench.inference.photos == []


async def test_no_form_at_all(bench: Bench) -> None:
    problem(await bench.http.post("/analyze", json={}), 415, "unsupported_media_type", "content-type")


async def test_too_many_at_once_and_too_slow(bench: Bench) -> None:
    bench.inference.looking = 60.0
    slow = asyncio.create_task(bench.analyze())
    await until(lambda: bench.inference.looks_at_once == 1, "the first is looked at")
    response = await bench.analyze()
    problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) > 0
    problem(await slow, 504, "model_timeout")


async def test_a_client_that_leaves_while_it_waits_is_not_looked_at(bench: Bench) -> None:
    bench.inference.looking = 0.8
    first = asyncio.create_task(bench.analyze())
    await until(lambda: bench.inference.looks_at_once == 1, "the first is looked at")
    second = asyncio.create_task(bench.analyze())
    await asyncio.sleep(0.3)
    second.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second
    assert (await first).status_code == 200
    await asyncio.sleep(0.2)
    assert len(bench.inference.photos) == 1


async def test_a_client_that_leaves_in_the_midst_leaves_nothing(bench: Bench) -> None:
    bench.inference.looking = 0.3
    left = asyncio.create_task(bench.analyze())
    await until(lambda: bench.inference.looks_at_once == 1, "it is looked at")
    left.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await left
    await until(lambda: bench.inference.looks_at_once == 0, "the look ended")
    assert bench.inference.looks_cancelled == 0
    bench.inference.looking = 0.0
    assert (await bench.analyze()).status_code == 200
