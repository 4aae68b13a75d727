"""``python -m stack up`` and ``… demo``; see ``--help``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from stack.demo import demo
from stack.device import DEVICES, VARIABLE
from stack.process import StackError
from stack.stack import WILDCARDS, Stack
from stack.terminal import ending_on_signals, only_one, report
from stack.triton import ROOT

RUN = ROOT / ".run"
INTERRUPTED = 130
LAST_PORT = 65535


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 = done (``up``: stopped by a signal), 1 = an error, reported on stderr, 130 = interrupted."""
    options = parse(arguments)
    try:
        with ending_on_signals():
            if options.command == "up":
                return up(options)
            with demo_folder() as run:
                stack = Stack(run, release=find_release(options.bundle), device=options.device)
                demo(stack, photo=options.photo, style=options.style, out=options.out)
            return 0
    except StackError as error:
        report(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        report("stopped")
        return 0 if options.command == "up" else INTERRUPTED


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stack", description="The stack, without containers.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="keep the stack running until Ctrl-C")
    up.add_argument("--host", default="127.0.0.1", help="where the API listens (127.0.0.1)")
    up.add_argument("--port", type=port, default=8000, help="(8000; 0 = a free one)")
    up.add_argument(
        "--triton-port",
        type=port,
        default=8001,
        help="of the first Triton's gRPC, on 127.0.0.1; the others' follow (8001; 0 = free ones)",
    )
    up.add_argument("--workers", type=count, default=1, help="(1)")
    up.add_argument("--tritons", type=count, default=1, help="(1)")
    up.add_argument("--apis", type=count, default=1, help="processes of the API (1)")
    up.add_argument(
        "--run", type=Path, default=RUN / "up", help="folder for logs, pictures and Redis's data (.run/up)"
    )
    demo = commands.add_parser("demo", help="restyle one photo on a stack of its own and stop")
    demo.add_argument("--photo", type=Path, help="a picture of a room; without it, one that was rendered")
    demo.add_argument("--style", default="modern", help="(modern)")
    demo.add_argument("--out", type=Path, default=Path("out"), help="folder for the results (out)")
    for each in (up, demo):
        each.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
        each.add_argument(
            "--device", choices=DEVICES, help=f"what the networks run on ({VARIABLE}, else auto)"
        )
    given = parser.parse_args(arguments)
    if given.command == "up" and given.triton_port:
        last = given.triton_port + given.tritons - 1
        if last > LAST_PORT:
            parser.error(f"argument --triton-port: {last} is needed too, and {LAST_PORT} is the last one")
        if given.triton_port <= given.port <= last:
            parser.error(
                f"argument --triton-port: {given.port} is the API's: choose another, or 0 for a free one"
            )
    return given


def port(text: str) -> int:
    """0 … LAST_PORT; raises ValueError."""
    if not 0 <= (number := int(text)) <= LAST_PORT:
        raise ValueError(text)
    return number


def count(text: str) -> int:
    """A number from 1 on; raises ValueError."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def up(options: argparse.Namespace) -> int:
    run: Path = options.run
    taken = f"another stack runs in {run}: stop it, or give this one a folder of its own with --run"
    with only_one(run, taken):
        stack = Stack(
            run,
            release=find_release(options.bundle),
            host=options.host,
            port=options.port,
            triton_port=options.triton_port,
            workers=options.workers,
            tritons=options.tritons,
            apis=options.apis,
            device=options.device,
            agent=True,
        )
        report("starting …")
        with stack:
            report(f"reroom serves at {stack.url} (logs in {run / 'logs'}); Ctrl-C ends it")
            report(f"{', '.join(stack.triton_urls)}: gRPC at {', '.join(stack.triton_urls.values())}")
            if (key := stack.api_key()) is not None:
                report(f"its key is {key} (kept in {run / 'api_key'})")
                report("    send it as Authorization: Bearer KEY; for the client: export REROOM_API_KEY=KEY")
            if stack.devices:
                report(f"the networks run on: {', '.join(sorted(stack.devices))}")
            if options.host in WILDCARDS and not os.environ.get("API_BASE_URL"):
                report(
                    f"warning: every URL in its answers begins with {stack.url}, which other machines cannot reach: "
                    f"set API_BASE_URL=http://<this machine>:{urlsplit(stack.url).port}"
                )
            report(f"open it in a browser: {stack.url}/studio")
            try:
                stack.watch()
            finally:
                report("stopping …")
    return 0


def find_release(bundle: str) -> Path:
    """The bundle's release folder; raises StackError when there is none."""
    releases = ROOT / "releases"
    release = releases / bundle
    file = ROOT / "export" / "bundles" / f"{bundle}.toml"
    if not (release / "models").is_dir() or bundle.startswith("."):
        there = sorted(folder.parent.name for folder in releases.glob("[!.]*/models"))
        raise StackError(
            f"there is no bundle {bundle} in {releases}: "
            + (
                f"run `make export BUNDLE={bundle}`, or "
                if file.is_file()
                else f"make one with `.venv/bin/python -m export add … --name {bundle}` (docs/adding.md), or "
            )
            + (f"take one of those that are there: {', '.join(there)}" if there else "export one")
        )
    live = release / "live"
    version = live.read_text().strip() if live.is_file() else ""
    kept = [release / "versions" / version / name for name in ("bundle.toml", "bundle.renewed.toml")]
    known = [copy.read_bytes() for copy in kept if copy.is_file()]
    if known and file.is_file() and file.read_bytes() not in known:
        report(
            f"warning: {file.relative_to(ROOT)} was changed after this release was made: to serve what it says, run "
            f"`.venv/bin/python -m export {bundle} --promote` first"
        )
    return release


@contextmanager
def demo_folder() -> Iterator[Path]:
    """A folder for one run, removed unless the run went wrong and its logs may be wanted."""
    RUN.mkdir(exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="demo-", dir=RUN))
    try:
        yield run
    except StackError:
        if not (run / "logs").exists():
            shutil.rmtree(run)
        raise
    except BaseException:
        shutil.rmtree(run, ignore_errors=True)
        raise
    shutil.rmtree(run)


if __name__ == "__main__":
    sys.exit(main())
