"""Triton Inference Server on this machine, without a container.

    python -m stack.triton --repository model_repository --repository releases/tiny/models \\
        --release releases/tiny

prints the server's ports and keeps it running until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from stack.device import DEVICES, VARIABLE, asked_device, chosen_device
from stack.process import Part, Process, StackError, describe, free_ports, retry_taken_ports

ROOT = Path(__file__).resolve().parents[1]
BACKENDS = Path(__file__).with_name("backends")
ENVIRONMENT = ROOT / ".triton"
OPTIONS = [
    line
    for line in (ROOT / "stack" / "tritonserver.options").read_text().splitlines()
    if line and not line.startswith("#")
]
"""Shared with the container's Triton."""
WATCH = ROOT / "stack" / "watch_triton.py"
"""Starts tritonserver, in the container too, and ends it when a model's process has died."""
CHECK = ROOT / "export" / "releases" / "checksums.py"
"""Compares a release's files with what was published, before Triton loads them; the container runs it too."""
EXIT_SECONDS = next(
    int(option.removeprefix("--exit-timeout-secs="))
    for option in OPTIONS
    if option.startswith("--exit-timeout-secs=")
)
GLIBC = (2, 35)

PROBE = """
import ctypes, json, sys, sysconfig
library = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
folder = sysconfig.get_config_var("LIBDIR")
found = False
for name in (f"{folder}/{library}", library):
    try:
        found = bool(ctypes.CDLL(name))
        break
    except OSError:
        pass
print(json.dumps([library, folder, found, sysconfig.get_path("purelib")]))
"""


def triton_part(
    repositories: Sequence[Path],
    run: Path,
    ports: tuple[int, int, int],
    *,
    release: Path | None = None,
    environment: Path = ENVIRONMENT,
    options: Sequence[str] = (),
    name: str = "triton",
    device: str | None = None,
    exit_seconds: int = EXIT_SECONDS,
    prepare: Sequence[str | Path] = (),
) -> Part:
    """A server of the models in ``repositories``, listening on 127.0.0.1 at ``ports`` = (HTTP, gRPC, metrics).

    ``run`` is a folder for its own files. ``release`` reaches the models as REROOM_RELEASE, ``options`` are appended
    to the command line, ``exit_seconds`` is how long requests and models may take to end at its stop; ``prepare`` is a
    command that gets the server's as arguments and becomes it, at every start, in place of the check of the release's
    files. The server is the
    tritonserver of PATH with its own backends, else that of the nvidia-pytriton wheel in ``environment``. It ends when
    the process of a Python model has died.

    ``device`` is one of DEVICES, None = that of the environment (REROOM_DEVICE); a tritonserver of PATH chooses for
    itself. What the graphs really run on is written into the folder ``devices_of(run)``. Raises StackError when
    something is missing.
    """
    device = asked_device() if device is None else device
    for folder in repositories if release is None else [*repositories, release]:
        if not folder.is_dir():
            raise StackError(f"there is no {folder}: run `make export` or choose another BUNDLE")
    shared_memory = f"reroom-{os.getpid()}-{ports[0]}-"
    env = {"REROOM_RELEASE": str(release.resolve())} if release else {}
    installed = shutil.which("tritonserver")
    if installed:
        if device != "auto":
            raise StackError(
                f"{installed} has backends of its own, which choose what they run on: leave {VARIABLE} and DEVICE out, "
                "or take tritonserver from PATH"
            )
        command: list[str | Path] = [installed]
    else:
        server, backends, wheel_env = prepare_wheel(environment, run)
        env |= wheel_env
        env[VARIABLE] = chosen_device(device, environment)
        env["REROOM_DEVICES"] = str(devices_of(run).resolve())
        shutil.rmtree(devices_of(run), ignore_errors=True)
        command = [server, f"--backend-directory={backends}"]
    http, grpc, metrics = ports
    checked: list[str | Path] = [sys.executable, "-I", "-S", CHECK, release.resolve()] if release else []
    # What prepares a release for an agent checks it too, once it is there.
    command = [*(prepare or checked), sys.executable, "-I", "-S", WATCH, *command]
    command += [
        *(f"--model-repository={folder.resolve()}" for folder in repositories),
        *("--http-address=127.0.0.1", f"--http-port={http}"),
        *("--grpc-address=127.0.0.1", f"--grpc-port={grpc}"),
        *("--metrics-address=127.0.0.1", f"--metrics-port={metrics}"),
        *OPTIONS,
        f"--backend-config=python,shm-region-prefix-name={shared_memory}",
        # Of an option that comes twice, Triton takes the last.
        f"--exit-timeout-secs={exit_seconds}",
        *options,
    ]
    return Part(
        name=name,
        command=command,
        env=env,
        ready=lambda: (
            answers(f"http://127.0.0.1:{http}/v2/health/ready")
            and answers(f"http://127.0.0.1:{metrics}/metrics")
        ),
        start_seconds=180,
        stop_seconds=exit_seconds + 3,
        stop_last=True,
        shared_memory=shared_memory,
        error_pattern=r'"failed to load .* version|^error: |already in use|[Ff]ailed to start',
    )


def devices_of(run: Path) -> Path:
    """The folder in which the graphs of a Triton that runs in ``run`` write down what they run on."""
    return run / "devices"


