"""Which adapters the settings choose, for the API and for the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.ports import Storage
from orchestrator.settings import Settings
from orchestrator.storage.local import LocalStorage
from orchestrator.storage.s3 import open_s3
from orchestrator.storage.signing import UrlSigner


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncIterator[Storage]:
    """R2 (or another S3) when R2_BUCKET_NAME is set, local disk otherwise, which is also ``SignedFiles``."""
    if settings.r2_bucket_name is None:
        key = settings.signing_key.get_secret_value().encode()
        yield LocalStorage(settings.storage_dir, UrlSigner(key, settings.api_base_url))
        return
    # Settings takes all four or none.
    assert settings.r2_endpoint_url is not None
    assert settings.r2_access_key_id is not None
    assert settings.r2_secret_access_key is not None
    async with open_s3(
        endpoint=settings.r2_endpoint_url,
        region=settings.s3_region,
        access_key=settings.r2_access_key_id,
        secret_key=settings.r2_secret_access_key.get_secret_value(),
        bucket=settings.r2_bucket_name,
        prefix=settings.s3_prefix,
    ) as storage:
        yield storage
