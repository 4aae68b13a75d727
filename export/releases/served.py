"""The model repository of the versions that a host serves: ``python -m export.releases.served RELEASE [-- COMMAND…]``.

It makes RELEASE/served what Triton shall load at its start, checks the files, and runs COMMAND in its own place. That
is the live version and those beside it that were ready before; what was half loaded when Triton ended is left out, so
that a version that ends Triton does so once, and so is a version beside the live one with a damaged file.

With ``--source FOLDER``, RELEASE is a folder of this host's own, which is made if need be: what it serves lies in
FOLDER, which may be read-only and which several hosts may follow.

It needs the standard library alone, so that a container without our packages can run it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from export.releases.checksums import ReleaseDamaged, check_served, how_to_mend, leave_out
from export.releases.folder import agent_runs, graph_places, live_version, make_live, version_folder
from export.releases.host import SERVED, Host, read_host, write_host

CHECKSUMS = Path(__file__).with_name("checksums.py")

Place = tuple[str, int]
"""A model of Triton's, and one of its versions."""


class ServedError(Exception):
    """There is nothing that could be served; the message is one sentence."""


class Served:
    """The repository of links in the folder ``release``. Its writers wait for each other."""

    def __init__(self, release: Path) -> None:
        self.release, self.folder = release, release / SERVED

    def places(self) -> set[Place]:
        """What is in it."""
        return {
            (link.parent.name, int(link.name))
            for link in self.folder.glob("*/[1-9]*")
            if link.name.isdecimal()
        }

    def wanted(self, versions: Iterable[int]) -> set[Place]:
        """The graphs of ``versions``. Raises OSError or ValueError for one that cannot be read."""
        files = [version_folder(self.release, version) / "release.json" for version in versions]
        return {place for file in files for place in graph_places(json.loads(file.read_bytes())).values()}

    def add(self, place: Place) -> None:
        """Put a graph into it. Raises OSError."""
        with self._locked():
            self._add(place)

    def _add(self, place: Place) -> None:
        model, number = place
        source, target = self.release / "models" / model, self.folder / model
        target.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            # config.pbtxt, and configs/ with those of other hardware. Links, since they never change.
            if not file.name.isdecimal():
                _link(Path("..", "..", "models", model, file.name), target / file.name)
        _link(Path("..", "..", "models", model, str(number)), target / str(number))

    def drop(self, place: Place) -> bool:
        """Take a graph out of it; returns whether its model has none left, and went too."""
        with self._locked():
            return self._drop(place)

    def _drop(self, place: Place) -> bool:
        model, number = place
        folder = self.folder / model
        (folder / str(number)).unlink(missing_ok=True)
        if any(item.name.isdecimal() for item in folder.glob("*")):
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True

    def make(self, versions: Iterable[int]) -> None:
        """Make it the graphs of ``versions`` and nothing else. Raises OSError, ValueError."""
        wanted = self.wanted(versions)
        self.folder.mkdir(exist_ok=True)
        with self._locked():
            for place in self.places() - wanted:
                self._drop(place)
            for place in wanted:
                self._add(place)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _link(target: Path, place: Path) -> None:
    if not (place.is_symlink() and os.readlink(place) == str(target)):
        new = place.with_name(f".{place.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        os.replace(new, place)


def follow_folder(release: Path, source: Path) -> None:
    """Make ``release`` a host's folder for what is published in the folder ``source``. What was live here stays so,
    while ``source`` has it. Raises ServedError, ReleaseDamaged, OSError."""
    release.mkdir(parents=True, exist_ok=True)
    for name in ("models", "versions"):
        _link((source / name).resolve(), release / name)
    live = 0
    # A pointer of the host's own that is garbled is written anew.
    with suppress(ReleaseDamaged):
        live = live_version(release)
    if not (live and version_folder(release, live).is_dir()):
        live = live_version(source) or _promoted(source)
        if not live:
            raise ServedError(f"nothing is live in {source}: export a release there, or promote one")
        make_live(release, live)


def _promoted(source: Path) -> int:
    """What shall be live by the document in ``source``, which has no ``live`` of its own; 0 = nothing. Raises
    ServedError, OSError."""
    file = source / "rollout.json"
    try:
        return int(json.loads(file.read_bytes())["live"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError) as error:
        raise ServedError(f"{file} cannot be read ({type(error).__name__}: {error}): restore it") from error


def follow(release: Path, source: str) -> None:
    """Make ``release`` a host's folder for what is published in ``source``, a folder or an object storage, from which
    what is live there is fetched at the first start. Raises ServedError, ReleaseDamaged, OSError."""
    if "://" not in source:
        follow_folder(release, Path(source))
        return
    if live_version(release):
        return
    # Later the agent fetches. Late: these need packages beside the standard library.
    from export.releases.follower import Follower
    from export.releases.places.port import PlaceError

    try:
        follower = Follower(release, source)
        wanted = follower.wanted()
        if wanted is None or not wanted.live:
            raise ServedError(follower.problem or f"nothing is live in {source}: promote a version there")
        follower.fetch(wanted.live, lambda sentence: print(sentence, flush=True))
    except PlaceError as error:
        raise ServedError(str(error)) from error
    make_live(release, wanted.live)


def prepare(release: Path) -> None:
    """Make ``served`` of the folder ``release`` what Triton shall load. Raises ServedError, ReleaseDamaged, OSError."""
    # Tritons that share the folder start at the same time.
    handle = os.open(release, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _prepare(release)
    finally:
        os.close(handle)


def _prepare(release: Path) -> None:
    live = live_version(release)
    if not live:
        raise ServedError(f"nothing is live in {release}: `python -m export release promote`")
    host = read_host(release) or Host()
    ready = [live, *(version for version in host.ready if version != live and _may_serve(release, version))]
    try:
        Served(release).make(ready)
    except (OSError, ValueError, KeyError) as error:
        raise ServedError(f"{release.name}-{live} cannot be served: {error}") from error
    if not agent_runs(release):
        host.live, host.ready, host.loading, host.restart = live, sorted(ready), None, ""
        write_host(release, host)


def _may_serve(release: Path, version: int) -> bool:
    """Whether a version that was ready beside the live one still can be; one that was pruned or is damaged is left
    out, which the agent is told."""
    try:
        check_served(release, version)
    except ReleaseDamaged as error:
        if version_folder(release, version).is_dir():
            name = f"{release.resolve().name}-{version}"
            help_ = how_to_mend(release, version)
            print(
                f"warning: {name} is not loaded: {release / str(error)}; {help_}", file=sys.stderr, flush=True
            )
        leave_out(release, version)
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Exit status, unless it becomes COMMAND: 0, or 1 with a sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m export.releases.served", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("release", type=Path)
    parser.add_argument("--source", help="the release folder to follow, where RELEASE is the host's own")
    parser.epilog = "After --, a command that takes this one's place."
    words = sys.argv[1:] if arguments is None else arguments
    own = words.index("--") if "--" in words else len(words)
    given, command = parser.parse_args(words[:own]), words[own + 1 :]
    try:
        if given.source is not None:
            follow(given.release, given.source)
        if CHECKSUMS.is_file():
            checked = subprocess.run([sys.executable, "-I", "-S", CHECKSUMS, given.release], check=False)
            if checked.returncode:
                return 1
        prepare(given.release)
    except (ServedError, ReleaseDamaged, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if command:
        sys.stdout.flush()
        os.execvp(command[0], command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