def prepare_wheel(environment: Path, run: Path) -> tuple[Path, Path, dict[str, str]]:
    """The wheel's server, a backends folder for it made under ``run``, and the variables that it needs."""
    check_machine()
    python = environment / "bin" / "python"
    if not python.exists():
        raise StackError(f"there is no tritonserver on PATH and no {environment}: run `make .triton`")
    answer = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise StackError(
            f"{python} does not run; remove {environment} and run `make .triton`\n{answer.stderr}"
        )
    library, folder, found, packages = json.loads(answer.stdout)
    if not found:
        raise StackError(
            f"Triton needs {library}, which this Python lacks: install it (Debian: apt install "
            f"{library.removesuffix('.so.1.0')}) or use a Python built with --enable-shared"
        )
    wheel = Path(packages) / "pytriton" / "tritonserver"
    version = library.removeprefix("libpython").removesuffix(".so.1.0")
    server = wheel / "bin" / "tritonserver"
    stub = wheel / "python_backend_stubs" / version / "triton_python_backend_stub"
    for file in (server, stub):
        if not file.exists():
            raise StackError(f"there is no {file}: remove {environment} and run `make .triton`")
    backends = run / "backends"
    shutil.copytree(wheel / "backends" / "python", backends / "python", dirs_exist_ok=True)
    shutil.copytree(BACKENDS, backends, dirs_exist_ok=True)
    shutil.copy2(stub, backends / "python")
    search = [folder, str(Path(packages) / "nvidia_pytriton.libs"), os.environ.get("LD_LIBRARY_PATH", "")]
    env = {
        "LD_LIBRARY_PATH": ":".join(filter(None, search)),
        # The stub embeds Python; it finds the environment's packages through the first python on PATH.
        "PATH": f"{environment.absolute() / 'bin'}:{os.environ.get('PATH', os.defpath)}",
    }
    return server, backends, env


def check_machine() -> None:
    """Raises StackError where the wheel's server cannot run."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise StackError(
            f"the embedded Triton runs on Linux x86-64 only, not on {sys.platform} {platform.machine()}: "
            "use the containers under docker/"
        )
    kind, version = platform.libc_ver()
    numbers = tuple(int(n) for n in version.split(".")[:2]) if kind == "glibc" else (0, 0)
    if numbers < GLIBC:
        wanted = ".".join(map(str, GLIBC))
        raise StackError(
            f"the embedded Triton needs glibc {wanted} or newer, this machine has {kind or 'another libc'} {version}: "
            "use a newer distribution or the containers under docker/"
        )


def answers(url: str) -> bool:
    """Whether a GET of ``url`` gives 200 within a second."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=1) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


class TritonServer:
    """A server for the length of a ``with`` block; usable as a test fixture. Arguments as in :func:`triton_part`.

    ``run`` None = a temporary folder. The ports are free ones: ``grpc``, ``http`` and ``metrics`` are "127.0.0.1:port"
    once it is started.
    """

    def __init__(
        self,
        repositories: Sequence[Path],
        run: Path | None = None,
        *,
        release: Path | None = None,
        environment: Path = ENVIRONMENT,
        options: Sequence[str] = (),
        device: str | None = None,
    ) -> None:
        self._run, self._temporary = run or Path(), run is None
        self._arguments = (repositories, release, environment, options, device)
        self.process: Process | None = None
        self.http = self.grpc = self.metrics = ""

    def start(self) -> Self:
        """Start it and wait until every model is ready. Raises StackError with the end of its log otherwise."""
        if self._temporary:
            self._run = Path(tempfile.mkdtemp(prefix="reroom-triton-"))
        retry_taken_ports(self._start)
        return self

    def _start(self) -> None:
        repositories, release, environment, options, device = self._arguments
        http, grpc, metrics = free_ports(3)
        part = triton_part(
            repositories,
            self._run,
            (http, grpc, metrics),
            release=release,
            environment=environment,
            options=options,
            device=device,
        )
        self.http, self.grpc, self.metrics = (f"127.0.0.1:{port}" for port in (http, grpc, metrics))
        self.process = Process(part, self._run / "triton.log")
        self.process.wait_ready()

    def stop(self) -> None:
        """Stop it; returns when nothing of it is left."""
        if self.process is not None:
            self.process.stop()
            if self._temporary:
                shutil.rmtree(self._run, ignore_errors=True)

    def kill(self) -> None:
        """kill -9 of the server, for tests of what happens then."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)

    @property
    def run(self) -> Path:
        """The folder for its own files."""
        return self._run

    @property
    def log(self) -> str:
        """Everything that the server wrote."""
        return (self._run / "triton.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(server: TritonServer) -> NoReturn:
    with server:
        print(json.dumps({"http": server.http, "grpc": server.grpc, "metrics": server.metrics}), flush=True)
        assert server.process is not None
        while server.process.exit_status is None:
            time.sleep(0.2)
        raise StackError(f"triton {describe(server.process.exit_status)}\n{server.process.tail()}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stack.triton", description="Run Triton.")
    parser.add_argument("--repository", type=Path, action="append", required=True, help="may be repeated")
    parser.add_argument(
        "--release", type=Path, help="the release folder that the models read, e.g. releases/tiny"
    )
    parser.add_argument("--device", choices=DEVICES, help=f"what the networks run on ({VARIABLE}, else auto)")
    parser.add_argument("options", nargs="*", help="for tritonserver, after --")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server = TritonServer(
            arguments.repository,
            release=arguments.release,
            options=arguments.options,
            device=arguments.device,
        )
        serve(server)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
