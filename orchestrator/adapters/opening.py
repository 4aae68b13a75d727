"""The adapters that the settings choose, for the API and for the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.adapters.redis import (
    RedisCanaryStore,
    RedisEndpoints,
    RedisErrands,
    RedisJobStore,
    RedisOnceStore,
    RedisOutbox,
    RedisOversight,
    RedisRates,
    RedisStyleStore,
    RedisUsage,
    open_keys,
)
from orchestrator.adapters.releases.folder import FolderRollouts
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.observed import observed
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.adapters.triton import TritonPool
from orchestrator.ports import (
    CanaryStore,
    EndpointStore,
    Errands,
    Inference,
    JobStore,
    KeyStore,
    OnceStore,
    Outbox,
    Oversight,
    PageLinks,
    Rates,
    Rollouts,
    Storage,
    StyleStore,
    Usage,
)
from orchestrator.settings import Settings, SettingsError, StoreSettings


@dataclass(frozen=True)
class Adapters:
    store: JobStore
    keys: KeyStore
    styles: StyleStore
    once: OnceStore
    storage: Storage
    inference: Inference
    rates: Rates
    usage: Usage
    oversight: Oversight
    outbox: Outbox
    endpoints: EndpointStore
    errands: Errands
    canaries: CanaryStore
    rollouts: Rollouts | None
    """None: this service does not know where releases lie."""


@asynccontextmanager
async def open_adapters(settings: Settings) -> AsyncIterator[Adapters]:
    """The adapters, closed at the end. Opening them calls no service: an outage shows in the first call. Raises
    SettingsError."""
    async with AsyncExitStack() as stack:
        entered = stack.enter_async_context
        try:
            store = await entered(aclosing(_store(settings)))
            once = await entered(aclosing(RedisOnceStore(settings.redis_url, prefix=settings.redis_prefix)))
            rates = await entered(aclosing(RedisRates(settings.redis_url, prefix=settings.redis_prefix)))
            usage = await entered(aclosing(RedisUsage(settings.redis_url, prefix=settings.redis_prefix)))
            oversight = await entered(
                aclosing(
                    RedisOversight(
                        settings.redis_url,
                        prefix=settings.redis_prefix,
                        lease_seconds=settings.lease_seconds,
                    )
                )
            )
            outbox = await entered(aclosing(RedisOutbox(settings.redis_url, prefix=settings.redis_prefix)))
            endpoints = await entered(
                aclosing(RedisEndpoints(settings.redis_url, prefix=settings.redis_prefix))
            )
            styles = await entered(
                aclosing(RedisStyleStore(settings.redis_url, prefix=settings.redis_prefix))
            )
            errands = await entered(aclosing(RedisErrands(settings.redis_url, prefix=settings.redis_prefix)))
            canaries = await entered(
                aclosing(RedisCanaryStore(settings.redis_url, prefix=settings.redis_prefix))
            )
            keys = await entered(open_keys(settings.redis_url, settings.redis_prefix))
            inference = await entered(aclosing(TritonPool(settings.triton_urls)))
        except ValueError as error:
            raise _wrong(error) from error
        storage = await entered(open_storage(settings))
        rollouts = await entered(open_rollouts(settings))
        yield Adapters(
            store,
            keys,
            styles,
            once,
            observed(storage),
            inference,
            rates,
            usage,
            oversight,
            outbox,
            endpoints,
            errands,
            canaries,
            rollouts,
        )


def page_links(settings: Settings) -> PageLinks:
    """What signs the links to pages of jobs."""
    return _signer(settings)


def open_jobs(settings: StoreSettings) -> AbstractAsyncContextManager[JobStore]:
    """The job store, for what a command does by hand. Raises SettingsError."""
    try:
        return aclosing(RedisJobStore(settings.redis_url, prefix=settings.redis_prefix))
    except ValueError as error:
        raise _wrong(error) from error


def open_store(settings: Settings) -> AbstractAsyncContextManager[JobStore]:
    """The job store alone, closed at the end. Raises ValueError for a wrong URL."""
    return aclosing(_store(settings))


def open_usage(settings: Settings) -> AbstractAsyncContextManager[Usage]:
    """Usage alone, closed at the end. Raises ValueError for a wrong URL."""
    return aclosing(RedisUsage(settings.redis_url, prefix=settings.redis_prefix))


def _wrong(error: ValueError) -> SettingsError:
    return SettingsError(f"wrong settings in the environment: {error}")


def _signer(settings: Settings) -> UrlSigner:
    return UrlSigner(settings.signing_key.get_secret_value().encode(), settings.api_base_url)


def _store(settings: Settings) -> RedisJobStore:
    return RedisJobStore(
        settings.redis_url,
        prefix=settings.redis_prefix,
        lease_seconds=settings.lease_seconds,
        job_ttl=settings.job_ttl,
        pricing=settings.pricing,
        letters_ttl=settings.dead_letter_ttl,
        events_ttl=settings.events_ttl,
    )


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncIterator[Storage]:
    """R2 (or another S3) when R2_BUCKET_NAME is set, local disk otherwise, which is also ``SignedFiles``."""
    if settings.r2_bucket_name is None:
        yield LocalStorage(settings.storage_dir, _signer(settings))
        return
    # Settings takes all four or none.
    assert settings.r2_endpoint_url is not None
    assert settings.r2_access_key_id is not None
    assert settings.r2_secret_access_key is not None
    # A third of what a process needs to start, and most have no bucket.
    from orchestrator.adapters.storage.s3 import open_s3

    async with open_s3(
        endpoint=settings.r2_endpoint_url,
        region=settings.s3_region,
        access_key=settings.r2_access_key_id,
        secret_key=settings.r2_secret_access_key.get_secret_value(),
        bucket=settings.r2_bucket_name,
        prefix=settings.s3_prefix,
    ) as storage:
        yield storage


@asynccontextmanager
async def open_rollouts(settings: Settings) -> AsyncIterator[Rollouts | None]:
    """Where releases lie: an object storage, a folder, or nowhere."""
    if settings.releases_at is None:
        yield None
        return
    objects = settings.release_objects
    if objects is None:
        yield FolderRollouts(Path(settings.releases_at))
        return
    assert settings.r2_endpoint_url is not None
    assert settings.r2_access_key_id is not None
    assert settings.r2_secret_access_key is not None
    from orchestrator.adapters.releases.objects import open_rollouts as on_objects

    bucket, prefix = objects
    async with on_objects(
        endpoint=settings.r2_endpoint_url,
        region=settings.s3_region,
        access_key=settings.r2_access_key_id,
        secret_key=settings.r2_secret_access_key.get_secret_value(),
        bucket=bucket,
        prefix=prefix,
    ) as rollouts:
        yield rollouts
