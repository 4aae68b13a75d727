"""Smoke test on a real R2 bucket: what only R2 itself checks, signatures above all.

    REROOM_TEST_R2=1 R2_BUCKET_NAME=… R2_ENDPOINT_URL=… R2_ACCESS_KEY_ID=… R2_SECRET_ACCESS_KEY=… \\
        .venv/bin/python -m pytest tests/contract/test_r2.py tests/contract/test_storage.py
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import httpx2
import pytest

from orchestrator.adapters.opening import open_storage
from orchestrator.ports import Storage
from orchestrator.settings import load_settings
from tests.contract.test_storage import REAL

pytestmark = pytest.mark.skipif(not REAL, reason="REROOM_TEST_R2=1 and R2_… name no real bucket to test on")


@pytest.fixture
async def storage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Storage]:
    monkeypatch.setenv("REROOM_SIGNING_KEY", "not used with a bucket")
    monkeypatch.setenv("REROOM_S3_PREFIX", f"reroom-test-{uuid.uuid4().hex}/")
    async with open_storage(load_settings()) as storage:
        yield storage
        await storage.delete_prefix("a/")


async def test_links_open_what_they_name_and_only_as_long_as_they_say(storage: Storage) -> None:
    await storage.put("a/b.jpg", b"picture", "image/jpeg")
    url = await storage.url("a/b.jpg", 60)
    brief = await storage.url("a/b.jpg", 1)
    async with httpx2.AsyncClient() as http:
        answer = await http.get(url)
        assert (answer.status_code, answer.content) == (200, b"picture")
        assert answer.headers["content-type"] == "image/jpeg"
        assert (await http.get(url.replace("b.jpg", "c.jpg"))).status_code == 403
        assert (await http.get(url.split("?")[0])).status_code in (400, 401, 403)
        await asyncio.sleep(2.5)
        assert (await http.get(brief)).status_code == 403


async def test_upload_links_take_what_was_signed_only(storage: Storage) -> None:
    link = await storage.upload_link("a/photo", content_type="image/png", size=5, expires_in=60)
    async with httpx2.AsyncClient() as http:
        assert (await http.put(link.url, content=b"too long", headers=link.headers)).status_code == 403
        other = {"Content-Type": "text/html"}
        assert (await http.put(link.url, content=b"photo", headers=other)).status_code == 403
        assert (await http.put(link.url, content=b"photo", headers=link.headers)).status_code == 200
    assert await storage.get("a/photo") == b"photo"
