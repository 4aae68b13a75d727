"""``python -m export release`` as a process that is killed while it brings a version to a folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from export.releases import checksums
from export.releases.folder import document_of, live_version, versions
from export.releases.rollout import read_rollout
from export.releases.verifying import verify_rest
from measuring.s3_server import running_s3
from measuring.variants import publish_variant, seal
from stack.process import free_ports
from stack.triton import ROOT

BUNDLE = "dollhouse"
MORE_BYTES = 12_000_000
"""By which each graph of the new version is larger than the dollhouse's, so that there is something to be in the midst
of."""
LOOK_SECONDS = 0.002
RELEASE = [sys.executable, "-m", "export", "release"]
FOLDER = "FOLDER"
"""Stands for the release folder in the words of a command."""


@dataclass(frozen=True)
class Command:
    """Brings ``version`` to a release folder in which another is live."""

    words: list[str | Path]
    """After ``release``, with FOLDER among them."""
    base: Path
    """The folder as it is before."""
    version: int
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, release: Path) -> subprocess.Popen[bytes]:
        """Run it on ``release``."""
        words = [release if word == FOLDER else word for word in self.words]
        return run(words, self.environment)


@contextmanager
def publishing(folder: Path) -> Iterator[Command]:
    """``publish`` of a version that was made elsewhere, on this disk."""
    base, source, version = made(folder)
    yield Command(["publish", FOLDER, source, str(version)], base, version)


@contextmanager
def fetching(folder: Path) -> Iterator[Command]:
    """``fetch`` from an S3 server over HTTP."""
    base, source, version = made(folder)
    with running_s3(folder, free_ports(1)[0]) as server:
        bucket = server.bucket()
        place, environment = f"s3://{bucket}/releases/{BUNDLE}", server.environment(bucket)
        pushed = run(["push", source, str(version), "--to", place], environment)
        assert pushed.wait() == 0
        yield Command(["fetch", FOLDER, str(version), "--from", place], base, version, environment)


def made(folder: Path) -> tuple[Path, Path, int]:
    """A release folder, another one that has a version more, with other weights in every graph, and its number."""
    base = shutil.copytree(ROOT / "releases" / BUNDLE, folder / "base" / BUNDLE)
    source = shutil.copytree(base, folder / "elsewhere" / BUNDLE)
    live = live_version(base)
    graphs = document_of(base, live)["models"]
    publish_variant(source, live, live + 1, dict.fromkeys(graphs, larger), {})
    seal(source, live + 1)
    return base, source, live + 1


def larger(source: Path, place: Path) -> None:
    """The graph of ``source`` with a weight more, which nothing uses."""
    model = onnx.load(source)
    more = np.frombuffer(random.Random(place.parent.parent.name).randbytes(MORE_BYTES), np.uint8)
    model.graph.initializer.append(numpy_helper.from_array(more, "more"))
    onnx.save(model, place)


def run(words: list[str | Path], environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """``python -m export release`` with these words, silent."""
    return subprocess.Popen(
        [*RELEASE, *map(str, words)],
        cwd=ROOT,
        env=os.environ | dict(environment or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class KilledCommand:
    """Kills a command at random moments, and counts what should not be."""

    def __init__(self, command: Command, folder: Path) -> None:
        self._command, self._folder = command, folder
        self._live = live_version(command.base)
        self.count: Counter[str] = Counter()
        runs = [self._undisturbed() for _ in range(3)]
        self.first_seconds, self.usual_seconds = (min(times) for times in zip(*runs, strict=True))

    def _undisturbed(self) -> tuple[float, float]:
        """When it begins to write, and when it ends: before that it loads Python's modules."""
        with self._copy() as release:
            before, began, first = left(release), time.monotonic(), 0.0
            process = self._command.start(release)
            while process.poll() is None:
                if not first and left(release) != before:
                    first = time.monotonic() - began
                time.sleep(LOOK_SECONDS)
            assert process.returncode == 0
            return first, time.monotonic() - began

    def strike(self, chance: random.Random) -> None:
        """One moment, in a folder of its own. Where the command had ended before, another is drawn."""
        while not self._struck(chance.uniform(self.first_seconds * 0.9, self.usual_seconds)):
            self.count["too_late"] += 1

    def _struck(self, seconds: float) -> bool:
        with self._copy() as release:
            before = left(release)
            process = self._command.start(release)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
            if process.wait() != -signal.SIGKILL:
                return False
            self.count["moments"] += 1
            self.count["midway"] += left(release) != before
            self._check(release)
            return True

    def _check(self, release: Path) -> None:
        live, version = self._live, self._command.version
        loads = subprocess.run([sys.executable, "-I", "-S", checksums.__file__, release], check=False)
        pointers = {live_version(release), read_rollout(release).live}
        self.count["live_lost"] += pointers != {live} or loads.returncode != 0
        self.count["verify_failed"] += run(["verify", release, str(live)]).wait() != 0
        self.count["rerun_failed"] += self._command.start(release).wait() != 0 or version not in versions(
            release
        )
        self.count["verify_failed"] += run(["verify", release]).wait() != 0
        rest = verify_rest(release)
        alone = [path.name for path in release.parent.iterdir()] == [release.name]
        self.count["left_behind"] += not alone or bool(rest.problems or rest.notes)

    @contextmanager
    def _copy(self) -> Iterator[Path]:
        """The folder as it is before, in one of its own. Links: whatever wrote into a file that is there would spoil
        what comes later too."""
        place = self._folder / "work"
        try:
            yield shutil.copytree(self._command.base, place / BUNDLE, copy_function=os.link)
        finally:
            shutil.rmtree(place)


def left(release: Path) -> set[str]:
    """The paths of what is in the folder, and of what lies beside it."""
    return {str(path) for path in release.parent.rglob("*")}
