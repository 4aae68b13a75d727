"""Makes one of the project's environments, and completes one whose making was interrupted. The Makefile calls it.

    python3 setup/environment.py .venv --stamp .server-installed --needs pyproject.toml --pip "-e '.[embedded]'"

A stamp in the folder marks an installation that has ended. All stamps go before anything is changed, so an environment
without one was left in the middle: by Ctrl-C, kill -9, a full disk, a lost network. It is compared with the records
that pip keeps of every file, and goes on from where it is if they agree; else it is made anew. pip alone would not see
the difference: it takes a package for installed as soon as its METADATA is there, which need not be the last file.

Only one installation runs in a checkout at a time. The lock is passed on to pip, so that it holds as long as a pip
runs whose starter was killed. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAMPS = ".*installed"
INTERRUPTED = 130
UNFINISHED = "is not complete; the next call of make goes on from here"


class SetupError(Exception):
    """A step failed, and has printed the reason; the message is one sentence about what that means."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 = the environment is complete, 1 = a step failed, 130 = interrupted."""
    order = parse(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            # So that the step that runs ends too.
            signal.signal(number, signal.default_int_handler)
    try:
        with lock() as held:
            make(order, held)
    except SetupError as error:
        print(f"error: {error}; {order.folder.name} {UNFINISHED}", file=sys.stderr)
        return 1
    except OSError as error:  # such as a full disk
        print(f"error: {error}; {order.folder.name} {UNFINISHED}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped: {order.folder.name} {UNFINISHED}", file=sys.stderr)
        return INTERRUPTED
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="setup/environment.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # An environment may be a link to another checkout's: that one is completed, the link stays.
    parser.add_argument("folder", type=lambda text: Path(text).resolve())
    parser.add_argument(
        "--stamp",
        action="append",
        required=True,
        help="file in the folder; of several, the last is the newest",
    )
    parser.add_argument(
        "--needs",
        nargs="+",
        type=Path,
        default=[],
        help="nothing is done when the last stamp is newer than these",
    )
    parser.add_argument(
        "--pip",
        action="append",
        required=True,
        metavar="ARGUMENTS",
        help="of one `pip install`; may be repeated",
    )
    parser.add_argument(
        "--never",
        metavar="PACKAGE",
        help="an environment that has it is made anew: another package of ours has files of the same names",
    )
    parser.add_argument(
        "--target-of",
        type=Path,
        metavar="PYTHON",
        help="the folder is no environment of its own but a --target of this one's pip, made anew each time",
    )
    return parser.parse_args(arguments)


@contextmanager
def lock() -> Iterator[int]:
    """Within the block, no other installation runs in this checkout. Yields the descriptor to pass to children."""
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another installation in this folder to end …", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks, such as some NFS: then it is on the user to start one at a time
        yield descriptor
    finally:
        os.close(descriptor)


def make(order: argparse.Namespace, held: int) -> None:
    """Make or complete the environment. Raises SetupError, OSError."""
    folder: Path = order.folder
    if up_to_date(order):
        return  # another make has done it meanwhile
    finished = list(folder.glob(STAMPS))
    reason = "" if order.target_of else what_is_wrong(folder, finished=bool(finished), never=order.never)
    for stamp in finished:
        stamp.unlink()
    if reason or order.target_of:
        if folder.exists():
            if reason:
                print(f"{folder.name} is made anew: {reason}", flush=True)
            shutil.rmtree(folder)
        folder.mkdir()
    with scratch(folder) as environment:
        if reason:
            run([sys.executable, "-m", "venv", str(folder)], environment, held)
        python = order.target_of or folder / "bin" / "python"
        more = ["--target", str(folder)] if order.target_of else []
        for arguments in order.pip:
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *more]
            run([*pip, *shlex.split(arguments)], environment, held)
    for stamp in order.stamp:
        (folder / stamp).touch()


def up_to_date(order: argparse.Namespace) -> bool:
    stamp: Path = order.folder / order.stamp[-1]
    if not stamp.exists() or not (order.target_of or runs_pip(order.folder)):
        return False
    made = stamp.stat().st_mtime_ns
    return all(file.exists() and file.stat().st_mtime_ns <= made for file in order.needs)


@contextmanager
def scratch(folder: Path) -> Iterator[dict[str, str]]:
    """The environment variables of a step, whose temporary files lie in the folder: those of a step that was killed
    are gone with the next call, and they need no room in /tmp."""
    temporary = folder / ".tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield {**os.environ, "TMPDIR": str(temporary)}
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def run(command: Sequence[str], environment: dict[str, str], held: int) -> None:
    """One step, in the checkout. Raises SetupError; an interrupted one is killed."""
    status = subprocess.run(command, env=environment, cwd=ROOT, pass_fds=[held], check=False).returncode
    if status:
        raise SetupError(f"`{shlex.join(command)}` ended with status {status}")


def what_is_wrong(folder: Path, *, finished: bool, never: str | None = None) -> str:
    """Why an environment cannot be gone on with, "" if it can."""
    if not folder.exists():
        return "it is not there"
    if not runs_pip(folder):
        return "its Python or its pip does not run"
    if never and any(folder.glob(f"lib/python3*/site-packages/{never.replace('-', '_')}-*.dist-info")):
        return f"it has {never}"
    return "" if finished else differs_from_records(folder)


def runs_pip(folder: Path) -> bool:
    command = [str(folder / "bin" / "python"), "-I", "-m", "pip", "--version"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def differs_from_records(folder: Path) -> str:
    """The first difference between the installed files and pip's RECORDs of them, "" if there is none."""
    (site,) = folder.glob("lib/python3*/site-packages")
    recorded = set()
    for package in site.glob("*.dist-info"):
        if not (package / "RECORD").is_file():
            return f"{package.name} has no RECORD"
        with (package / "RECORD").open(newline="") as file:
            for name, _, size in csv.reader(file):
                path = os.path.normpath(site / name)
                recorded.add(path)
                if name.endswith(".pyc"):  # Python makes it when it is missing
                    continue
                if not os.path.exists(path) or (size and os.path.getsize(path) != int(size)):
                    return f"{name} of {package.name.removesuffix('.dist-info')} is missing or cut off"
    for place, _, names in os.walk(site):
        for name in names:
            path = os.path.join(place, name)
            if path not in recorded and not name.endswith(".pyc"):
                return f"{os.path.relpath(path, site)} belongs to no installed package"
    return ""


if __name__ == "__main__":
    sys.exit(main())
