"""The REST API over HTTP, with a real Redis, from what a client sends to what lies on disk."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.domain.events import Completed, Failed, Step
from orchestrator.domain.job import JobError, JobResult
from orchestrator.domain.styles import STYLES
from stack.redis import RedisServer
from tests.support.api_server import ADMIN_TOKEN, SIGNING_KEY, Api, photo, problem, running_api
from tests.support.servers import free_port

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_root_describes_the_service(api: Api) -> None:
    body = (await api.http.get("/")).json()
    assert set(body) == {"name", "version", "status", "endpoints", "supported_styles"}
    assert body["supported_styles"] == list(STYLES)


async def test_submit_answers_with_where_to_look(api: Api) -> None:
    response = await api.http.post("/transform/submit", files={"file": ("a.png", photo(format="PNG"))})
    body = response.json()
    job_id = body["job_id"]
    assert response.status_code == 202
    assert set(body) == {"success", "job_id", "estimated_time", "websocket_url", "status_url"}
    assert body["success"] is True
    assert body["estimated_time"] > 0
    assert body["status_url"] == f"{api.base_url}/transform/status/{job_id}"
    assert body["websocket_url"] == f"{api.ws_url}/ws/transform/{job_id}"

    data = (await api.http.get(body["status_url"])).json()["data"]
    assert set(data) == {
        "job_id", "status", "progress", "message", "style", "created_at", "updated_at", "estimated_time",
        "estimated_time_remaining", "queue_position", "attempts", "error", "expires_at", "favourite", "result_url",
    }  # fmt: skip
    assert (data["status"], data["style"], data["progress"], data["attempts"]) == ("queued", "modern", 0, 0)
    assert data["queue_position"] is not None
    assert data["created_at"].endswith("Z")
    await api.http.delete(f"/transform/{job_id}")


async def test_preferences_reach_the_job(api: Api) -> None:
    job_id = await api.submit(
        style="boho", preferences='{"keep_furniture": true, "color_palette": "oak, sage"}'
    )
    job = await api.store.get(job_id)
    assert (job.style, job.preferences.keep_furniture) == ("boho", True)
    assert job.preferences.color_palette == ["oak", "sage"]
    await api.http.delete(f"/transform/{job_id}")


async def test_a_job_from_queue_to_erasure(api: Api) -> None:
    job_id = await api.submit(style="industrial")
    lease = await api.claim(job_id)
    await api.store.publish(lease, 1, Step(step=1, of=2, progress=0.5))
    data = (await api.http.get(f"/transform/status/{job_id}")).json()["data"]
    assert (data["progress"], data["attempts"]) == (0.5, 1)
    assert data["queue_position"] is data["result_url"] is None
    problem(await api.http.delete(f"/transform/{job_id}/files"), 409, "job_not_finished")

    folder = api.storage_dir / "objects" / "results" / job_id / "1"
    folder.mkdir(parents=True)
    for name in ("transformed.jpg", "thumbnail.jpg"):
        (folder / name).write_bytes(name.encode())
    transformed, thumbnail = [f"results/{job_id}/1/{name}.jpg" for name in ("transformed", "thumbnail")]
    metadata = {"style": "industrial", "seed": 7, "quality_score": 0.5}
    result = JobResult(transformed_key=transformed, thumbnail_key=thumbnail, metadata=metadata)
    await api.store.finish(lease, Completed(result=result))

    data = (await api.http.get(f"/transform/status/{job_id}")).json()["data"]
    assert (data["status"], data["progress"], data["estimated_time_remaining"]) == ("completed", 1, None)
    assert data["result"]["metadata"] == metadata
    assert data["result_url"] == data["result"]["transformed_url"]
    for name in ("transformed", "thumbnail"):
        picture = await api.http.get(data["result"][f"{name}_url"])
        assert picture.content == f"{name}.jpg".encode()
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.headers["cache-control"].startswith("private")
    assert (await api.http.get(data["result"]["original_url"])).content.startswith(b"\xff\xd8\xff")

    problem(await api.http.delete(f"/transform/{job_id}"), 409, "job_finished")
    assert (await api.http.delete(f"/transform/{job_id}/files")).json() == {"success": True, "job_id": job_id}
    problem(await api.http.get(f"/transform/status/{job_id}"), 404, "job_not_found")
    problem(await api.http.get(data["result_url"]), 404, "object_not_found")
    assert not [path for path in api.stored() if job_id in str(path)]


@pytest.mark.parametrize(
    ("code", "detail", "shown"),
    [
        ("invalid_request", "steps must be 1 to 100", "steps must be 1 to 100"),
        ("model_error", "denoiser: /models/denoiser/1/model.onnx: bad shape", "The model failed on this photo."),
        ("unavailable", "out of reach: redis://10.0.0.7:6379", "A part of the service was out of reach for too long."),
        ("broken_image", "cannot identify <_io.BytesIO at 0x7f>", "The photo cannot be decoded."),
        ("KeyError", "KeyError in restyle", "Something went wrong on our side."),
    ],
)  # fmt: skip
async def test_a_failed_job_says_why_but_nothing_internal(
    api: Api, code: str, detail: str, shown: str
) -> None:
    job_id = await api.submit()
    await api.store.finish(await api.claim(job_id), Failed(error=JobError(code=code, detail=detail)))
    answer = await api.http.get(f"/transform/status/{job_id}")
    data = answer.json()["data"]
    assert data["status"] == "failed"
    assert data["error"] == {"code": code, "detail": shown}
    assert data["message"] == shown
    listed = await api.http.get("/transform")
    events = await api.http.get(f"/transform/{job_id}/events?after=0")
    for text in (answer.text, listed.text, events.text):
        assert shown in text
        assert detail == shown or detail not in text


async def test_without_triton_nothing_can_be_looked_at(api: Api) -> None:
    stored, waiting = api.stored(), (await api.store.stats()).queued
    response = await api.http.post("/analyze", files={"file": ("a.jpg", photo())})
    problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert (api.stored(), (await api.store.stats()).queued) == (stored, waiting)


async def test_a_second_request_is_given_the_same_links(api: Api) -> None:
    job_id = await api.submit()
    original = f"uploads/{job_id}/original.jpg"
    result = JobResult(transformed_key=original, thumbnail_key=original, metadata={})
    await api.store.finish(await api.claim(job_id), Completed(result=result))
    seen = set()
    for _ in range(4):
        seen.add((await api.http.get(f"/transform/status/{job_id}")).json()["data"]["result_url"])
        await asyncio.sleep(0.4)
    assert len(seen) <= 2, "two, when the time has come for another"


async def test_cancel(api: Api) -> None:
    job_id = await api.submit()
    body = (await api.http.delete(f"/transform/{job_id}")).json()
    assert body["success"] is True
    assert body["data"]["status"] == "cancelled"
    problem(await api.http.delete(f"/transform/{job_id}"), 409, "job_finished")


async def test_links_cannot_be_made_up(api: Api) -> None:
    job_id = await api.submit()
    key = f"uploads/{job_id}/original.jpg"
    link = UrlSigner(SIGNING_KEY.encode(), api.base_url).url(key, 600)
    assert (await api.http.get(link)).status_code == 200
    for path in (
        f"/files/{key}",
        f"/files/{key}?expires=9999999999&signature={'0' * 64}",
        "/files/%ff?signature=%ff",
        link.replace("original", "keep_mask"),
        re.sub(r"expires=(\d+)", lambda found: f"expires={int(found[1]) + 1}", link),
        link[:-1] + ("0" if link[-1] != "0" else "1"),
    ):
        problem(await api.http.get(path), 403, "bad_signature")
    await api.http.delete(f"/transform/{job_id}")


@pytest.mark.parametrize("path", ["/transform/status/", "/nope", "/files/", "/debug", "/schema/nope"])
async def test_unknown_routes(api: Api, path: str) -> None:
    problem(await api.http.get(path), 404, "not_found")


@pytest.mark.parametrize("job_id", ["0" * 32, "unknown", "%00", "*", "a" * 500])
async def test_unknown_jobs(api: Api, job_id: str) -> None:
    problem(await api.http.get(f"/transform/status/{job_id}"), 404, "job_not_found")
    problem(await api.http.delete(f"/transform/{job_id}"), 404, "job_not_found")
    problem(await api.http.delete(f"/transform/{job_id}/files"), 404, "job_not_found")


async def test_wrong_methods(api: Api) -> None:
    problem(await api.http.get("/transform/submit"), 405, "method_not_allowed")
    problem(await api.http.post("/health"), 405, "method_not_allowed")
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        answer = await api.http.request(method, f"/ws/transform/{'0' * 32}")
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")


async def test_debug_is_for_the_administrator(api: Api) -> None:
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": f"Basic {ADMIN_TOKEN}"}):
        response = await api.http.get("/debug/queue/stats", headers=headers)
        problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
    assert set((await api.http.get("/debug/storage/stats", headers=ADMIN)).json()) == {"objects", "bytes"}
    assert "queued" in (await api.http.get("/debug/queue/stats", headers=ADMIN)).json()


async def test_health_names_the_state_of_each_part(api: Api) -> None:
    body = (await api.http.get("/health")).json()
    # Whether a worker looked lately depends on the tests before this one.
    assert body["services"].pop("workers")
    found = {name: part["status"] for name, part in body["services"].items()}
    assert found == {"redis": "up", "triton": "down", "storage": "up", "websocket": "up"}
    assert body["status"] == "degraded"
    assert (await api.http.get("/health/live")).status_code == 200
    assert (await api.http.get("/health/ready")).status_code == 503


async def test_without_redis_the_api_says_so_and_stores_nothing(tmp_path: Path) -> None:
    async with running_api(f"redis://127.0.0.1:{free_port()}", tmp_path) as api:
        response = await api.http.post("/transform/submit", files={"file": ("a.jpg", photo())})
        problem(response, 503, "unavailable")
        assert int(response.headers["retry-after"]) > 0
        assert api.stored() == []
        problem(await api.http.get(f"/transform/status/{'0' * 32}"), 503, "unavailable")
        services = (await api.http.get("/health")).json()["services"]
        assert (services["redis"]["status"], services["websocket"]["status"]) == ("down", "down")
        assert services["storage"]["status"] == "up"


async def test_health_answers_in_time_when_a_part_hangs(tmp_path: Path) -> None:
    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    silent = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        async with running_api(f"redis://127.0.0.1:{port}", tmp_path) as api:
            async with asyncio.timeout(4):
                services = (await api.http.get("/health", headers=ADMIN)).json()["services"]
    assert services["redis"]["status"] == "down"
    assert "no answer" in services["redis"]["detail"]
    assert services["storage"]["status"] == "up"


async def test_without_a_token_there_is_no_administrator(redis: RedisServer, tmp_path: Path) -> None:
    async with running_api(redis.url, tmp_path, REROOM_ADMIN_TOKEN="") as api:
        problem(await api.http.get("/debug/queue/stats"), 403, "admin_disabled")
        wrong = {"Authorization": "Bearer x"}
        problem(await api.http.get("/debug/queue/stats", headers=wrong), 401, "unauthorized")


async def test_links_expire(redis: RedisServer, tmp_path: Path) -> None:
    async with running_api(redis.url, tmp_path, REROOM_URL_TTL="2") as api:
        job_id = await api.submit()
        result = JobResult(
            transformed_key=f"uploads/{job_id}/original.jpg", thumbnail_key=f"a/{job_id}", metadata={}
        )
        await api.store.finish(await api.claim(job_id), Completed(result=result))
        url = (await api.http.get(f"/transform/status/{job_id}")).json()["data"]["result_url"]
        assert (await api.http.get(url)).status_code == 200
        expires = int(parse_qs(urlsplit(url).query)["expires"][0])
        await asyncio.sleep(expires - time.time() + 0.1)
        problem(await api.http.get(url), 403, "link_expired")
