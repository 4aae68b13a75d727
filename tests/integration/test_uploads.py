"""Uploading straight to storage and submitting by key, on either storage, from the link to the job's photo."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from PIL import Image

import reroom
from measuring.s3_server import S3Server
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.domain.events import Completed
from orchestrator.domain.job import JobResult
from orchestrator.ports import Storage
from stack.redis import RedisServer
from tests.support.api_server import Api, photo, problem, running_api

MAX_UPLOAD = 200_000

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Place:
    """An API, and the storage that it uses."""

    def __init__(self, api: Api, storage: Storage) -> None:
        self.api, self.storage = api, storage

    async def offer(self, data: bytes, content_type: str = "image/jpeg") -> dict[str, Any]:
        answer = await self.api.http.post("/uploads", json={"content_type": content_type, "size": len(data)})
        assert answer.status_code == 201, answer.text
        offer: dict[str, Any] = answer.json()
        return offer

    async def upload(self, data: bytes, content_type: str = "image/jpeg") -> str:
        """The key of the photo, which is stored."""
        offer = await self.offer(data, content_type)
        async with httpx2.AsyncClient() as http:
            answer = await http.put(offer["url"], content=data, headers=offer["headers"])
        assert answer.status_code == 200, answer.text
        return str(offer["key"])

    async def submit(self, key: str, **fields: str) -> httpx2.Response:
        form = {name: (None, value.encode()) for name, value in {"key": key, **fields}.items()}
        return await self.api.http.post("/transform/submit", files=form)

    async def used_up(self) -> None:
        """Waits until no upload is left: what was submitted is deleted after the answer."""
        for _ in range(200):
            if not await self.incoming():
                return
            await asyncio.sleep(0.05)
        raise AssertionError("an upload stays")

    async def incoming(self) -> list[str]:
        """Keys of the uploads that hold a photo: of one that was used, only an empty object is left."""
        found = [key async for key in self.storage.older("incoming/", -60)]
        return [key for key in found if await self.storage.get(key)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["local", "s3"])
async def place(
    request: pytest.FixtureRequest, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    folder, limits = tmp_path_factory.mktemp("api"), {"REROOM_MAX_UPLOAD_BYTES": str(MAX_UPLOAD)}
    if request.param == "local":
        async with running_api(redis.url, folder, **limits) as api:
            yield Place(api, LocalStorage(api.storage_dir, UrlSigner(b"", "")))
        return
    s3: S3Server = request.getfixturevalue("s3")
    bucket = s3.bucket()
    async with (
        running_api(redis.url, folder, **limits, **s3.environment(bucket)) as api,
        s3.open(bucket) as storage,
    ):
        yield Place(api, storage)


async def test_upload_then_submit_by_key(place: Place) -> None:
    key = await place.upload(photo(format="PNG"), "image/png")
    assert await place.incoming() == [key]
    answer = await place.submit(key, style="boho", preferences='{"seed": 3}')
    assert answer.status_code == 202, answer.text
    job = await place.api.store.get(answer.json()["job_id"])
    assert (job.style, job.preferences.seed) == ("boho", 3)
    with Image.open(io.BytesIO(await place.storage.get(job.original_key))) as stored:
        assert (stored.format, stored.size) == ("JPEG", (96, 64))
    await place.used_up()
    problem(await place.submit(key), 409, "upload_used", "key")
    await place.api.http.delete(f"/transform/{job.id}")


async def test_of_many_submissions_of_one_upload_one_gets_in(place: Place) -> None:
    key = await place.upload(photo())
    answers = await asyncio.gather(*(place.submit(key) for _ in range(40)))
    assert sorted(answer.status_code for answer in answers) == [202] + 39 * [409]
    assert (await place.api.store.stats()).queued == 1
    (taken,) = [answer for answer in answers if answer.status_code == 202]
    await place.api.take_back(taken)


async def test_a_link_takes_no_other_photo_once_one_is_there(place: Place) -> None:
    data = photo()
    offer = await place.offer(data)
    other = data[:-1] + bytes([data[-1] ^ 1])
    async with httpx2.AsyncClient() as http:
        for put, allowed in ((data, (200,)), (other, (409, 412))):
            answer = await http.put(offer["url"], content=put, headers=offer["headers"])
            assert answer.status_code in allowed, answer.text
        taken = await place.submit(offer["key"])
        for put in (data, other):
            answer = await http.put(offer["url"], content=put, headers=offer["headers"])
            assert answer.status_code in (409, 412), answer.text
    assert await place.incoming() == []
    await place.api.take_back(taken)


async def test_a_submission_before_the_photo_does_not_cost_the_key(place: Place) -> None:
    data = photo()
    offer = await place.offer(data)
    problem(await place.submit(offer["key"]), 409, "no_such_upload", "key")
    async with httpx2.AsyncClient() as http:
        assert (await http.put(offer["url"], content=data, headers=offer["headers"])).status_code == 200
    await place.api.take_back(await place.submit(offer["key"]))


async def test_results_are_reached_by_their_links_and_erased(place: Place) -> None:
    job_id = await place.api.submit()
    lease = await place.api.claim(job_id)
    keys = [f"results/{job_id}/1/{name}.jpg" for name in ("transformed", "thumbnail")]
    for key in keys:
        await place.storage.put(key, key.encode(), "image/jpeg")
    result = JobResult(transformed_key=keys[0], thumbnail_key=keys[1], metadata={})
    await place.api.store.finish(lease, Completed(result=result))
    data = (await place.api.http.get(f"/transform/status/{job_id}")).json()["data"]["result"]
    async with httpx2.AsyncClient() as http:
        for url, content in ((data["transformed_url"], keys[0]), (data["thumbnail_url"], keys[1])):
            answer = await http.get(url)
            assert (answer.status_code, answer.content) == (200, content.encode())
            assert answer.headers["content-type"] == "image/jpeg"
        assert (await http.get(data["original_url"])).content.startswith(b"\xff\xd8\xff")
    assert (await place.api.http.delete(f"/transform/{job_id}/files")).status_code == 200
    for kind in ("uploads/", "results/"):
        assert not [key async for key in place.storage.older(kind, -60) if job_id in key]


@pytest.mark.parametrize("shell", [reroom.Client, reroom.AsyncClient])
async def test_the_client_uploads_and_submits(place: Place, shell: Any) -> None:
    data = photo(format="WEBP")
    if shell is reroom.AsyncClient:
        async with reroom.AsyncClient(place.api.base_url) as client:
            job = await client.submit(await client.upload(data), "boho", reroom.Preferences(seed=3))
    else:
        with reroom.Client(place.api.base_url) as blocking:
            uploaded = await asyncio.to_thread(blocking.upload, data)
            assert uploaded.expires_at is not None
            job = await asyncio.to_thread(blocking.submit, uploaded, "boho", reroom.Preferences(seed=3))
    queued = await place.api.store.get(job.job_id)
    assert (queued.style, queued.preferences.seed) == ("boho", 3)
    await place.used_up()
    await place.api.http.delete(f"/transform/{job.job_id}")


async def test_an_offer_says_how_to_use_it(place: Place) -> None:
    offer = await place.offer(b"12345")
    assert set(offer) == {"success", "key", "method", "url", "headers", "expires_at"}
    assert offer["method"] == "PUT"
    assert offer["headers"]["Content-Type"] == "image/jpeg"
    expires = datetime.fromisoformat(offer["expires_at"]).timestamp()
    assert abs(expires - time.time() - 3600) < 60
    assert offer["key"] != (await place.offer(b"12345"))["key"]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, "invalid_upload", "body"),
        (b"\xff", 400, "invalid_upload", "body"),
        (b"[]", 422, "invalid_upload", "body"),
        (b'{"size": 1}', 422, "invalid_upload", "content_type"),
        (b'{"content_type": "image/jpeg"}', 422, "invalid_upload", "size"),
        (b'{"content_type": "image/gif", "size": 1}', 422, "invalid_upload", "content_type"),
        (b'{"content_type": "image/jpeg", "size": 0}', 422, "invalid_upload", "size"),
        (b'{"content_type": "image/jpeg", "size": "1"}', 422, "invalid_upload", "size"),
        (b'{"content_type": "image/jpeg", "size": 1, "name": ""}', 422, "invalid_upload", "name"),
        (b'{"content_type": "image/jpeg", "size": 1.5}', 422, "invalid_upload", "size"),
        (b'{"content_type": "image/jpeg", "size": 1e400}', 422, "invalid_upload", "size"),
        (b'{"content_type": "image/jpeg", "size": 200001}', 413, "body_too_large", "size"),
        (b" " * 5000, 413, "body_too_large", "file"),
    ],
)
async def test_bad_wishes_are_named(place: Place, body: bytes, status: int, code: str, field: str) -> None:
    problem(await place.api.http.post("/uploads", content=body), status, code, field)


async def test_a_wish_as_other_programs_write_it(place: Place) -> None:
    body = b'\xef\xbb\xbf{"content_type": "IMAGE/JPEG", "size": 5.0}'
    answer = await place.api.http.post("/uploads", content=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["headers"]["Content-Type"] == "image/jpeg"


async def test_a_refused_mask_leaves_the_photo_for_another_try(place: Place) -> None:
    key = await place.upload(photo())
    for mask, code in ((photo((64, 200)), "mask_mismatch"), (b"hello", "unsupported_image")):
        submission = {"key": key, "keep_mask": base64.b64encode(mask).decode()}
        answer = await place.api.http.post("/transform/submit-upload", json=submission)
        problem(answer, 415 if mask == b"hello" else 422, code, "keep_mask")
    answer = await place.submit(key)
    assert answer.status_code == 202, answer.text
    await place.api.http.delete(f"/transform/{answer.json()['job_id']}")


async def test_submitted_as_json(place: Place) -> None:
    key = await place.upload(photo())
    mask = base64.b64encode(photo()).decode()
    wishes = {
        "key": key,
        "style": " Boho",
        "preferences": {"seed": 3.0},
        "keep_mask": mask,
        "reference": mask,
    }
    answer = await place.api.http.post("/transform/submit-upload", json=wishes)
    job = await place.api.take_back(answer)
    assert (job.style, job.preferences.seed) == ("boho", 3)
    assert (job.mask_key, job.reference_key) == tuple(
        f"uploads/{job.id}/{name}.jpg" for name in ("keep_mask", "reference")
    )
    assert job.requires == ["keep_mask", "reference"]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, "malformed_json", "body"),
        (b"[]", 400, "malformed_json", "body"),
        (b'"\xff"', 400, "malformed_json", "body"),
        (b"{}", 422, "missing_file", "key"),
        (b'{"key": 1}', 422, "missing_file", "key"),
        (b'{"key": "x", "file": "x"}', 422, "unknown_field", "file"),
        (b'{"key": "x", "style": null}', 422, "unknown_style", "style"),
        (b'{"key": "x", "style": "gothic"}', 422, "unknown_style", "style"),
        (b'{"key": "x", "preferences": "{}"}', 422, "invalid_preferences", "preferences"),
        (b'{"key": "x", "preferences": {"steps": 0}}', 422, "invalid_preferences", "preferences.steps"),
        (b'{"key": "x"}', 409, "no_such_upload", "key"),
        (b'{"key": "x", "keep_mask": "x"}', 422, "invalid_mask", "keep_mask"),
        (b'{"key": "x", "keep_mask": 1}', 422, "invalid_mask", "keep_mask"),
        (b'{"key": "x", "reference": "x"}', 422, "invalid_reference", "reference"),
        (b'{"key": "' + b"x" * 2**20 + b'"}', 413, "body_too_large", "file"),
    ],
)
async def test_bad_json_is_named(place: Place, body: bytes, status: int, code: str, field: str) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await place.api.http.post("/transform/submit-upload", content=body, headers=headers)
    problem(answer, status, code, field)


async def test_json_is_called_json(place: Place) -> None:
    answer = await place.api.http.post("/transform/submit-upload", content=b"{}")
    problem(answer, 415, "unsupported_media_type", "content-type")


@pytest.mark.parametrize(
    "key", ["", "incoming/x/photo", f"incoming/{'0' * 32}/photo", "uploads/../incoming", "\0", "é"]
)
async def test_a_key_that_was_not_put_is_refused(place: Place, key: str) -> None:
    problem(await place.submit(key), 409, "no_such_upload", "key")


async def test_the_key_of_a_jobs_photo_is_no_upload(place: Place) -> None:
    job_id = await place.api.submit()
    problem(await place.submit(f"uploads/{job_id}/original.jpg"), 409, "no_such_upload", "key")
    await place.api.http.delete(f"/transform/{job_id}")
    await place.storage.delete_prefix("uploads/")


async def test_a_photo_comes_as_file_or_by_key(place: Place) -> None:
    key = await place.upload(photo())
    form = {"key": (None, key.encode()), "file": ("a.jpg", photo())}
    problem(await place.api.http.post("/transform/submit", files=form), 422, "file_and_key", "key")
    assert await place.incoming() == [key]
    await place.storage.delete_prefix("incoming/")


async def test_what_the_gate_refuses_is_not_kept(place: Place) -> None:
    key = await place.upload(b"<html>not a photo</html>")
    problem(await place.submit(key), 415, "unsupported_image", "file")
    assert await place.incoming() == []
    problem(await place.submit(key), 409, "upload_used", "key")


async def test_a_wrong_style_does_not_cost_the_upload(place: Place) -> None:
    key = await place.upload(photo())
    problem(await place.submit(key, style="gothic"), 422, "unknown_style", "style")
    assert await place.incoming() == [key]
    await place.storage.delete_prefix("incoming/")


async def test_more_than_was_allowed_is_refused_at_the_latest_when_submitted(place: Place) -> None:
    key = (await place.offer(b"12345"))["key"]
    # As a client would that does not keep to its link, on a server that lets it.
    await place.storage.put(key, bytes(MAX_UPLOAD + 1), "image/jpeg")
    problem(await place.submit(key), 413, "body_too_large", "key")
    await place.storage.delete_prefix("incoming/")
