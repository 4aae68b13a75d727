"""``Prefer: wait`` on submissions: the finished job in the answer, or its address; and nothing held meanwhile."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from litestar import Request

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.api.middleware.deadline import AnswerWithin, unhurried, unhurried_seconds
from orchestrator.api.requests.prefer import Preferred, preferred
from orchestrator.app import create_app
from orchestrator.domain.events import Cancelled, Completed, Failed
from orchestrator.domain.job import JobError, JobResult, JobState
from orchestrator.ports import Lease
from orchestrator.settings import Settings
from stack.redis import RedisServer
from tests.support.api_schema import check
from tests.support.api_server import Api, photo, running_api, serving
from tests.support.jobs import claim

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 16
MAX_UPLOAD = 16_000
RESULT = JobResult(
    transformed_key="results/a/1/t.jpg", thumbnail_key="results/a/1/s.jpg", metadata={"seed": 1}
)
COMPLETED = Completed(result=RESULT)
CANCEL = "wait=25, cancel-on-disconnect"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    settings = {
        "REROOM_MAX_UPLOAD_BYTES": str(MAX_UPLOAD),
        "REROOM_WAITS_AT_ONCE": str(AT_ONCE),
        "REROOM_WAIT_SECONDS": "30",
        "REROOM_DRAIN": "15",
    }
    async with running_api(redis.url, tmp_path_factory.mktemp("api"), **settings) as api:
        yield api


async def submit(api: Api, prefer: str, key: str | None = None, data: bytes = photo()) -> httpx2.Response:
    headers = {"Prefer": prefer} | ({"Idempotency-Key": key} if key else {})
    return await api.http.post("/transform/submit", files={"file": ("a.jpg", data)}, headers=headers)


async def begun(api: Api) -> Lease:
    """The next job, once it is submitted, begun as a worker would."""
    async with asyncio.timeout(20):
        while True:
            lease = await api.store.claim("a-test", 0.5)
            if lease is not None:
                return lease


def applied(answer: httpx2.Response) -> str | None:
    return answer.headers.get("preference-applied")


async def test_the_answer_is_the_finished_job(api: Api) -> None:
    waiting = asyncio.create_task(submit(api, "wait=25"))
    lease = await begun(api)
    await api.store.finish(lease, COMPLETED)
    answer = await asyncio.wait_for(waiting, 20)
    assert (answer.status_code, applied(answer), "location" in answer.headers) == (200, "wait=25", False)
    check("Status", answer.json())
    assert (answer.json()["data"]["job_id"], answer.json()["data"]["status"]) == (lease.job.id, "completed")


async def test_a_failed_job_has_ended_too(api: Api) -> None:
    waiting = asyncio.create_task(submit(api, "respond-async, wait"))
    await api.store.finish(await begun(api), Failed(error=JobError(code="model_error", detail="x")))
    answer = await asyncio.wait_for(waiting, 20)
    found = answer.status_code, answer.json()["data"]["status"], applied(answer)
    assert found == (200, "failed", "wait=30"), "the longest time of the service"


@pytest.mark.parametrize(
    ("prefer", "said"),
    [
        ("wait=1", "wait=1"), ("wait=0", "wait=0"), ("respond-async", "respond-async"), ("", None),
        ("respond-async, wait=0", "respond-async, wait=0"), ("wait=soon", None), ("frown=7", None),
    ],
)  # fmt: skip
async def test_a_job_that_goes_on_has_an_address(api: Api, prefer: str, said: str | None) -> None:
    answer = await submit(api, prefer)
    check("Submitted", answer.json())
    assert (answer.status_code, applied(answer)) == (202, said)
    assert answer.headers["location"] == answer.json()["status_url"]
    assert (await api.http.get(answer.headers["location"])).json()["data"]["status"] == "queued"
    await api.take_back(answer)


async def test_a_request_that_is_sent_again_waits_for_the_same_job(api: Api) -> None:
    key = uuid.uuid4().hex
    first = asyncio.create_task(submit(api, "wait=25", key))
    lease = await begun(api)
    second = await submit(api, "wait=0", key)
    assert (second.status_code, second.json()["job_id"]) == (202, lease.job.id)
    third = asyncio.create_task(submit(api, "wait=25", key))
    await api.store.finish(lease, COMPLETED)
    answers = await asyncio.wait_for(asyncio.gather(first, third), 20)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["data"]["job_id"] for answer in answers] == [lease.job.id] * 2
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]


async def test_who_waits_holds_no_upload_and_has_a_share_of_the_places(api: Api) -> None:
    # The largest photo fills what one address may upload at a time several times over.
    large = photo()[:-2] + b"\xff\xfe\x30\x00" + bytes(0x2FFE) + b"\xff\xd9"
    waiting, leases = [], []
    for _ in range(AT_ONCE // 4):
        waiting.append(asyncio.create_task(submit(api, "wait=25", data=large)))
        leases.append(await begun(api))
    one_more = await asyncio.wait_for(submit(api, "wait=25", data=large), 20)
    assert (one_more.status_code, applied(one_more)) == (202, None)
    assert not any(task.done() for task in waiting)
    await api.take_back(one_more)
    for lease in leases:
        await api.store.finish(lease, COMPLETED)
    for task in waiting:
        assert (await asyncio.wait_for(task, 20)).status_code == 200
    last = asyncio.create_task(submit(api, "wait=25"))
    await api.store.finish(await begun(api), COMPLETED)
    assert (await asyncio.wait_for(last, 20)).status_code == 200, "the places are free again"


async def test_who_waits_holds_nothing_of_the_photo(redis: RedisServer, tmp_path: Path) -> None:
    settings = {"signing_key": "x" * 16, "open": True, "redis_url": redis.url, "redis_prefix": "waits:"}
    app = create_app(Settings.model_validate(settings | {"storage_dir": tmp_path / "storage"}))
    comment = b"\xff\xfe\xff\xff" + bytes(0xFFFD)
    large = {"file": ("a.jpg", photo()[:-2] + 60 * comment + b"\xff\xd9")}
    store = RedisJobStore(redis.url, prefix="waits:")
    async with aclosing(store), serving(app) as http:
        # The first one imports and opens what the others use.
        assert (await http.post("/transform/submit", files=large)).status_code == 202
        gc.collect()
        tracemalloc.start()
        try:
            prefer = {"Prefer": "wait=25"}
            waiting = asyncio.create_task(http.post("/transform/submit", files=large, headers=prefer))
            async with asyncio.timeout(20):
                while (await store.stats()).queued < 2:  # noqa: ASYNC110  (another task changes it)
                    await asyncio.sleep(0.05)
                while tracemalloc.get_traced_memory()[0] > 1_000_000:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert tracemalloc.get_traced_memory()[1] > 3_900_000, "it held the photo before"
        finally:
            tracemalloc.stop()
        assert not waiting.done()
        for _ in range(2):
            await store.finish(await claim(store), COMPLETED)
        assert (await asyncio.wait_for(waiting, 20)).status_code == 200


@pytest.mark.parametrize(("prefer", "cancelled"), [(CANCEL, True), ("wait=25", False)])
async def test_a_client_that_leaves(api: Api, prefer: str, cancelled: bool) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + photo()
        + b"\r\n--x--\r\n"
    )
    _, writer = await api.connect(
        f"POST /transform/submit HTTP/1.1\r\nHost: localhost\r\nPrefer: {prefer}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
        + body
    )
    lease = await begun(api)
    writer.close()
    await writer.wait_closed()
    if cancelled:
        async with asyncio.timeout(20):
            while not await api.store.renew(lease):  # noqa: ASYNC110  (another process changes it)
                await asyncio.sleep(0.05)
    else:
        # Another request, which is answered after the server saw the first one's end.
        await api.take_back(await submit(api, "wait=1"))
        assert not await api.store.renew(lease)
    await api.store.finish(lease, COMPLETED)
    ended = await api.store.get(lease.job.id)
    assert ended.status is (JobState.CANCELLED if cancelled else JobState.COMPLETED)


async def test_a_server_that_stops_lets_go_of_who_waits(redis: RedisServer, tmp_path: Any) -> None:
    async with running_api(redis.url, tmp_path) as api:
        waiting = asyncio.create_task(submit(api, CANCEL))
        lease = await begun(api)
        api.process.terminate()
        answer = await asyncio.wait_for(waiting, 15)
        assert (answer.status_code, applied(answer)) == (202, None)
        assert answer.json()["job_id"] == lease.job.id
        assert not await api.store.renew(lease), "the job goes on"
        await api.store.finish(lease, Cancelled())


async def test_waiting_is_not_slowness() -> None:
    answers: list[int] = []
    waited: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with unhurried(scope):
            await asyncio.sleep(0.6)
        if scope["path"] == "/slow":
            await asyncio.sleep(5)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answers.append(message["status"])

    async def receive() -> Any: ...

    for path in ("/", "/slow"):
        scope: Any = {"type": "http", "path": path, "raw_path": path.encode(), "state": {}}
        await AnswerWithin(app, 0.3)(scope, receive, send)
        waited.append(unhurried_seconds(scope))
    assert answers == [200, 503]
    assert all(0.5 < seconds < 3 for seconds in waited), waited


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], Preferred()),
        (["respond-async, wait=10"], Preferred(10, True)),
        (["respond-async", "wait=10"], Preferred(10, True)),
        (['WAIT = "7" ; x=y, wait=8, Cancel-On-Disconnect'], Preferred(7, False, True)),
        (["wait"], Preferred(float("inf"))),
        (['handling="a, wait=3", foo; wait=4'], Preferred()),
        (["wait=1.5", "wait=3"], Preferred()),
        (["wait=-3"], Preferred()),
        ([',,"', "respond-async"], Preferred(None, True)),
        (['"\\' * 500], Preferred()),
        (["x" * 2000 + ", wait=3"], Preferred()),
    ],
)
async def test_what_is_preferred(headers: list[str], found: Preferred) -> None:
    raw = [(b"prefer", header.encode()) for header in headers]
    scope: Any = {"type": "http", "method": "POST", "path": "/", "headers": raw, "state": {}}
    assert preferred(Request(scope)) == found
