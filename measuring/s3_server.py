"""A real S3 server over HTTP (moto's): everything but the checking of signatures, which only R2 itself does."""

from __future__ import annotations

import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

from orchestrator.adapters.storage.s3 import S3Storage, open_s3
from stack.process import Part, Process
from stack.triton import answers

CREDENTIALS = {"access_key": "a-key", "secret_key": "a-secret"}


class S3Server:
    """``url`` is its endpoint."""

    def __init__(self, url: str) -> None:
        self.url = url

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"test-{uuid.uuid4().hex}"
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        return name

    def open(self, bucket: str, **options: Any) -> AbstractAsyncContextManager[S3Storage]:
        """A storage on a bucket; ``options`` as of open_s3, such as another ``endpoint``."""
        return open_s3(**{"endpoint": self.url, "region": "auto", "bucket": bucket, **CREDENTIALS, **options})

    def environment(self, bucket: str) -> dict[str, Any]:
        """What makes the service store there."""
        return {
            "R2_BUCKET_NAME": bucket,
            "R2_ENDPOINT_URL": self.url,
            "R2_ACCESS_KEY_ID": CREDENTIALS["access_key"],
            "R2_SECRET_ACCESS_KEY": CREDENTIALS["secret_key"],
        }


@contextmanager
def running_s3(folder: Path, port: int) -> Iterator[S3Server]:
    """Started on a port that is free, and stopped at the end; its log is in ``folder``. Raises StackError at once when
    it dies."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = Process(Part(name="moto", command=command, ready=lambda: answers(url)), folder / "s3.log")
    process.wait_ready()
    try:
        yield S3Server(url)
    finally:
        process.stop()
