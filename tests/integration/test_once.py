"""Requests with an Idempotency-Key are done once; a job with Cancel-After ends in time."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx2
import pytest

from orchestrator.adapters.redis import RedisOnceStore
from orchestrator.domain.preferences import Preferences
from orchestrator.ports import Begun
from orchestrator.services.submitting import once
from orchestrator.services.submitting.submissions import Submission
from stack.redis import RedisServer
from tests.support.api_server import Api, photo, problem
from tests.support.jobs import a_job, position

pytestmark = pytest.mark.asyncio(loop_scope="module")
FIELD = "idempotency-key"


def new_key() -> str:
    return str(uuid.uuid4())


async def submit(api: Api, key: str, data: bytes = photo(), **fields: str) -> httpx2.Response:
    headers = {"Idempotency-Key": key}
    return await api.http.post(
        "/transform/submit", files={"file": ("a.jpg", data)}, data=fields, headers=headers
    )


def is_replayed(answer: httpx2.Response) -> bool:
    return answer.headers.get("idempotent-replayed") == "true"


async def test_the_same_request_again_gets_the_same_answer(api: Api) -> None:
    key = new_key()
    first, second, quoted = [await submit(api, each, style="boho") for each in (key, key, f'"{key}"')]
    assert first.status_code == second.status_code == quoted.status_code == 202
    assert first.json() == second.json() == quoted.json()
    assert [is_replayed(each) for each in (first, second, quoted)] == [False, True, True]
    assert await position(api.store, first.json()["job_id"]) == 0, "there is one job"
    assert (await submit(api, new_key(), style="boho")).json()["job_id"] != first.json()["job_id"]


async def test_another_request_with_the_key_is_refused(api: Api) -> None:
    key = new_key()
    assert (await submit(api, key, style="boho")).status_code == 202
    problem(await submit(api, key, style="modern"), 422, "idempotency_key_reused", FIELD)
    problem(await submit(api, key, photo((97, 64)), style="boho"), 422, "idempotency_key_reused", FIELD)
    late = await api.http.post(
        "/transform/submit",
        files={"file": ("a.jpg", photo())},
        data={"style": "boho"},
        headers={"Idempotency-Key": key, "Cancel-After": "1h"},
    )
    problem(late, 422, "idempotency_key_reused", FIELD)
    upload = {"content_type": "image/jpeg", "size": 9}
    problem(
        await api.http.post("/uploads", json=upload, headers={"Idempotency-Key": key}),
        422,
        "idempotency_key_reused",
        FIELD,
    )


async def test_of_requests_at_once_one_makes_a_job(api: Api) -> None:
    key = new_key()
    answers = await asyncio.gather(*(submit(api, key) for _ in range(6)))
    made = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.json()["job_id"] for answer in made}) == 1
    for answer in set(answers) - set(made):
        problem(answer, 409, "idempotency_key_in_use", FIELD)
        assert int(answer.headers["retry-after"]) > 0
    assert len([answer for answer in made if not is_replayed(answer)]) == 1


async def test_nothing_is_kept_of_a_refused_request(api: Api) -> None:
    key = new_key()
    problem(await submit(api, key, b"no photo"), 415, "unsupported_image", "file")
    problem(await submit(api, key, style="gothic"), 422, "unknown_style", "style")
    accepted = await submit(api, key)
    assert (accepted.status_code, is_replayed(accepted)) == (202, False)


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", '"', "caf\xe9"])
async def test_what_no_key_is(api: Api, key: str) -> None:
    if key == '"':
        assert (await submit(api, key)).status_code == 202
        return
    answer = await api.http.post(
        "/transform/submit",
        files={"file": ("a.jpg", photo())},
        headers={b"Idempotency-Key": key.encode("latin-1")},
    )
    problem(answer, 400, "invalid_idempotency_key", FIELD)


async def test_an_upload_is_offered_once(api: Api) -> None:
    key, wish = new_key(), {"content_type": "image/jpeg", "size": 1000}
    first, second = [
        await api.http.post("/uploads", json=wish, headers={"Idempotency-Key": key}) for _ in range(2)
    ]
    assert first.json() == second.json()
    assert (first.status_code, is_replayed(first), is_replayed(second)) == (201, False, True)


@pytest.mark.parametrize("queued", [True, False])
async def test_a_try_whose_process_died_makes_no_second_job(
    api: Api, redis: RedisServer, queued: bool
) -> None:
    key, job_id = new_key(), ""
    fingerprint = Submission(bytearray(photo()), "modern", Preferences()).fingerprint()
    dead = RedisOnceStore(redis.url, prefix=f"test-{api.base_url.rpartition(':')[2]}:")
    begun = await dead.begin(once._name("", key), fingerprint, "dead", lock_seconds=0.5, seconds=60)
    await dead.aclose()
    assert isinstance(begun, Begun)
    job_id = begun.id
    if queued:
        await api.store.submit(a_job(job_id))
    problem(await submit(api, key), 409, "idempotency_key_in_use", FIELD)
    await asyncio.sleep(0.5)
    answers = [await submit(api, key), await submit(api, key)]
    assert [answer.json()["job_id"] for answer in answers] == [job_id] * 2
    assert [is_replayed(answer) for answer in answers] == [False, True]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2H", 7200), ("30", 30), ("1d", 86400)]
)
async def test_cancel_after(api: Api, text: str, seconds: int) -> None:
    job = await api.take_back(await _cancelled_after(api, text))
    assert job.cancel_after == seconds


@pytest.mark.parametrize("text", ["", "0s", "-1", "soon", "8d", "1.5m", "9999999", "٣s"])
async def test_what_no_time_is(api: Api, text: str) -> None:
    problem(await _cancelled_after(api, text), 400, "invalid_cancel_after", "cancel-after")


async def _cancelled_after(api: Api, text: str) -> httpx2.Response:
    headers: dict[Any, Any] = {b"Cancel-After": text.encode()}
    return await api.http.post("/transform/submit", files={"file": ("a.jpg", photo())}, headers=headers)
