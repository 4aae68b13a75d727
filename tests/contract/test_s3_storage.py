"""What the S3 adapter promises beyond its port's contract: R2's quirks, and how it bears outages."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import trustme
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.credentials import Credentials

from measuring.s3_server import S3Server
from orchestrator.adapters.storage.s3 import ATTEMPTS
from orchestrator.adapters.storage.s3_links import ReadingLinks
from orchestrator.ports import ObjectNotFound, Unavailable
from tests.support.relay import relaying
from tests.support.servers import free_port

CHECKSUMS = (b"x-amz-checksum", b"x-amz-trailer", b"x-amz-sdk-checksum", b"aws-chunked", b"streaming-")
"""What requests hold, in small letters, that R2 does not take."""


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """For a server on localhost, whose authority every client of this test trusts, as operators make theirs trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


async def test_over_https_no_checksum_trailer_is_sent(s3: S3Server, tls: ssl.SSLContext) -> None:
    async with relaying(s3.url, tls) as relay, s3.open(s3.bucket(), endpoint=relay.url) as storage:
        await storage.put("a/b", b"x" * 10_000, "image/jpeg")
        await storage.put("a/c", b"x" * 10_000, "image/jpeg", overwrite=False)
        assert await storage.get("a/b") == b"x" * 10_000
        await storage.stats()
        await storage.ping()
        await storage.delete_prefix("a/")
        sent = bytes(relay.sent).lower()
        assert b"100-continue" not in sent
        assert sent.count(b"put /") == 2
        assert sent.count(b"if-none-match: *") == 1
        assert [word for word in CHECKSUMS if word in sent] == []


async def test_botocores_defaults_would_send_one(s3: S3Server, tls: ssl.SSLContext) -> None:
    bucket = s3.bucket()
    async with relaying(s3.url, tls) as relay:
        options = {"aws_access_key_id": "a-key", "aws_secret_access_key": "a-secret", "region_name": "auto"}
        async with get_session().create_client("s3", endpoint_url=relay.url, **options) as client:
            await client.put_object(Bucket=bucket, Key="a", Body=b"x" * 10_000)
        assert [word for word in CHECKSUMS if word in bytes(relay.sent).lower()] != []


