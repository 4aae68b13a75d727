"""``/files``: links of storage on local disk lead to the API, which holds uploads to what R2 would."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx2
import pytest

from orchestrator.adapters.storage.signing import UrlSigner
from tests.support.api_server import SIGNING_KEY, Api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def offer(api: Api, size: int) -> str:
    answer = await api.http.post("/uploads", json={"content_type": "image/jpeg", "size": size})
    return str(answer.json()["url"])


async def put(api: Api, url: str, data: bytes, content_type: str = "image/jpeg") -> httpx2.Response:
    return await api.http.put(url, content=data, headers={"Content-Type": content_type})


async def test_a_link_takes_what_it_was_made_for_only(api: Api) -> None:
    url, before = await offer(api, 5), api.stored()
    problem(await put(api, url, b"123456"), 403, "bad_signature")
    problem(await put(api, url, b"12345", "image/png"), 403, "bad_signature")
    problem(await put(api, url.replace("/photo", "/other"), b"12345"), 403, "bad_signature")
    problem(await put(api, urlsplit(url).path, b"12345"), 403, "bad_signature")
    problem(await api.http.get(url), 403, "bad_signature")
    assert api.stored() == before
    assert (await put(api, url, b"12345")).status_code == 200
    assert len(api.stored()) == len(before) + 1


async def test_a_link_to_read_does_not_write(api: Api) -> None:
    job_id = await api.submit()
    url = UrlSigner(SIGNING_KEY.encode(), api.base_url).url(f"uploads/{job_id}/original.jpg", 60)
    photo = await api.http.get(url)
    assert photo.status_code == 200
    problem(await put(api, url, b"12345"), 403, "bad_signature")
    assert (await api.http.get(url)).content == photo.content


async def test_the_length_must_be_known(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"12345"

    headers = {"Content-Type": "image/jpeg"}
    answer = await api.http.put(await offer(api, 5), content=pieces(), headers=headers)
    problem(answer, 411, "length_required", "content-length")


async def test_links_to_write_expire(api: Api) -> None:
    then = UrlSigner(SIGNING_KEY.encode(), api.base_url, lambda: time.time() - 10)
    url = then.upload_url(f"incoming/{'0' * 32}/photo", "image/jpeg", 5, 5)
    problem(await put(api, url, b"12345"), 403, "link_expired")
