"""A local HTTP server that takes what the service sends away: traces, errors, product events."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver:
    """``posts`` are (path, body) of what came, decompressed. ``status`` is answered to all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.posts: list[tuple[str, bytes]] = []
        self.status = 200
        self.gate = threading.Event()
        """Answers wait for it."""
        self.gate.set()

    @property
    def dsn(self) -> str:
        """For Sentry."""
        return self.url.replace("://", "://public@") + "/1"

    def bodies(self, path: str) -> list[bytes]:
        return [body for each, body in self.posts if each == path]

    def spans(self) -> list[Span]:
        """Of OTLP over HTTP."""
        found = []
        for body in self.bodies("/v1/traces"):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found

    def errors(self) -> list[dict[str, Any]]:
        """The events of Sentry's envelopes: a header, then a header and a payload for each item, all lines of JSON."""
        found = []
        for body in self.bodies("/api/1/envelope/"):
            lines = body.splitlines()
            for header, payload in zip(lines[1::2], lines[2::2], strict=False):
                if json.loads(header)["type"] == "event":
                    found.append(json.loads(payload))
        return found


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.gate.wait(10)
            receiver.posts.append((self.path, body))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="receiver")
    thread.start()
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
