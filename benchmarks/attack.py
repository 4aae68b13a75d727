"""Do honest clients wait while others attack the API?

    python -m benchmarks.attack            # into results/attack.json; about two minutes

Submits of a 1024×768 photo, five a second, over a connection each, timed from the moment when each was due until its
202: alone, and beside one attacker with an address of its own. The API runs with its default settings over a real
Redis; there is neither a worker nor a Triton, and jobs are cancelled as soon as they were accepted. Attacker and honest
clients are processes of this machine (127.0.0.2 and 127.0.0.3), whose processors they share with the API.

endless_headers   four connections that send one header without end, again as soon as they are closed
giant_pictures    twenty at a time submit a 7071×7071 lossless WebP of 34 bytes, again and again
idle_uploads      sixteen PUTs and sixteen submits of 20 MiB, of which no byte comes, again as soon as they are closed

worst_p99_s       the largest 99th percentile beside an attack, in seconds; one that is refused counts as 30 s
api_peak_mb       the most memory that the API's own process held (VmHWM); with_decoders_peak_mb adds the peaks of
                  the decoders that live at the end
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx2
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from benchmarks.api_alone import api_alone
from measuring import report
from measuring.figures import percentile
from measuring.gates import Gate
from measuring.memory import descendants, peak_mb
from stack.demo import read_photo
from stack.redis import RedisServer

GOAL = Gate(at_most=1.0)
RATE = 5.0
"""Honest submits a second."""
SECONDS = 20.0
"""How long honest people submit beside each attack."""
LEAD_SECONDS = 2.0
"""An attack's own before that."""
PATIENCE = 30.0
"""Seconds after which a client gives up, and that a submit counts which is not accepted."""
HONEST, ATTACKER = "127.0.0.3", "127.0.0.2"
LARGEST = 20 * 2**20
"""Bytes: what an upload may have."""


