"""The whole service with its pictures on S3: real Redis, Triton, API and worker, a real S3 server over HTTP."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from measuring.s3_server import S3Server
from reroom import Client
from tests.support.running_stack import photo, running_stack


async def test_a_photo_goes_straight_to_s3_and_its_result_comes_from_there(
    s3: S3Server, tmp_path: Path
) -> None:
    bucket = s3.bucket()
    with (
        running_stack(tmp_path / "run", REROOM_S3_PREFIX="rooms/", **s3.environment(bucket)) as stack,
        Client(stack.url) as client,
    ):
        job = client.submit(client.upload(photo()), "boho")
        done = client.wait(job, timeout=60)
        assert done.result is not None
        assert done.result.transformed_url.startswith(f"{s3.url}/{bucket}/rooms/results/")
        client.download(job, tmp_path / "result.jpg")
        with Image.open(tmp_path / "result.jpg") as result, Image.open(io.BytesIO(photo())) as before:
            assert abs(result.width / result.height - before.width / before.height) < 0.02
            assert np.asarray(result).std() > 5
        assert client.health().services["storage"]["status"] == "up"
        assert not stack.objects_folder.exists()
        async with s3.open(bucket, prefix="rooms/") as storage:
            keys = [key async for key in storage.older("results/", -60)]
            assert sorted(key.split("/", 2)[2] for key in keys) == ["1/thumbnail.jpg", "1/transformed.jpg"]
            # Where an object is, a link puts no other.
            (used,) = [key async for key in storage.older("incoming/", -60)]
            assert await storage.get(used) == b""
