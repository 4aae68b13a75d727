"""One photo through the whole service, as any client would send it, with what each stage took."""

from __future__ import annotations

import io
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from orchestrator.domain.styles import STYLES
from orchestrator.photos.kinds import is_accepted, refusal
from reroom import Client, ReroomError, events
from stack.process import StackError
from stack.stack import Stack

GAP = 16
"""Pixels between the two pictures of before-after.png."""
JOB_SECONDS = 600.0
PATIENCE_SECONDS = 20.0
"""How long a part that crashed may be away before the demo gives up."""
STUDIO = "http://127.0.0.1:8000/studio"
"""Where `make up` has the page for people, unless HOST or PORT say otherwise."""
SAMPLE = Path(__file__).with_name("room.jpg")
"""A boho living room that no network was trained on, made with

    python -m dollhouse.render.photo --seed 1000340 --style boho --out stack/room.jpg
"""

Timings = dict[str, float]


def demo(stack: Stack, *, photo: Path | None, style: str, out: Path) -> None:
    """Restyle ``photo`` on a stack started for it; write result.jpg, thumbnail.jpg and before-after.png into ``out``.

    Raises StackError when that fails.
    """
    before = time.monotonic()
    console = Console()
    style = known_style(style)
    data = read_photo(photo)
    make_writable(out)
    timings: Timings = {}
    with console.status("starting Redis, Triton, the API and a worker …"), timed(timings, "start the stack"):
        stack.start()
    if stack.devices:
        console.print(f"the networks run on: {', '.join(sorted(stack.devices))}")
    try:
        with watched(stack):
            restyle(stack.url, data, style, out, timings, console)
    except ReroomError as error:
        raise StackError(f"the demo failed: {error} (logs: {stack.run / 'logs'})") from error
    finally:
        with timed(timings, "stop the stack"):
            stack.stop()
    timings["total"] = time.monotonic() - before
    console.print(table(timings))
    console.print(f"wrote {out / 'result.jpg'}, {out / 'thumbnail.jpg'} and {out / 'before-after.png'}")
    console.print(f"for more, in a browser: make up, then open {STUDIO}")


# Wrong input is reported before any process is started.


def known_style(style: str) -> str:
    """In any case, as the API takes it."""
    if (known := style.strip().lower()) not in STYLES:
        raise StackError(f"there is no style {style!r}; there are: {', '.join(STYLES)}")
    return known


def read_photo(photo: Path | None) -> bytes:
    """The photo's bytes, SAMPLE's without one."""
    photo = photo or SAMPLE
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise StackError(f"cannot read the photo {photo}: {error.strerror}") from None
    if not is_accepted(data):
        raise StackError(f"cannot take {photo}: {refusal(data)}")
    return data


def make_writable(out: Path) -> None:
    """Make the folder unless it is there; it must take files."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise StackError(f"cannot write to {out}: {error.strerror}") from None


def restyle(url: str, photo: bytes, style: str, out: Path, timings: Timings, console: Console) -> None:
    """Through the public client; adds the seconds of every stage to ``timings``. Raises ReroomError."""
    with Client(url, api_key="") as client:  # the demo's own service is open
        with timed(timings, "upload and queue"):
            job = client.submit(photo, style)
        begun = time.monotonic()
        with progress_bar(console) as bar:
            task = bar.add_task("queued", total=1.0)
            for event in client.events(job, timeout=JOB_SECONDS):
                match event:
                    case events.StatusChanged():
                        bar.update(task, completed=event.progress, description=event.status)
                    case events.Analysis() | events.Preview():
                        bar.update(task, completed=event.progress)
                    case events.Step():
                        bar.update(
                            task,
                            completed=event.progress,
                            description=f"transforming {event.step}/{event.of}",
                        )
                    case events.Completed():
                        bar.update(task, completed=1.0, description="completed")
                    case _:
                        pass
        finished = client.wait(job, timeout=JOB_SECONDS)
        seconds = time.monotonic() - begun
        assert finished.result is not None
        stages: Timings = finished.result.metadata.get("timings", {})
        timings["job (queued → completed)"] = seconds
        timings |= {f"  {name}": value for name, value in stages.items()}
        with timed(timings, "download"):
            client.download(finished.result.transformed_url, out / "result.jpg")
            if finished.result.thumbnail_url:
                client.download(finished.result.thumbnail_url, out / "thumbnail.jpg")
    before_after(photo, out / "result.jpg").save(out / "before-after.png")


def before_after(photo: bytes, result: Path) -> Image.Image:
    """The photo, as large as the result, and the result side by side."""
    with Image.open(io.BytesIO(photo)) as opened, Image.open(result) as after:
        before = ImageOps.fit(ImageOps.exif_transpose(opened).convert("RGB"), after.size)
        both = Image.new("RGB", (2 * after.width + GAP, after.height), "white")
        both.paste(before, (0, 0))
        both.paste(after, (after.width + GAP, 0))
    return both


def progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
    )


def table(timings: Timings) -> Table:
    made = Table("stage", "seconds", box=None)
    made.columns[1].justify = "right"
    for name, seconds in timings.items():
        made.add_row(name, f"{seconds:.2f}")
    return made


@contextmanager
def timed(timings: Timings, name: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    timings[name] = time.monotonic() - begun


@contextmanager
def watched(stack: Stack) -> Iterator[None]:
    """Within the block, parts that crash are started again; an error of the block's after the stack gave up is its."""
    done = threading.Event()
    failures: list[StackError] = []

    def watch() -> None:
        try:
            stack.watch(done, patience=PATIENCE_SECONDS)
        except StackError as error:
            failures.append(error)
            # Without the rest of the stack, the client's calls fail soon instead of waiting for a part that is gone.
            stack.stop()

    thread = threading.Thread(target=watch, name="watch the stack")
    thread.start()
    try:
        yield
    except ReroomError:
        if failures:
            raise failures[0] from None
        raise
    finally:
        done.set()
        thread.join()
