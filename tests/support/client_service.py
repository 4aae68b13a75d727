"""A small real service for the client's tests: HTTP and WebSocket as the contract has them, and faults on order.

The client talks to it through a TCP relay that can cut its connections, so that a lost connection is really lost.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any
from urllib.parse import parse_qs

import uvicorn

import reroom
from tests.support.relay import Relay, relaying

JOB = "job-1"
SUBMIT, ANALYZE = ("POST", "/transform/submit"), ("POST", "/analyze")
STATUS, CANCEL = ("GET", f"/transform/status/{JOB}"), ("DELETE", f"/transform/{JOB}")
ERASE, DOWNLOAD = ("DELETE", f"/transform/{JOB}/files"), ("GET", "/files/result.jpg")
PICTURE = b"\xff\xd8 a picture " * 5000
PNGS = {"depth_png": b"\x89PNG depth", "edges_png": b"\x89PNG edges"}
CUT = "cut"
STYLES = [
    {"name": "modern", "title": "Modern", "rooms": ["bedroom"], "colors": ["#000000"], "custom": False, "in_plan": True,
     "picture": {"url": "http://x/p", "made_by": "a-1", "invented_later": 1}},
    {"name": "boho", "title": "Boho", "rooms": [], "colors": [], "custom": False, "in_plan": False, "picture": None},
]  # fmt: skip
QUICK = reroom.RetryPolicy(attempts=3, base=0.01, watch_seconds=0.0)


def status(state: str, **more: Any) -> dict[str, Any]:
    data = {"job_id": JOB, "status": state, "progress": 0.5, "message": "", "style": "boho", "attempts": 1}
    times = {"created_at": "2026-11-22T12:00:00.000Z", "updated_at": "2026-11-22T12:00:01.500Z"}
    return {**data, **times, "error": None, "result_url": None, "invented_later": [1], **more}


def completed(**metadata: Any) -> dict[str, Any]:
    result = {"transformed_url": "/files/result.jpg?signature=ab", "metadata": {"seed": 0, **metadata}}
    return status("completed", progress=1.0, result=result)


def problem(code: int, name: str, **more: Any) -> dict[str, Any]:
    return {"status": code, "title": "t", "detail": f"about {name}", "code": name, **more}


def analysis(**more: Any) -> dict[str, Any]:
    objects = [
        {"label": "couch", "score": 0.93, "box": [0.1, 0.5, 0.45, 0.9], "invented_later": 1},
        {"label": "potted plant", "score": 0.4, "box": [0.0, 0.0, 1.0, 1.0]},
    ]
    pictures = {name: base64.b64encode(content).decode() for name, content in PNGS.items()}
    room = {"room_type": "living room", "room_confidence": 0.874, "release": "tiny-1", "processing_time": 0.1}
    return {"width": 64, "height": 48, "objects": objects, "invented_later": {}, **room, **pictures, **more}


EVENTS: list[dict[str, Any]] = [
    {"type": "status", "status": "analyzing", "progress": 0.0, "message": "looking"},
    {"type": "analysis", "objects": [{"label": "chair"}], "room_type": "living_room", "progress": 0.1},
    {"type": "weather", "sunny": True},
    {"type": "step", "step": 1, "of": 2, "progress": 0.4, "invented_later": 1},
    {"type": "preview", "step": 1, "jpeg": "/9j/", "progress": 0.4},
    {"type": "step", "step": 2, "of": 2, "progress": 0.8},
    {"type": "completed", "progress": 1.0, "data": completed()},
]
"""What happens to the job; their seqs are 1-0 … 1-9, 1-10, …: not in the order of strings."""


def seq(index: int) -> str:
    return f"1-{index + 7}"


class Service:
    """``faults[(method, path)]`` are answers given before the right one: (status, headers, body) or CUT.

    ``plans`` are for the WebSocket's connections in turn: (events to send, what to do then): CUT, a close code, or an
    HTTP status with which to refuse the handshake; ``repeat`` events are sent again at every resume.
    """

    def __init__(self) -> None:
        self.url = ""
        self.loop = asyncio.new_event_loop()
        self.relay: Relay
        """What the client is connected to."""
        self.reset()

    def reset(self) -> None:
        self.faults: dict[tuple[str, str], list[Any]] = {}
        self.delays: dict[tuple[str, str], float] = {}
        """Seconds before an answer."""
        self.plans: list[tuple[int, Any]] = []
        self.repeat = 0
        self.events = EVENTS
        self.seen_before = 0
        """Events that the first snapshot reflects."""
        self.state = "transforming"
        self.analysis: dict[str, Any] = {}
        """Fields of the analysis that differ."""
        self.picture = PICTURE
        self.requests: list[tuple[str, str]] = []
        self.afters: list[str | None] = []
        self.bodies: list[bytes] = []
        self.keys: list[str] = []
        """The idempotency keys of requests."""
        self.deadlines: list[str] = []
        """What requests sent as Cancel-After."""
        self.credentials: list[str | None] = []
        """What each request and each WebSocket sent as Authorization."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        method, path, body = scope["method"], scope["path"], b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.requests.append((method, path))
        self.credentials.append(authorization(scope))
        self.bodies.append(body)
        self.keys += [value.decode() for name, value in scope["headers"] if name == b"idempotency-key"]
        self.deadlines += [value.decode() for name, value in scope["headers"] if name == b"cancel-after"]
        await asyncio.sleep(self.delays.get((method, path), 0.0))
        queue = self.faults.get((method, path), [])
        code, headers, content = queue.pop(0) if queue else self._answer(method, path)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        if code == CUT:
            return await self._cut_within(send, raw)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": code, "headers": pairs})
        await send({"type": "http.response.body", "body": raw})

    async def _cut_within(self, send: Any, raw: bytes) -> None:
        if raw:
            headers = [(b"content-length", str(len(raw)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": raw[: len(raw) // 2], "more_body": True})
            await asyncio.sleep(0.05)
        self.relay.cut()

    def _answer(self, method: str, path: str) -> tuple[int, dict[str, str], Any]:
        match method, path:
            case "POST", "/transform/submit":
                return 202, {}, {"success": True, "job_id": JOB, "estimated_time": 4.0, "status_url": "s"}
            case "POST", "/analyze":
                return 200, {}, {"success": True, "data": analysis(**self.analysis)}
            case "GET", "/transform/status/job-1":
                data = completed() if self.state == "completed" else status(self.state)
                return 200, {}, {"success": True, "data": data}
            case "DELETE", "/transform/job-1":
                return 200, {}, {"success": True, "data": status("cancelled")}
            case "DELETE", "/transform/job-1/files":
                return 200, {}, {"success": True, "job_id": JOB}
            case "GET", "/files/result.jpg":
                return 200, {}, self.picture
            case "GET", "/styles":
                return 200, {}, {"success": True, "default": "modern", "data": STYLES}
            case "POST", "/styles":
                made = json.loads(self.bodies[-1])
                return (
                    201,
                    {},
                    {"success": True, "data": {**made, "picture": None, "custom": True, "in_plan": True}},
                )
            case "DELETE", "/styles/my-x":
                return 200, {}, {"success": True, "name": "my-x"}
            case "GET", "/":
                return 200, {}, {"name": "reroom", "supported_styles": ["modern", "boho"]}
            case "GET", "/health":
                return 200, {}, {"status": "degraded", "services": {"triton": {"status": "down"}}}
            case _:
                return 404, {}, problem(404, "job_not_found")

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        after = parse_qs(scope["query_string"].decode()).get("after", [None])[0]
        self.afters.append(after)
        self.credentials.append(authorization(scope))
        count, then = self.plans.pop(0) if self.plans else (len(self.events), 1000)
        if isinstance(then, int) and then < 1000:
            headers = [(b"content-type", b"application/problem+json")]
            await send({"type": "websocket.http.response.start", "status": then, "headers": headers})
            body = json.dumps(problem(then, "teapot")).encode()
            await send({"type": "websocket.http.response.body", "body": body})
            return
        await send({"type": "websocket.accept"})
        for message in self._messages(after, count):
            await send({"type": "websocket.send", "text": json.dumps({"job_id": JOB, **message})})
        if then == CUT:
            await asyncio.sleep(0.05)
            return self.relay.cut()
        if then == "wait":
            await receive()
        await send({"type": "websocket.close", "code": 1000 if then == "wait" else then, "reason": "because"})

    def _messages(self, after: str | None, count: int) -> Iterator[dict[str, Any]]:
        yield {"type": "connected"}
        start = self.seen_before if after is None else 0 if after == "0" else int(after.split("-")[1]) - 6
        state = "completed" if self.events and start == len(self.events) else self.state
        data = completed() if state == "completed" else status(state)
        yield {"type": "snapshot", "seq": seq(max(start, self.seen_before) - 1), "data": data}
        first = max(0, start - self.repeat)
        for index in range(first, min(len(self.events), start + count)):
            yield {"seq": seq(index), **self.events[index]}
            yield {"type": "pong"}


def authorization(scope: Any) -> str | None:
    return next((value.decode() for name, value in scope["headers"] if name == b"authorization"), None)


@contextlib.contextmanager
def running() -> Iterator[Service]:
    """The service, on a thread of its own."""
    service, ready = Service(), threading.Event()
    inner = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(service, log_level="critical", lifespan="off", ws="websockets-sansio")
    server = uvicorn.Server(config)

    async def main() -> None:
        async with relaying(f"http://127.0.0.1:{inner.getsockname()[1]}") as service.relay:
            service.url = service.relay.url
            ready.set()
            await server.serve(sockets=[inner])

    thread = threading.Thread(target=service.loop.run_until_complete, args=(main(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield service
    finally:
        server.should_exit = True
        thread.join(10)
        service.loop.close()
        assert not thread.is_alive(), "the service did not stop"


class Driven:
    """An AsyncClient with blocking methods, so that every test runs against both clients."""

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = reroom.AsyncClient(url, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name in ("events", "jobs"):
            return lambda *a, **k: self._each(method(*a, **k))
        return lambda *a, **k: self._runner.run(method(*a, **k))

    def _each(self, iterator: AsyncGenerator[Any, None]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(iterator, None)

        while (each := self._runner.run(following())) is not None:
            yield each

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()