@dataclass
class Honest:
    """Seconds of every submit, PATIENCE for one that was not accepted, and how many those were."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0


def client(url: str, address: str) -> httpx2.AsyncClient:
    """Without connections that are kept: each request comes like a new visitor."""
    limits = httpx2.Limits(max_keepalive_connections=0, max_connections=None)
    transport = httpx2.AsyncHTTPTransport(local_address=address, limits=limits)
    return httpx2.AsyncClient(base_url=url, transport=transport, timeout=PATIENCE)


async def submit(http: httpx2.AsyncClient, photo: bytes) -> float | None:
    """When the photo became a job, which is then cancelled without delay; None if it did not."""
    accepted = None
    with suppress(httpx2.TransportError):
        answer = await http.post("/transform/submit", files={"file": ("photo", photo)})
        if answer.status_code == 202:
            accepted = time.perf_counter()
            await http.delete(f"/transform/{answer.json()['job_id']}")
    return accepted


async def submit_steadily(url: str, seconds: float) -> Honest:
    """Submits at their times, whether the ones before were answered or not."""
    photo, found = read_photo(None), Honest()

    async def one(http: httpx2.AsyncClient, due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        accepted = await submit(http, photo)
        found.seconds.append(PATIENCE if accepted is None else accepted - due)
        found.refused += accepted is None

    async with client(url, HONEST) as http:
        await submit(http, photo)
        begun = time.perf_counter()
        await asyncio.gather(*(one(http, begun + n / RATE) for n in range(round(seconds * RATE))))
    return found


async def again(act: Callable[[], Awaitable[None]], at_once: int) -> None:
    """So many at a time, until it is ended."""

    async def for_ever() -> None:
        while True:
            with suppress(OSError, httpx2.TransportError):
                await act()

    await asyncio.gather(*(for_ever() for _ in range(at_once)))


async def endless_headers(url: str) -> None:
    async def send() -> None:
        async with connection(url) as (_, writer):
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: ")
            while True:
                writer.write(b"a" * 1_000_000)
                await writer.drain()

    await again(send, 4)


async def giant_pictures(url: str) -> None:
    photo = giant_webp(7071)
    async with client(url, ATTACKER) as http:

        async def send() -> None:
            if await submit(http, photo) is None:
                await asyncio.sleep(0.1)

        await again(send, 20)


async def idle_uploads(url: str) -> None:
    async with client(url, ATTACKER) as http:
        wish = {"content_type": "image/jpeg", "size": LARGEST}

        async def put() -> None:
            link = urlsplit((await http.post("/uploads", json=wish)).json()["url"])
            await idle(url, f"PUT {link.path}?{link.query}", "image/jpeg")

        async def form() -> None:
            await idle(url, "POST /transform/submit", "multipart/form-data; boundary=x")

        await asyncio.gather(again(put, 16), again(form, 16))


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket of the attacker's."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port, local_addr=(ATTACKER, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def idle(url: str, request: str, content_type: str) -> None:
    """A request whose body never comes, until the API ends it."""
    head = (
        f"{request} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {LARGEST}\r\n\r\n"
    )
    async with connection(url) as (reader, writer):
        writer.write(head.encode())
        await reader.read()


def giant_webp(side: int) -> bytes:
    """A picture of one colour, whose pixels take no bits at all (RFC 9649, 3.7: codes of one symbol)."""
    fields = [(side - 1, 14), (side - 1, 14), (0, 4), (0, 3)]
    for symbol in (60, 120, 90, 255, 0):
        fields += [(0b101, 3), (symbol, 8)]
    bits, length = 0, 0
    for value, width in fields:
        bits |= value << length
        length += width
    data = b"\x2f" + bits.to_bytes((length + 7) // 8, "little")
    data += bytes(len(data) % 2)
    chunk = b"WEBPVP8L" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(chunk).to_bytes(4, "little") + chunk


Attack = Callable[[str], Coroutine[Any, Any, None]]
ATTACKS: tuple[Attack, ...] = (endless_headers, giant_pictures, idle_uploads)


@contextmanager
def attacked(url: str, attack: Attack | None) -> Iterator[None]:
    """In a process of its own, so that it costs honest clients nothing but the processor."""
    if attack is None:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(attack, url), daemon=True)
    process.start()
    try:
        time.sleep(LEAD_SECONDS)
        yield
        if not process.is_alive():
            raise RuntimeError("the attack ended by itself")
    finally:
        process.kill()
        process.join()


def _run(attack: Attack, url: str) -> None:
    asyncio.run(attack(url))


def measure_beside(attack: Attack | None, folder: Path, redis_url: str, seconds: float) -> dict[str, Any]:
    """What honest people see of a fresh API."""
    folder.mkdir()
    with api_alone(folder, redis_url) as (url, pid), attacked(url, attack):
        found = asyncio.run(submit_steadily(url, seconds))
        own, with_decoders = peak_mb([pid]), peak_mb(descendants(pid))
    return {
        "p50_s": median(found.seconds),
        "p99_s": percentile(found.seconds, 99),
        "longest_s": max(found.seconds),
        "submits": len(found.seconds),
        "refused": found.refused,
        "api_peak_mb": own,
        "with_decoders_peak_mb": with_decoders,
    }


def measure(seconds: float) -> dict[str, Any]:
    around, found = report.circumstances(), {}
    with TemporaryDirectory(prefix="reroom-attack-") as name, RedisServer(Path(name) / "redis") as redis:
        for attack in (None, *ATTACKS):
            title = attack.__name__ if attack else "alone"
            print(f"{title} …", flush=True)
            found[title] = measure_beside(attack, Path(name) / title, redis.url, seconds)
    attacks = [each for title, each in found.items() if title != "alone"]
    return {
        "worst_p99_s": max(each["p99_s"] for each in attacks),
        "refused": sum(each["refused"] for each in found.values()),
        "api_peak_mb": max(each["api_peak_mb"] for each in attacks),
        "submits_a_second": RATE,
        "beside": found,
        **around,
    }


def table(document: dict[str, Any]) -> Table:
    made = Table(
        "submits beside", "p50, s", "p99, s", "goal", "refused", "API's peak, MB", "with decoders", box=None
    )
    for title, each in document["beside"].items():
        goal = report.reached(GOAL, each["p99_s"])
        peaks = (f"{each['api_peak_mb']:.0f}", f"{each['with_decoders_peak_mb']:.0f}")
        made.add_row(
            title, f"{each['p50_s']:.3f}", f"{each['p99_s']:.3f}", goal, str(each["refused"]), *peaks
        )
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each attack (20)")
    parser.add_argument("--out", type=Path, default=RESULTS / "attack.json")
    given = parser.parse_args()
    document = measure(given.seconds)
    report.write(given.out, document)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
