"""A checkout small enough to be set up again and again: the real Makefile and setup/, with stand-in packages."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.programs import ran

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
FILES = 300
"""Files of a stand-in package: enough that a test can catch pip while it copies them."""

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
requires = {requires}
extras = {extras}
"""
BACKEND = """\
import tomllib, zipfile
from pathlib import Path

def get_requires_for_build_editable(config_settings=None):
    return []

def build_editable(folder, config_settings=None, metadata_directory=None):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    name = project["name"].replace("-", "_")
    info = f"{name}-1.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {project['name']}", "Version: 1"]
    metadata += [f"Provides-Extra: {extra}" for extra in project["extras"]]
    metadata += [f"Requires-Dist: {other}" for other in project["requires"]]
    wheel = f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder, wheel), "w") as file:
        file.writestr(f"{name}.pth", str(Path.cwd()))
        file.writestr(f"{info}/METADATA", "\\n".join(metadata) + "\\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr(f"{info}/RECORD", "".join(f"{each},,\\n" for each in file.namelist()))
    return wheel
"""


def _outside_of_make() -> dict[str, str]:
    """The environment without what ``make check`` adds: as another make's child, make says where it is first."""
    return {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }


class Checkout:
    """``folder`` can be set up with its own ``make``; ``wheels`` is the only place that pip takes packages from."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wheels = folder, folder / "wheels"
        self.wheels.mkdir(parents=True)
        for name in ("Makefile", "setup"):
            if (ROOT / name).exists():
                subprocess.run(["cp", "-r", ROOT / name, folder], check=True)
        self.write("requirements/constraints.txt", "alpha==1\n")
        self.write("requirements/serving.txt", "alpha==1\nbig==1\n")
        self.write("requirements/onnxruntime.txt", "onnxruntime==1\n")
        self.write("requirements/onnxruntime_gpu.txt", "onnxruntime-gpu==1\ncudnn==1\n")
        self.write("requirements/tritonserver.txt", "server==1\n")
        self.project(
            "pyproject.toml", "reroom-server", ["alpha", 'torch-like; extra == "test"'], ["embedded", "test"]
        )
        self.project("client/pyproject.toml", "reroom", ["alpha"], ["triton"])
        for package in ("alpha", "server", "onnxruntime", "onnxruntime-gpu", "cudnn"):
            self.package(package, 5)
        for package in ("big", "torch-like"):
            self.package(package, FILES)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def project(self, file: str, name: str, requires: list[str], extras: list[str]) -> None:
        self.write(file, PROJECT.format(name=name, requires=requires, extras=extras))
        (self.folder / file).with_name("backend.py").write_text(BACKEND)

    def package(self, name: str, files: int, content: str = "x = 1\n") -> None:
        """A wheel whose METADATA is copied before its files, so that pip takes it for installed while it is not."""
        module, names = name.replace("-", "_"), []
        with zipfile.ZipFile(self.wheels / f"{module}-1-py3-none-any.whl", "w") as file:

            def add(path: str, text: str) -> None:
                file.writestr(path, text)
                names.append(path)

            info = f"{module}-1.dist-info"
            add(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
            add(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            for number in range(files):
                add(f"{module}/part{number:03}.py", content)
            file.writestr(f"{info}/RECORD", "".join(f"{each},,\n" for each in [*names, f"{info}/RECORD"]))

    def start(
        self, *goals: str, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """``make goals``, in a process group of its own."""
        given = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "TORCH": "torch-like",
            **(env or {}),
        }
        return subprocess.Popen(
            ["make", *goals],
            cwd=self.folder,
            env={**_outside_of_make(), **given, "PIP_CONFIG_FILE": os.devnull},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def make(self, *goals: str, env: Mapping[str, str] | None = None, **options: Any) -> tuple[int, str]:
        """The exit status and the output."""
        with self.start(*goals, env=env, **options) as process:
            output, _ = process.communicate(timeout=SECONDS)
        return process.returncode, output

    def complete(self, *goals: str) -> None:
        """``make goals``, which must succeed."""
        status, said = self.make(*goals)
        assert status == 0, said

    def kill_when(self, moment: Callable[[], bool], *goals: str) -> None:
        """``make goals``, and kill -9 of every process of it at ``moment``; its output is not read."""
        with self.start(*goals) as process:
            end = time.monotonic() + SECONDS
            while process.poll() is None and not moment():
                assert time.monotonic() < end, "the moment did not come"
                time.sleep(0.0005)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def site(self, environment: str) -> Path:
        return next((self.folder / environment).glob("lib/python3*/site-packages"), self.folder / "none")

    def differences(self, environment: str, *packages: str) -> list[str]:
        """What of the packages is not in the environment as it is in their wheels."""
        found = []
        for package in packages:
            with zipfile.ZipFile(self.wheels / f"{package}-1-py3-none-any.whl") as file:
                for name in file.namelist():
                    installed = self.site(environment) / name
                    if not installed.is_file():
                        found.append(f"{name} is missing")
                    elif not name.endswith("RECORD") and installed.read_bytes() != file.read(name):
                        found.append(f"{name} is different")
        done = ran(self.folder / environment / "bin" / "python", "-m", "pip", "check")
        return found + ([] if done.returncode == 0 else [done.stdout + done.stderr])

    def remove(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)
