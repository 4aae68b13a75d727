"""The whole stack for tests: real Redis, Triton, API and workers, which a test kills, and looks into from outside."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from PIL import Image
from tritonclient.grpc import InferenceServerClient

from orchestrator.adapters.redis.keys import Keys
from stack.stack import Stack
from tests.support.pictures import room

RELEASE = Path(__file__).resolve().parents[2] / "releases" / "tiny"
SECONDS = 30.0
"""How long anything may take."""

_KEYS = Keys.under("reroom:")


def photo(height: int = 480, width: int = 640, format: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(room(height, width)).save(out, format)
    return out.getvalue()


class RunningStack:
    """``reports`` collects the supervisor's lines."""

    def __init__(self, run: Path, env: dict[str, str], *, workers: int, tritons: int, apis: int) -> None:
        self.reports: list[str] = []
        self.stack = Stack(
            run,
            release=RELEASE,
            workers=workers,
            tritons=tritons,
            apis=apis,
            env=env,
            # On a busy machine the usual five may pass while all goes well; a request that never ends outlasts any.
            triton_exit_seconds=int(SECONDS),
            report=self.reports.append,
        )

    @property
    def url(self) -> str:
        return self.stack.url

    def supervised(self) -> AbstractContextManager[None]:
        """Within the block, parts that end are started again, as under ``make up``."""
        return self.stack.supervised()

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a part; its process id."""
        pid = self.stack.pid(part)
        os.kill(pid, number)
        return pid

    def holder(self, job_id: str) -> str:
        """The name of the worker that runs the job."""
        with self.redis() as client:
            entry = client.hget(_KEYS.job + job_id, "entry")
            (pending,) = client.xpending_range(_KEYS.queue, "workers", entry, entry, 1)
        pid = int(pending["consumer"].split("-")[-2])
        names = [f"worker-{number}" for number in range(1, self.stack.workers + 1)]
        return next(name for name in names if self.stack.pid(name) == pid)

    def redis(self) -> Any:
        return redis.Redis.from_url(self.stack.redis_url, decode_responses=True)

    def stream(self, job_id: str) -> list[tuple[str, str]]:
        """The events of a job in the store: (seq, type) of each."""
        with self.redis() as client:
            entries = client.xrange(_KEYS.events + job_id)
        return [(seq, json.loads(fields["event"])["type"]) for seq, fields in entries]

    def record(self, job_id: str) -> dict[str, str]:
        with self.redis() as client:
            found: dict[str, str] = client.hgetall(_KEYS.job + job_id)
        return found

    def queue_length(self) -> int:
        """How many jobs have not ended."""
        with self.redis() as client:
            return int(client.xlen(_KEYS.queue))

    def results(self, job_id: str) -> list[str]:
        """Keys of the stored results of a job, those of lost attempts included."""
        return [key for key in self.stored() if key.startswith(f"results/{job_id}/")]

    def stored(self) -> list[str]:
        """Keys of everything that is stored."""
        found = (path for path in self.objects_folder.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.objects_folder)) for path in found)

    @property
    def objects_folder(self) -> Path:
        return self.stack.run / "storage" / "objects"

    def denoised(self, part: str = "triton") -> int:
        """How many samples a Triton has put through the denoiser."""
        with InferenceServerClient(self.stack.triton_urls[part]) as triton:
            facts = triton.get_inference_statistics("denoiser", as_json=True)["model_stats"][0]
        return int(facts.get("inference_count", 0))

    def api_pids(self) -> set[int]:
        """The processes that answer at the API's address, when there are several."""
        return api_processes(self.stack.pid("api"))

    def log(self, part: str) -> str:
        return (self.stack.logs / f"{part}.log").read_text(errors="replace")


@contextmanager
def running_stack(
    run: Path, *, workers: int = 1, tritons: int = 1, apis: int = 1, **env: str
) -> Iterator[RunningStack]:
    """A stack whose Tritons could stop by themselves, and of which nothing is left."""
    running = RunningStack(run, env, workers=workers, tritons=tritons, apis=apis)
    before = shared_memory()
    with running.stack:
        yield running
    assert processes_of(run) == []
    assert shared_memory() <= before
    for triton in running.stack.triton_urls:
        assert "Exit timeout expired" not in running.log(triton), "it was left with a request that never ends"


def shared_memory() -> set[str]:
    """What Tritons of this process hold in /dev/shm."""
    return {file.name for file in Path("/dev/shm").glob(f"reroom-{os.getpid()}-*")}


def processes_of(run: Path) -> list[str]:
    """Command lines of processes that have ``run`` in their arguments or environment, our own excepted."""
    found = []
    needle = str(run).encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                command = (folder / "cmdline").read_bytes()
                if needle in command or needle in (folder / "environ").read_bytes():
                    found.append(command.replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue  # it has ended meanwhile, or is another user's
    return found


def api_processes(parent: int) -> set[int]:
    """The processes that serve for an API of several, by the process id of their parent."""
    found = set()
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(OSError):  # it has ended meanwhile
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(int(pid))
    return found


async def until(reached: Callable[[], bool], what: str) -> None:
    """Returns as soon as ``reached``; fails after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline, f"not within {SECONDS:.0f} s: {what}"
        await asyncio.sleep(0.01)