async def test_a_certificate_of_an_unknown_authority_is_refused(
    s3: S3Server, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    async with relaying(s3.url, tls) as relay, s3.open(s3.bucket(), endpoint=relay.url) as storage:
        with pytest.raises(Unavailable, match="certificate"):
            await storage.put("a/b", b"x", "image/jpeg")


async def test_a_link_gives_the_object_and_its_type(s3: S3Server) -> None:
    async with s3.open(s3.bucket(), prefix="p/") as storage, httpx2.AsyncClient() as http:
        await storage.put("a/b.jpg", b"picture", "image/jpeg")
        answer = await http.get(await storage.url("a/b.jpg", 60))
        assert (answer.status_code, answer.content) == (200, b"picture")
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"].startswith("private")


async def test_an_upload_link_stores_the_photo(s3: S3Server) -> None:
    async with s3.open(s3.bucket(), prefix="p/") as storage, httpx2.AsyncClient() as http:
        link = await storage.upload_link("incoming/a/photo", content_type="image/png", size=5, expires_in=60)
        answer = await http.put(link.url, content=b"photo", headers=link.headers)
        assert answer.status_code == 200
        assert await storage.get("incoming/a/photo") == b"photo"


async def test_links_sign_what_r2_holds_them_to(s3: S3Server) -> None:
    """R2 has no POST policies: only signed headers bind an upload. (moto checks no signature.)"""
    async with s3.open(s3.bucket()) as storage:
        link = await storage.upload_link("a/b", content_type="image/png", size=5, expires_in=77)
        read = await storage.url("a/b", 88)
    put, get = (parse_qs(urlsplit(url).query) for url in (link.url, read))
    assert put["X-Amz-SignedHeaders"] == ["content-length;content-type;host;if-none-match"]
    assert (put["X-Amz-Expires"], get["X-Amz-Expires"]) == (["77"], ["88"])
    assert put["X-Amz-Algorithm"] == get["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert "/auto/s3/aws4_request" in put["X-Amz-Credential"][0]
    assert not [name for name in (*put, *get) if "checksum" in name.lower()]


def signed_at(url: str) -> int:
    """UNIX seconds."""
    date = parse_qs(urlsplit(url).query)["X-Amz-Date"][0]
    return round(datetime.strptime(date, "%Y%m%dT%H%M%S%z").timestamp())


async def test_links_stay_the_same_for_half_of_their_life(s3: S3Server) -> None:
    bucket, now, urls = s3.bucket(), 1_800_000_000.25, list[str]()

    def clock() -> float:
        return now

    async with s3.open(bucket, clock=clock) as one, s3.open(bucket, clock=clock) as other:
        for _ in range(1200):
            urls.append(await one.url("a/b.jpg", 600))
            assert await other.url("a/b.jpg", 600) == urls[-1], "another process makes another link"
            age = clock() - signed_at(urls[-1])
            assert 0 <= age <= 301, "no link is of the future, or has less than half of its life before it"
            now += 1
    assert len(set(urls)) == 5


async def test_links_are_signed_as_botocore_signs(s3: S3Server) -> None:
    """Who checks signatures, as moto does not, takes ours as it takes botocore's."""
    bucket, key = s3.bucket(), "p/a/b-c_d.jpg"
    options = {"aws_access_key_id": "a-key", "aws_secret_access_key": "a-secret", "region_name": "auto"}
    config = AioConfig(signature_version="s3v4", s3={"addressing_style": "path"})
    async with get_session().create_client("s3", endpoint_url=s3.url, config=config, **options) as client:
        given = {"Bucket": bucket, "Key": key}
        theirs = await client.generate_presigned_url("get_object", Params=given, ExpiresIn=600)
    links = ReadingLinks(s3.url, "auto", Credentials("a-key", "a-secret"), time.time)
    assert links.signed(f"{bucket}/{key}", signed_at(theirs), 600) == theirs


async def test_services_that_share_a_bucket_do_not_see_each_other(s3: S3Server) -> None:
    bucket = s3.bucket()
    async with s3.open(bucket, prefix="one/") as one, s3.open(bucket, prefix="two/") as two:
        await one.put("a/b", b"x", "image/jpeg")
        assert (await two.stats()).objects == 0
        assert await two.delete_prefix("a/") == 0
        with pytest.raises(ObjectNotFound):
            await two.get("a/b")


async def test_more_objects_than_one_page_lists(s3: S3Server) -> None:
    async with s3.open(s3.bucket()) as storage:
        for start in range(0, 1010, 101):
            puts = (storage.put(f"a/{n}", b"x", "image/jpeg") for n in range(start, start + 101))
            await asyncio.gather(*puts)
        assert (await storage.stats()).objects == 1010
        assert len([key async for key in storage.older("a/", -60)]) == 1010


async def test_a_call_whose_connection_breaks_is_made_again(s3: S3Server) -> None:
    async with relaying(s3.url) as relay, s3.open(s3.bucket(), endpoint=relay.url) as storage:
        await storage.put("a/b", b"x", "image/jpeg")
        relay.cut()  # the pooled connection is dead now
        assert await storage.get("a/b") == b"x"
        relay.lose_answers = 1
        assert await storage.get("a/b") == b"x"


async def test_a_conditional_write_survives_a_lost_answer(s3: S3Server) -> None:
    async with relaying(s3.url) as relay, s3.open(s3.bucket(), endpoint=relay.url) as storage:
        relay.lose_answers = 1
        await storage.put("a/b", b"x", "image/jpeg", overwrite=False)
        assert relay.lose_answers == 0
        assert bytes(relay.sent).count(b"PUT /") == 2
        assert await storage.get("a/b") == b"x"


async def test_a_server_that_is_away_is_unavailable_and_may_come_back(s3: S3Server) -> None:
    bucket = s3.bucket()
    async with s3.open(bucket, endpoint=f"http://127.0.0.1:{free_port()}") as storage:
        put = storage.put("a/b", b"x", "image/jpeg")
        for call in (storage.ping(), storage.get("a/b"), put, storage.stats()):
            with pytest.raises(Unavailable, match="S3"):
                await call
    async with relaying(s3.url) as relay, s3.open(bucket, endpoint=relay.url) as storage:
        # aiohttp also repeats a GET by itself when a connection that it kept turns out to be dead.
        relay.lose_answers = 2 * ATTEMPTS
        with pytest.raises(Unavailable):
            await storage.ping()
        relay.lose_answers = 0
        await storage.ping()


@pytest.mark.parametrize("patience", [{"read_seconds": 0.2}, {"call_seconds": 1.0}])
async def test_a_silent_server_is_given_up(s3: S3Server, patience: dict[str, float]) -> None:
    connections = []

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, s3.open("bucket", endpoint=endpoint, **patience) as storage, asyncio.timeout(30):
        with pytest.raises(Unavailable):
            await storage.put("a/b", b"x", "image/jpeg")
        with pytest.raises(Unavailable):
            await storage.get("a/b")
    await asyncio.wait([task for task in connections if task])


async def test_a_bucket_that_does_not_exist_is_named(s3: S3Server) -> None:
    async with s3.open("no-such-bucket") as storage:
        for call in (storage.ping(), storage.put("a/b", b"x", "image/jpeg"), storage.get("a/b")):
            with pytest.raises(Unavailable, match="NoSuchBucket"):
                await call
