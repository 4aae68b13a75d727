"""The seeded short version of `python -m benchmarks.resilience`: the model is a script, everything else is real."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.chaos import FULL_DISK, STOP, Chaos, Fault, Outcome
from benchmarks.faulty_relay import AWAY, LOSE, REFUSE, FaultyRelay, redis_kinds, s3_kind
from measuring.s3_server import S3Server
from orchestrator.adapters.redis.scripts import script_names
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.ports import Storage
from stack.process import Part, free_ports
from stack.redis import redis_part
from stack.supervisor import Supervisor
from stack.triton import answers
from tests.support.api_server import SIGNING_KEY, photo

ROOT = Path(__file__).resolve().parents[2]
LEASE, PASSWORD = 1.0, "secret"
LASTING = 0.5
KILLS_AND_DISKS = [
    Fault("worker-1"), Fault("worker-2", STOP), Fault("api"), Fault("worker-2", FULL_DISK), Fault("api", FULL_DISK),
    Fault("redis", FULL_DISK),
]  # fmt: skip
"""The last one ends Redis, as it should: it answers nothing that is not on disk."""
NETWORK = [Fault("redis", LOSE), Fault("redis", AWAY), Fault("s3", LOSE), Fault("s3", REFUSE)]
JOBS = 20


async def under_faults(
    folder: Path,
    faults: Sequence[Fault],
    relays: Mapping[str, FaultyRelay],
    storage: AbstractAsyncContextManager[Storage],
    where: str,
    settings: Mapping[str, str],
) -> Outcome:
    """``relays`` have one before "redis"; ``where`` is the storage for fake_worker.py, ``settings`` that of the API."""
    redis, port, triton = free_ports(3)
    redis_url, url = f"redis://:{PASSWORD}@127.0.0.1:{redis}/0", f"http://127.0.0.1:{port}"
    relays["redis"].target = ("127.0.0.1", redis)
    relayed = f"redis://:{PASSWORD}@127.0.0.1:{relays['redis'].port}/0"
    python = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "client" / "src")))}

    def parts() -> Iterator[Part]:
        yield redis_part(folder / "redis", redis, password=PASSWORD)
        env = {
            "REDIS_URL": relayed, "API_BASE_URL": url, "REROOM_PORT": str(port), "REROOM_DRAIN": "0",
            "REROOM_SIGNING_KEY": SIGNING_KEY, "REROOM_TRITON_URL": f"127.0.0.1:{triton}", **settings,
        }  # fmt: skip
        command = [sys.executable, "-m", "orchestrator.app"]
        yield Part(name="api", command=command, env=env, ready=lambda: answers(f"{url}/health/live"))
        script = ROOT / "tests" / "support" / "fake_worker.py"
        for name in ("worker-1", "worker-2"):
            arguments = [relayed, where, str(LEASE), "5", "0.03"]
            yield Part(name=name, command=[sys.executable, script, *arguments], env=python)

    with Supervisor(parts, folder / "logs", lambda line: None) as running, running.supervised():
        chaos = Chaos(
            running,
            url=url,
            redis_url=redis_url,
            storage=storage,
            photo=photo(),
            preferences={"seed": 1},
            lease_seconds=LEASE,
            seed=1,
            relays=relays,
            lasting=LASTING,
        )
        return await asyncio.wait_for(chaos.run(JOBS, faults, (0.0, 0.3)), 200)


def assert_nothing_was_lost(found: Outcome, faults: Sequence[Fault]) -> None:
    assert found.lost == found.doubled == found.cancelled_and_completed == [], found
    assert found.orphans == found.reserved == [], found
    assert sum(found.ended.values()) == JOBS + len(faults) + 3
    assert found.given_up == 0
    assert set(found.ended) <= {"completed", "cancelled"}, found


async def test_no_job_is_lost_or_doubled_when_parts_die_and_disks_are_full(tmp_path: Path) -> None:
    folder = tmp_path / "storage"
    storage = nullcontext(LocalStorage(folder, UrlSigner(SIGNING_KEY.encode(), "http://127.0.0.1")))
    relay = FaultyRelay(redis_kinds(script_names()))
    with relay.running():
        settings = {"REROOM_STORAGE_DIR": str(folder)}
        found = await under_faults(
            tmp_path, KILLS_AND_DISKS, {"redis": relay}, storage, str(folder), settings
        )
    assert_nothing_was_lost(found, KILLS_AND_DISKS)


async def test_no_job_is_lost_or_doubled_when_redis_and_s3_fail(tmp_path: Path, s3: S3Server) -> None:
    bucket = s3.bucket()
    redis, before_s3 = FaultyRelay(redis_kinds(script_names())), FaultyRelay(s3_kind)
    before_s3.target = ("127.0.0.1", int(s3.url.rpartition(":")[2]))
    with redis.running(), before_s3.running():
        relayed = S3Server(f"http://127.0.0.1:{before_s3.port}")
        settings: dict[str, Any] = relayed.environment(bucket)
        relays = {"redis": redis, "s3": before_s3}
        where = f"{relayed.url}/{bucket}"
        found = await under_faults(tmp_path, NETWORK, relays, s3.open(bucket), where, settings)
    assert_nothing_was_lost(found, NETWORK)
    # Calls whose loss would be a job's: that they were struck shows that the run was hard enough to fail.
    assert {"claim", "submit", "PUT uploads/original.jpg", "PUT results/transformed.jpg"} & set(
        found.answers_lost
    )
