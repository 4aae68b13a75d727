"""Releases in an object storage, R2 or another server of the S3 protocol, for several hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.adapters.releases import document
from orchestrator.adapters.releases.document import CHECKED, HOSTS, LIVE, RELEASE, ROLLOUT, VERSIONS
from orchestrator.adapters.storage.s3 import PreconditionFailed, s3_client, s3_errors
from orchestrator.domain.releases import ReleaseVersion, Rollout
from orchestrator.ports.errors import AnotherWriter, ObjectNotFound
from orchestrator.ports.rollouts import HostState, Rollouts

CALL_SECONDS = 10.0
"""Seconds that one call may take: the document is small, and is asked for all the time."""


class ObjectRollouts(Rollouts):
    """Objects of ``bucket`` whose keys begin with ``prefix`` (empty, or ending with "/"), which stand for a release
    folder's files. Open one with :func:`open_rollouts`."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    async def read(self) -> Rollout:
        content, _ = await self._get(ROLLOUT)
        return document.read_document(content, await self._live(content))

    async def write(self, rollout: Rollout) -> None:
        content, etag = await self._get(ROLLOUT)
        following = document.next_document(rollout, content, await self._live(content))
        if following is None:
            return
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            await self._put(following, condition)
        except PreconditionFailed:
            # Somebody was faster; or an earlier try of this call, whose answer was lost, has written it.
            content, _ = await self._get(ROLLOUT)
            if document.next_document(rollout, content, None) is not None:
                raise AnotherWriter("the rollout was changed at the same time: ask again") from None

    async def versions(self) -> list[ReleaseVersion]:
        names = [name.split("/") for name in await self._names(f"{VERSIONS}/")]
        checked = {parts[1] for parts in names if parts[2:] == [CHECKED]}
        numbers = sorted(int(parts[1]) for parts in names if parts[2:] == [RELEASE] and parts[1].isdecimal())
        found = [
            document.version(
                number, (await self._get(f"{VERSIONS}/{number}/{RELEASE}"))[0], str(number) in checked
            )
            for number in numbers
        ]
        return [each for each in found if each is not None]

    async def hosts(self) -> list[HostState]:
        found = []
        for name in await self._names(f"{HOSTS}/"):
            content, _ = await self._get(name)
            if content is not None and name.endswith(".json"):
                found.append(document.host(name.removeprefix(f"{HOSTS}/").removesuffix(".json"), content))
        return [each for each in found if each is not None]

    async def _live(self, content: bytes | None) -> bytes | None:
        """The file that says what is live where there is no document."""
        return (await self._get(LIVE))[0] if content is None else None

    async def _get(self, name: str) -> tuple[bytes | None, str | None]:
        """An object and its ETag; None for one that is not there."""
        try:
            with s3_errors(name):
                async with asyncio.timeout(CALL_SECONDS):
                    answer = await self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")
                    async with answer["Body"] as body:
                        return await body.read(), answer["ETag"]
        except ObjectNotFound:
            return None, None

    async def _put(self, content: bytes, condition: dict[str, str]) -> None:
        with s3_errors(ROLLOUT):
            async with asyncio.timeout(CALL_SECONDS):
                await self._client.put_object(
                    Bucket=self._bucket,
                    Key=f"{self._prefix}{ROLLOUT}",
                    Body=content,
                    ContentType="application/json",
                    CacheControl="no-store",
                    **condition,
                )

    async def _names(self, under: str) -> list[str]:
        names: list[str] = []
        more: dict[str, str] = {}
        while True:
            with s3_errors(under):
                async with asyncio.timeout(CALL_SECONDS):
                    page = await self._client.list_objects_v2(
                        Bucket=self._bucket, Prefix=f"{self._prefix}{under}", **more
                    )
            names += [found["Key"].removeprefix(self._prefix) for found in page.get("Contents", ())]
            if not page["IsTruncated"]:
                return names
            more = {"ContinuationToken": page["NextContinuationToken"]}


@asynccontextmanager
async def open_rollouts(
    *, endpoint: str, region: str, access_key: str, secret_key: str, bucket: str, prefix: str
) -> AsyncIterator[ObjectRollouts]:
    """With a client of its own, whose connections are closed at the end."""
    async with s3_client(endpoint, region, access_key, secret_key) as client:
        yield ObjectRollouts(client, bucket, prefix)
