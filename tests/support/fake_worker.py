"""A worker process with a scripted model: ``python fake_worker.py REDIS_URL STORAGE LEASE STEPS PAUSE``.

STORAGE is a folder, or the URL of an S3 server's bucket.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from measuring.s3_server import S3Server
from orchestrator.adapters.redis import RedisJobStore
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.domain.keeping import Times
from orchestrator.domain.styles import STYLES
from orchestrator.ports import Storage
from orchestrator.services.retention import Retention
from orchestrator.services.running.runner import Runner
from orchestrator.worker import Worker, process_name, stop_on_signals
from tests.support.fakes import FakeInference, a_script


def opened(storage: str) -> AbstractAsyncContextManager[Storage]:
    if storage.startswith("http://"):
        endpoint, _, bucket = storage.rpartition("/")
        return S3Server(endpoint).open(bucket)
    return nullcontext(LocalStorage(Path(storage), UrlSigner(b"0123456789abcdef", "http://127.0.0.1")))


async def main(url: str, where: str, lease: float, steps: int, pause: float) -> None:
    async with opened(where) as storage:
        await work(url, storage, lease, steps, pause)


async def work(url: str, storage: Storage, lease: float, steps: int, pause: float) -> None:
    store = RedisJobStore(url, lease_seconds=lease)
    inference = FakeInference(a_script(steps, pause))
    runner = Runner(store, storage, inference, STYLES, lease_seconds=lease, retry_delay=0.1)
    worker = Worker(
        store,
        inference,
        runner,
        Retention(store, storage, upload_ttl=60, times=Times(record=60)),
        name=process_name(),
        jobs=2,
        lease_seconds=lease,
        drain_seconds=0.2,
    )
    await worker.run(stop_on_signals())
    await store.aclose()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
