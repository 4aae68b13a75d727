"""Which pictures wait for which at the decoders, and what a turn costs."""

from __future__ import annotations

import asyncio
import io

import pytest
from PIL import Image

from benchmarks.attack import giant_webp
from orchestrator.photos.decoder.containers import take_apart
from orchestrator.photos.gate import PhotoGate
from orchestrator.photos.size import UNKNOWN, stated_pixels
from orchestrator.photos.turns import GIANT, Turns
from tests.support.gate.files import (
    encoded,
    exif,
    exif_segment,
    jpeg_segment,
    jpeg_with,
    picture,
    png_chunk,
    png_with,
    refusal,
    webp_chunk,
    webp_with,
)

PHOTO, LARGE = 1_000_000, GIANT + 1


class Queue:
    """Turns whose order is written down; each is held until ``finish`` is called for it."""

    def __init__(self, photos: int) -> None:
        self._turns = Turns(photos)
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.begun: list[str] = []

    async def ask(self, name: str, client: str | None, pixels: int = PHOTO, size: int = 10**6) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._hold(name, client, pixels, size))
        await asyncio.sleep(0)

    async def _hold(self, name: str, client: str | None, pixels: int, size: int) -> None:
        async with self._turns.turn(client, pixels, size):
            self.begun.append(name)
            await self._ends[name].wait()

    async def finish(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await asyncio.sleep(0)

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)
        await asyncio.sleep(0)

    async def finish_all(self) -> None:
        for end in self._ends.values():
            end.set()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("photos", [1, 2, 4])
async def test_photos_never_wait_for_giants(photos: int) -> None:
    queue = Queue(photos)
    for number in range(5):
        await queue.ask(f"giant {number}", "a", LARGE)
    for number in range(photos):
        await queue.ask(f"photo {number}", f"client {number}", GIANT)
    assert queue.begun == ["giant 0", *(f"photo {number}" for number in range(photos))]
    await queue.finish("giant 0")
    assert queue.begun[-1] == "giant 1"
    await queue.finish_all()


async def test_what_is_all_size_and_no_bytes_queues_with_the_giants() -> None:
    queue = Queue(2)
    await queue.ask("giant", "a", LARGE)
    await queue.ask("empty", "a", 12_000_000, size=34)
    await queue.ask("photo", "a", 12_000_000, size=300_000)
    await queue.ask("small", "a", 1_500_000, size=34)  # a flat drawing; it costs little
    assert queue.begun == ["giant", "photo", "small"]
    await queue.finish_all()


async def test_a_large_photo_does_not_wait_for_all_that_is_empty() -> None:
    queue = Queue(2)
    for number in range(5):
        await queue.ask(f"empty {number}", "a", 50_000_000, size=34)
    await queue.ask("photo", "a", 24_000_000, size=3_000_000)
    await queue.finish("empty 0")
    assert queue.begun == ["empty 0", "photo"]
    await queue.finish_all()


async def test_of_several_turns_one_client_leaves_one() -> None:
    queue = Queue(3)
    await queue.ask("b", "b")
    await queue.finish("b")
    queue.begun.clear()
    for number in range(4):
        await queue.ask(f"a{number}", "a")
    assert queue.begun == ["a0", "a1"]
    await queue.ask("b0", "b")
    assert queue.begun[-1] == "b0"
    await queue.ask("b1", "b")
    await queue.finish("a0")
    await queue.finish("a1")
    assert sorted(queue.begun[3:]) == ["a2", "b1"]
    await queue.finish_all()
    assert sorted(queue.begun) == ["a0", "a1", "a2", "a3", "b0", "b1"]


@pytest.mark.parametrize("client", ["a", None])
async def test_a_client_that_is_alone_or_is_many_has_all(client: str | None) -> None:
    queue = Queue(3)
    if client is None:
        await queue.ask("b", "b")
        await queue.finish("b")
    for number in range(4):
        await queue.ask(f"a{number}", client)
    assert queue.begun[-3:] == ["a0", "a1", "a2"]
    await queue.finish_all()


async def test_a_turn_costs_what_its_picture_does() -> None:
    queue = Queue(1)
    await queue.ask("first", "c")
    for number in range(3):
        await queue.ask(f"large {number}", "a", 8 * PHOTO)
    for number in range(10):
        await queue.ask(f"small {number}", "b", 2 * PHOTO)
    await queue.finish("first")
    while len(queue.begun) < 11:
        await queue.finish(queue.begun[-1])
    # As many pixels each: one large one for four small ones.
    order = "".join(name[0] for name in queue.begun[1:])
    assert order in ("lsssslssss", "slssslssss", "slsssslsss")
    await queue.finish_all()


