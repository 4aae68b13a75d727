"""A model hub over HTTP: the part of its protocol that fetching files needs, for a folder of repositories.

``<folder>/<owner>/<name>/<commit>/<file>`` is a file of a repository at a commit. Large files (.safetensors) are served
as LFS files are: the answer to a HEAD sends the client to another host, which serves the bytes and takes Range.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

PIECE = 1 << 16


@dataclass
class Faults:
    """What the hub does wrong. All can be changed while it runs."""

    cut_after: int | None = None
    """Bytes of a large file after which the connection is broken, so many of them in each answer."""
    wrong_byte: int | None = None
    """Offset of a byte of large files that is sent as another one."""
    commit: str | None = None
    """What X-Repo-Commit says in place of the commit that was asked for."""
    missing: set[str] = field(default_factory=set)
    """Files that are not found."""
    pause: float = 0.0
    """Seconds before each piece of a large file."""
    silence: float = 0.0
    """Seconds before any answer."""
    errors: int = 0
    """So many requests are answered 503."""
    refuse: int | None = None
    """Status of every answer."""
    no_range: bool = False
    longer: int = 0
    """Bytes that are sent after a large file's end, without a Content-Length."""


@dataclass
class Request:
    """One line of the log."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    host: str


@dataclass
class HubServer:
    """``endpoint`` is what HF_ENDPOINT takes; ``log`` has every request."""

    folder: Path
    port: int = 0
    faults: Faults = field(default_factory=Faults)
    log: list[Request] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def elsewhere(self) -> str:
        """Another host for the client: where large files are sent from."""
        return f"http://localhost:{self.port}"

    def ranges(self) -> list[str | None]:
        """The Range of every request for a large file's bytes."""
        return [request.range for request in self.log if request.method == "GET" and "/lfs/" in request.path]


@contextmanager
def running_hub(folder: Path) -> Iterator[HubServer]:
    """Serves ``folder`` on a free port until the end."""
    hub = HubServer(folder)

    class Handler(_Handler):
        server_hub = hub

    server = ThreadingHTTPServer(("", 0), Handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        hub, faults = self.server_hub, self.server_hub.faults
        get = self.headers.get
        hub.log.append(
            Request(
                self.command, self.path, get("Range"), get("Authorization"), str(get("Host")).split(":")[0]
            )
        )
        time.sleep(faults.silence)
        if faults.refuse is not None:
            self._end(faults.refuse)
        elif faults.errors > 0:
            faults.errors -= 1
            self._end(503)
        elif self.path.startswith("/lfs/"):
            self._send(hub.folder / unquote(self.path.removeprefix("/lfs/")), large=True)
        else:
            self._resolve()

    def _resolve(self) -> None:
        """/<owner>/<name>/resolve/<commit>/<file>"""
        hub, faults = self.server_hub, self.server_hub.faults
        parts = unquote(self.path).strip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return self._end(404)
        repo, commit, name = hub.folder / parts[0] / parts[1], parts[3], "/".join(parts[4:])
        if not repo.is_dir():
            return self._end(404, {"X-Error-Code": "RepoNotFound"})
        if not (repo / commit).is_dir():
            return self._end(404, {"X-Error-Code": "RevisionNotFound"})
        headers = {"X-Repo-Commit": faults.commit or commit}
        file = repo / commit / name
        if not file.is_file() or name in faults.missing:
            return self._end(404, {**headers, "X-Error-Code": "EntryNotFound"})
        content = file.read_bytes()
        if name.endswith(".safetensors"):
            relative = file.relative_to(hub.folder)
            headers |= {
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"{hub.elsewhere}/lfs/{relative}",
            }
            return self._end(302, headers)
        headers["ETag"] = f'"{git_blob(content)}"'
        self._send(file, headers)

    def _send(self, file: Path, headers: dict[str, str] | None = None, *, large: bool = False) -> None:
        faults = self.server_hub.faults
        content, start = file.read_bytes(), 0
        if large and faults.wrong_byte is not None:
            at = faults.wrong_byte
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        if large and faults.longer:
            content += bytes(faults.longer)
        asked = self.headers.get("Range")
        if asked and not faults.no_range:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if large and faults.longer:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        rest = content[start:]
        cut = faults.cut_after if large else None
        try:
            for offset in range(0, len(rest) if cut is None else min(cut, len(rest)), PIECE):
                time.sleep(faults.pause if large else 0.0)
                self.wfile.write(rest[offset : offset + PIECE] if cut is None else rest[offset:cut][:PIECE])
        except OSError:
            self.close_connection = True
        if cut is not None and cut < len(rest):
            self.close_connection = True

    def _end(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()


def git_blob(content: bytes) -> str:
    """The id that Git gives a file, which the hub's ETag of a small file is."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
