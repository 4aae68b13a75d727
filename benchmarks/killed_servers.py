"""Triton, a process of one of its models, or the agent beside it, killed while releases go live and back under jobs."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.release_jobs import Load, jobs_running, mixed, one_job, pictures_of, small_photo, until
from export.releases.changes import promote, roll_back
from export.releases.folder import live_version
from export.releases.host import Host, read_host
from export.releases.rollout import FolderRollouts, read_rollout
from export.releases.served import Served
from export.releases.verifying import verify_version
from measuring.memory import descendants, stubs_of
from reroom import AsyncClient
from stack.stack import Stack

OLD, NEW = 1, 2
EVERY_SECONDS = 1.2
"""A job is submitted that often: what waited while Triton was away is soon made up for."""
TRITON = "triton"
SHARED_MEMORY = Path("/dev/shm")


def tritonserver(stack: Stack, chance: random.Random) -> int:
    """The process id of the server itself, which its watcher starts."""
    return next(pid for pid in descendants(stack.pid(TRITON)) if _name(pid) == "tritonserver")


def stub(stack: Stack, chance: random.Random) -> int:
    """That of a model, also of one that is being loaded."""
    stubs = stubs_of(stack.pid(TRITON))
    return stubs[chance.choice(sorted(stubs))]


def agent(stack: Stack, chance: random.Random) -> int:
    """That of the agent."""
    return stack.pid("agent")


VICTIMS: dict[str, Callable[[Stack, random.Random], int]] = {
    "triton": tritonserver,
    "stub": stub,
    "agent": agent,
}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class KilledServer:
    """Strikes at a random moment of a promote or a rollback, in turn, and counts what should not be."""

    def __init__(self, stack: Stack, client: AsyncClient, load: Load, photo: bytes, victim: str) -> None:
        self._stack, self._client, self._load, self._photo = stack, client, load, photo
        self._victim = VICTIMS[victim]
        self._rollouts = FolderRollouts(stack.release)
        self._usual: dict[int, float] = {}
        self._shared_memory = 0
        self.count: Counter[str] = Counter()
        self.longest_seconds = 0.0

    async def prepare(self) -> None:
        """See how long a change takes when nobody is killed: until all that it brings about is over."""
        for version in (NEW, OLD):
            began = time.monotonic()
            self._ask(version)
            await self._settled()
            assert self._host.live == version, self._host
            self._usual[version] = time.monotonic() - began
        self._shared_memory = self._in_shared_memory()

    async def strike(self, chance: random.Random) -> None:
        """One moment."""
        before = self._wanted
        version = OLD if before == NEW else NEW
        self._ask(version)
        await asyncio.sleep(chance.uniform(0, self._usual[version]))
        # After a kill of a model's process Triton ends a moment later, when all may look settled.
        await until(lambda: bool(stubs_of(self._stack.pid(TRITON))), lambda: self._host)
        os.kill(self._victim(self._stack, chance), signal.SIGKILL)
        self.count["moments"] += 1
        again = await one_job(self._client, self._photo)
        self._load.ran.append(again)
        self.longest_seconds = max(self.longest_seconds, again.seconds)
        await self._settled()
        self.count["live_lost"] += live_version(self._stack.served_release) not in (before, version)
        if self._is_refused():
            # It is not this version's fault, so that it is asked for again.
            self.count["refused"] += 1
            self._ask(version)
            await self._settled()
        self.count["rerun_failed"] += self._host.live != version
        await self._check()

    async def _check(self) -> None:
        host, served = self._host, self._stack.served_release
        verdict = await asyncio.to_thread(verify_version, served, host.live, "a benchmark")
        self.count["verify_failed"] += bool(verdict.problems)
        links = Served(served)
        expected = [OLD, NEW] if self._wanted == NEW else [OLD]
        clean = host.ready == expected and links.places() == links.wanted(host.ready)
        self.count["left_behind"] += not clean
        more = self._wanted == OLD and self._in_shared_memory() > self._shared_memory
        self.count["shared_memory_left"] += more
        if more or not clean:
            print(f"left: {host}, {sorted(links.places())}, {self._in_shared_memory()} files", flush=True)

    async def _settled(self) -> None:
        """Return when nothing is under way any more: what is wanted is live, and what is not is gone; or refused."""

        def settled() -> bool:
            host = self._host
            # Triton is restarted at a quiet moment.
            self._load.resting = bool(host.restart)
            busy = host.loading or host.leaving or host.restart
            live = host.live == self._wanted == live_version(self._stack.served_release)
            gone = self._wanted == NEW or host.ready == [OLD]
            return (
                not busy and (self._is_refused() or live) and gone and bool(stubs_of(self._stack.pid(TRITON)))
            )

        await until(settled, lambda: self._host)

    def _is_refused(self) -> bool:
        """Whether the host does not try what is wanted before it is asked again."""
        wanted = read_rollout(self._stack.release)
        return self._host.refused_at.get(str(wanted.live)) == wanted.revision

    def _ask(self, version: int) -> None:
        if version == OLD and self._wanted == NEW:
            roll_back(self._stack.release, self._rollouts, by="a benchmark")
        else:
            promote(self._stack.release, self._rollouts, version, "cpu", by="a benchmark", again=True)

    @property
    def _wanted(self) -> int:
        return read_rollout(self._stack.release).live

    @property
    def _host(self) -> Host:
        return read_host(self._stack.served_release) or Host()

    def _in_shared_memory(self) -> int:
        """Files of this stack's Triton."""
        return len(list(SHARED_MEMORY.glob(f"reroom-{os.getpid()}-*")))


@asynccontextmanager
async def killed_server(stack: Stack, victim: str) -> AsyncIterator[tuple[KilledServer, Load]]:
    """A stack with jobs; at the end of the block all of them have ended."""
    photo = small_photo()
    async with (
        AsyncClient(stack.url) as client,
        jobs_running(stack.url, photo, EVERY_SECONDS) as load,
    ):
        killed = KilledServer(stack, client, load, photo, victim)
        await killed.prepare()
        yield killed, load


def of_jobs(load: Load) -> dict[str, Any]:
    """What became of them."""
    return {
        "jobs": len(load.ran),
        "failed_jobs": sum(bool(each.error) for each in load.ran),
        "errors": sorted({each.error for each in load.ran if each.error})[:5],
        "attempts_spent": sum(each.attempts - 1 for each in load.ran),
        "mixed_results": mixed(pictures_of(load.ran)),
    }