async def test_one_that_comes_later_has_saved_nothing_up() -> None:
    queue = Queue(1)
    await queue.ask("a0", "a")
    for number in range(1, 6):
        await queue.ask(f"a{number}", "a")
    for number in range(4):
        await queue.finish(f"a{number}")
    for number in range(3):
        await queue.ask(f"b{number}", "b")
    for _ in range(4):
        await queue.finish(queue.begun[-1])
    assert queue.begun[:5] == ["a0", "a1", "a2", "a3", "a4"]
    assert queue.begun[5:8] in (["b0", "a5", "b1"], ["b0", "b1", "a5"])
    await queue.finish_all()


async def test_those_that_go_away_cost_nothing_and_leave_nothing() -> None:
    queue = Queue(1)
    await queue.ask("a0", "a")
    for number in range(1, 5):
        await queue.ask(f"a{number}", "a")
    await queue.ask("b0", "b")
    await queue.cancel("a1")
    await queue.cancel("a0")  # at work
    assert queue.begun == ["a0", "b0"]
    await queue.cancel("a2")
    await queue.finish("b0")
    assert queue.begun[-1] == "a3"
    await queue.finish_all()
    lanes = (queue._turns._photos, queue._turns._giants)
    assert [(lane._free, lane._clients) for lane in lanes] == [(1, {}), (1, {})]


async def test_one_that_goes_as_its_turn_comes_gives_it_on() -> None:
    queue = Queue(1)
    for number in range(3):
        await queue.ask(f"a{number}", "a")
    queue._ends["a0"].set()
    await queue._tasks["a0"]  # a1 has been given the turn, and does not know it yet
    queue._tasks["a1"].cancel()
    await queue.finish("a2")
    assert queue.begun[-1] == "a2"
    await queue.finish_all()


# What a turn costs


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"progressive": True}])
def test_pixels_by_the_header(format: str, options: dict[str, bool]) -> None:
    for size in ((64, 64), (300, 200), (1, 5000)):
        data = encoded(picture(size=size), format, **options)
        assert stated_pixels(bytearray(data)) == size[0] * size[1]
        parts = take_apart(data)
        assert (parts.width, parts.height) == size


def test_pixels_behind_other_things() -> None:
    parts = [exif_segment(exif(6)), jpeg_segment(0xE2, bytes(65_000)), jpeg_segment(0xFE, b"")] * 100
    assert stated_pixels(jpeg_with(encoded(picture()), *parts)) == 160 * 96
    assert stated_pixels(png_with(encoded(picture(), "PNG"), png_chunk(b"tEXt", b"a\0b"))) == 160 * 96
    assert stated_pixels(webp_with(picture(), 8, webp_chunk(b"EXIF", exif(1)))) == 160 * 96


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8 ",
        b"\xff\xd8" + b"\xff" * 1000, b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000,
        b"\xff\xd8" + b"\xff\xc0\0\2", b"\xff\xd8\xff\xd9",
    ],
)  # fmt: skip
def test_pixels_that_no_header_states(data: bytes) -> None:
    assert stated_pixels(data) == UNKNOWN


async def test_a_picture_is_not_larger_than_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else a file could make the two readers of its header find."""
    async with PhotoGate(40_000_000, processes=1) as gate:
        monkeypatch.setattr("orchestrator.photos.pool.stated_pixels", lambda data: 160 * 96 - 1)
        assert await refusal(gate, encoded(picture())) == "image_too_large"


# The real thing


async def test_photos_beside_twenty_pictures_that_are_all_size() -> None:
    """The twenty take seconds of a processor; each photo is there long before them, also from the same address."""
    bomb = giant_webp(5000)
    assert len(bomb) <= 38
    assert Image.open(io.BytesIO(bomb)).size == (5000, 5000)
    photo = encoded(picture(size=(4000, 3000)))
    async with PhotoGate(50_000_000, processes=1, patience=60) as gate:
        giants = [asyncio.create_task(gate.accept(bomb, "a")) for _ in range(20)]
        await asyncio.sleep(0.5)
        for client in ("b", "a", "b"):
            assert (await gate.accept(photo, client)).width == 2048
        assert sum(giant.done() for giant in giants) < 10
        # A giant of another client comes next, not last.
        assert (await gate.accept(bomb, "b")).width == 2048
        assert sum(giant.done() for giant in giants) < 18
        for giant in giants:
            giant.cancel()
        await asyncio.gather(*giants, return_exceptions=True)
