"""Storage on Cloudflare R2 or another server of the S3 protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import ClientError as TransferError
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator.adapters.storage.common import check_key, check_prefix, to_its_end
from orchestrator.adapters.storage.s3_links import ReadingLinks
from orchestrator.ports import (
    CACHE_CONTROL,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    Storage,
    StorageStats,
    Unavailable,
    UploadLink,
)

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
"""Seconds that the server may send nothing."""
CALL_SECONDS = 60.0
"""Seconds that one call may take, retries included. The server may also stop reading, or answer a byte at a time."""
ATTEMPTS = 3
"""How often a call is tried in all before it raises Unavailable."""

_CONNECTIONS = 32
_PROBE = "probe/none"


class S3Storage(Storage):
    """Objects in ``bucket``, their keys after ``prefix`` (empty, or ending with "/"). Open one with :func:`open_s3`."""

    def __init__(
        self,
        client: Any,
        links: ReadingLinks,
        bucket: str,
        prefix: str = "",
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._client, self._links, self._bucket, self._prefix = client, links, bucket, prefix
        self._call_seconds = call_seconds

    async def put(self, key: str, data: bytes, content_type: str, *, overwrite: bool = True) -> None:
        # S3 shows an object only when all of it is written. The last of several writers wins.
        await to_its_end(self._put(check_key(key), data, content_type, overwrite))

    async def _put(self, key: str, data: bytes, content_type: str, overwrite: bool) -> None:
        condition = {} if overwrite else {"IfNoneMatch": "*"}
        try:
            async with self._call():
                await self._client.put_object(
                    **self._object(key),
                    Body=data,
                    ContentType=content_type,
                    CacheControl=CACHE_CONTROL,
                    **condition,
                )
        except PreconditionFailed:
            # An earlier try of this call, whose answer was lost, may have written it.
            if await self.get(key) != data:
                raise ObjectExists(key) from None

    async def get(
        self, key: str, *, limit: int | None = None, count_bytes: Callable[[int], None] | None = None
    ) -> bytes:
        async with self._call(key):
            answer = await self._client.get_object(**self._object(check_key(key)))
            async with answer["Body"] as body:
                if limit is not None and answer["ContentLength"] > limit:
                    raise ObjectTooLarge(key)
                if count_bytes is not None:
                    count_bytes(answer["ContentLength"])
                data: bytes = await body.read()
                return data

    async def delete_prefix(self, prefix: str) -> int:
        keys = [found["Key"] async for found in self._list(check_prefix(prefix))]
        # One by one, because DeleteObjects requires a checksum of its body whose kind depends on the server.
        for key in keys:
            async with self._call():
                await self._client.delete_object(Bucket=self._bucket, Key=key)
        return len(keys)

    async def older(self, prefix: str, seconds: float) -> AsyncGenerator[str, None]:
        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        async for found in self._list(check_prefix(prefix)):
            if found["LastModified"] < limit:
                yield found["Key"].removeprefix(self._prefix)

    async def url(self, key: str, expires_in: int) -> str:
        return self._links.url(f"{self._bucket}/{self._prefix}{check_key(key)}", expires_in)

    async def upload_link(self, key: str, *, content_type: str, size: int, expires_in: int) -> UploadLink:
        # R2 has no POST policies, but enforces the signed headers of a PUT, Content-Length among them.
        put = {
            **self._object(check_key(key)),
            "ContentType": content_type,
            "ContentLength": size,
            "IfNoneMatch": "*",
        }
        async with self._call():
            url: str = await self._client.generate_presigned_url(
                "put_object", Params=put, ExpiresIn=expires_in
            )
        return UploadLink(url=url, headers={"Content-Type": content_type, "If-None-Match": "*"})

    async def stats(self) -> StorageStats:
        sizes = [found["Size"] async for found in self._list("")]
        return StorageStats(objects=len(sizes), bytes=sum(sizes))

    async def ping(self) -> None:
        # The answer to GET, unlike that to HEAD, distinguishes a missing object from a missing bucket. A list costs
        # more.
        with suppress(ObjectNotFound):
            await self.get(_PROBE)

    @asynccontextmanager
    async def _call(self, key: str = "") -> AsyncIterator[None]:
        """Limits the time of the calls inside it and translates their errors; ObjectNotFound names ``key``."""
        with s3_errors(key):
            async with asyncio.timeout(self._call_seconds):
                yield

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{key}"}

    async def _list(self, folder: str) -> AsyncIterator[dict[str, Any]]:
        """Every object under ``folder``, a checked prefix without its slash; "" lists all objects."""
        prefix = f"{self._prefix}{folder}/" if folder else self._prefix
        more: dict[str, str] = {}
        while True:
            async with self._call():
                page = await self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more)
            for found in page.get("Contents", ()):
                yield found
            if not page["IsTruncated"]:
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}


@asynccontextmanager
async def open_s3(
    *,
    endpoint: str,
    region: str,
    access_key: str,
    secret_key: str,
    bucket: str,
    prefix: str = "",
    read_seconds: float = READ_SECONDS,
    call_seconds: float = CALL_SECONDS,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[S3Storage]:
    """A storage with one client, whose connections are closed at the end.

    ``endpoint`` is the server's URL, for R2 ``https://<account>.r2.cloudflarestorage.com``; R2's ``region`` is "auto".
    """
    async with s3_client(endpoint, region, access_key, secret_key, read_seconds) as client:
        links = ReadingLinks(endpoint, region, Credentials(access_key, secret_key), clock)
        yield S3Storage(client, links, bucket, prefix, call_seconds)


@asynccontextmanager
async def s3_client(
    endpoint: str, region: str, access_key: str, secret_key: str, read_seconds: float = READ_SECONDS
) -> AsyncIterator[Any]:
    """A client of any S3 server, R2 among them, whose connections are closed at the end."""
    config = AioConfig(
        signature_version="s3v4",
        # Buckets have no DNS names at R2's endpoint, nor at most self-hosted servers.
        s3={"addressing_style": "path"},
        # botocore would add a CRC32 to every write, over HTTPS as a trailer, which R2 refuses.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        # A call that still fails raises Unavailable, also where R2 refuses a key's second write in a second: callers
        # retry.
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
    )
    async with get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=config,
    ) as client:
        client.meta.events.register_last("before-call.s3", _expect_nothing)
        yield client


def _expect_nothing(params: dict[str, Any], **_: Any) -> None:
    # R2 sends no "100 Continue", and aiohttp waits for one without a limit.
    params["headers"].pop("Expect", None)


class PreconditionFailed(Exception):
    """A conditional write found another object under the key than it expected."""


@contextmanager
def s3_errors(key: str) -> Iterator[None]:
    """Raises a port's errors for those of S3 calls; ObjectNotFound names ``key``."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "NoSuchKey":
            raise ObjectNotFound(key) from error
        if code in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise PreconditionFailed from error
        # An operator may correct a wrong access key or bucket while this process runs.
        raise Unavailable(f"S3: {error}") from error
    except (BotoCoreError, TransferError, TimeoutError, OSError) as error:
        raise Unavailable(f"S3: {str(error) or type(error).__name__}") from error
