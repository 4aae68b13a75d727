"""The decoders as processes: warm, bounded, replaced when they die, and gone when they are not needed."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.photos import pool
from orchestrator.photos.gate import Photo, PhotoGate, PhotoRejected
from orchestrator.ports import Unavailable
from tests.support.gate.files import accepted, encoded, noise, picture, quadrants, refused, shows_quadrants
from tests.support.gate.processes import Process, Watch, decoders, descriptors, until

GOOD = encoded(quadrants())


@pytest.fixture
async def gate() -> AsyncIterator[PhotoGate]:
    async with PhotoGate(40_000_000, processes=1) as gate:
        yield gate


def slow_picture() -> bytes:
    """Takes a second or more of processor time."""
    return encoded(picture("RGBA", (6300, 6300), (1, 2, 3, 128)), "PNG", compress_level=1)


SLOW = slow_picture()
PROGRESSIVE = encoded(picture(size=(6300, 6300)), progressive=True, subsampling=0)
FAILURES = 25
"""Each costs the start of a process. A hundred gave the same when this was written."""


async def in_the_middle(gate: PhotoGate) -> tuple[asyncio.Task[Photo], Process]:
    """An upload under way, and the process that has it."""
    watch = Watch()
    upload = asyncio.create_task(gate.accept(SLOW))
    return upload, await watch.busy(upload)


async def test_all_are_warm_before_the_first_upload() -> None:
    async with PhotoGate(40_000_000, processes=2) as gate:
        before = set(decoders())
        assert len(before) == 3  # and one to take the place of another
        await asyncio.gather(*(gate.accept(GOOD) for _ in range(20)))
        assert set(decoders()) == before
    assert decoders() == []


async def test_answers_do_not_mix() -> None:
    sizes = [(64 + n, 64) for n in range(30)]
    async with PhotoGate(40_000_000, processes=2) as gate:
        photos = await asyncio.gather(*(gate.accept(encoded(picture(size=size))) for size in sizes))
        assert [(photo.width, photo.height) for photo in photos] == sizes


async def test_one_that_was_killed_idle_is_replaced_before_it_is_needed(gate: PhotoGate) -> None:
    before = decoders()
    for process in before:
        process.kill()
    await until(lambda: len(decoders()) == 2 and not set(decoders()) & set(before))
    assert shows_quadrants(await accepted(gate, GOOD))


async def test_decoders_that_die_before_they_have_the_picture_do_not_count_against_it(
    gate: PhotoGate,
) -> None:
    both = decoders()
    for process in both:
        process.send(signal.SIGSTOP)
    upload = asyncio.create_task(gate.accept(GOOD))
    for process in both:
        await asyncio.sleep(0.3)
        assert not upload.done()
        process.kill()
    assert (await upload).width == 160


async def test_one_killed_at_work_costs_no_photo(gate: PhotoGate) -> None:
    upload, process = await in_the_middle(gate)
    process.kill()
    assert (await upload).width == 2048


async def test_a_picture_that_the_system_kills_for_is_refused(gate: PhotoGate) -> None:
    watch = Watch()
    upload = asyncio.create_task(gate.accept(SLOW))
    for _ in range(2):
        (await watch.busy(upload)).kill()
    with pytest.raises(PhotoRejected, check=lambda rejected: rejected.code == "image_too_large"):
        await upload
    assert shows_quadrants(await accepted(gate, GOOD))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
async def test_a_crash_is_the_pictures_fault(gate: PhotoGate, number: int) -> None:
    upload, process = await in_the_middle(gate)
    process.send(number)
    with pytest.raises(PhotoRejected, check=lambda rejected: rejected.code == "broken_image"):
        await upload
    assert shows_quadrants(await accepted(gate, GOOD))


async def test_processor_time_is_bounded() -> None:
    async with PhotoGate(40_000_000, processes=1, seconds=0.2) as gate:
        rejected = await refused(gate, SLOW)
        assert rejected.code == "broken_image"
        assert "too long" in rejected.detail
        # The spare one takes over at once, and the time of one picture is not counted for the next.
        for _ in range(30):
            await gate.accept(GOOD)
        await until(lambda: len(decoders()) == 2)


async def test_one_that_hangs_is_given_up() -> None:
    async with PhotoGate(40_000_000, processes=1, hang_seconds=0.5) as gate:
        hanging = decoders()
        for process in hanging:
            process.send(signal.SIGSTOP)
        for _ in hanging:
            with pytest.raises(Unavailable, match="in time"):
                await gate.accept(GOOD)
        await until(lambda: len(decoders()) == 2 and not set(decoders()) & set(hanging))
        await until(lambda: all(process.cpu_seconds > 0.05 for process in decoders()))
        async with asyncio.timeout(20):
            while True:
                try:
                    assert shows_quadrants(await accepted(gate, GOOD))
                    break
                except Unavailable:  # on a busy machine
                    pass


async def test_memory_is_bounded() -> None:
    """The picture needs some 300 MB, the limit leaves it 100."""
    async with PhotoGate(40_000_000, processes=1, memory=172 * 2**20) as gate:
        before = set(decoders())
        for data in (SLOW, SLOW, PROGRESSIVE, SLOW):
            rejected = await refused(gate, data)
            assert (rejected.code, "memory" in rejected.detail) == ("image_too_large", True)
        assert shows_quadrants(await accepted(gate, GOOD))
        # Such a refusal costs no process, and leaves no memory behind.
        assert set(decoders()) == before
        assert max(process.status("VmRSS") for process in decoders()) < 80 * 1024


async def test_the_largest_pictures_fit_into_the_memory_that_is_given(gate: PhotoGate) -> None:
    """The kinds that need the most; see ``MEMORY_A_PIXEL``."""
    for data in (SLOW, PROGRESSIVE):
        assert (await gate.accept(data)).width == 2048
    image = picture("RGBA", (6300, 6300), (1, 2, 3, 128))
    assert (await gate.accept(encoded(image, "WEBP", lossless=True, quality=0, method=0))).width == 2048


async def test_uploads_wait_their_turn_and_not_for_ever() -> None:
    async with PhotoGate(40_000_000, processes=1, patience=0.3) as gate:
        first, _ = await in_the_middle(gate)
        begin = time.monotonic()
        endings = await asyncio.gather(*(gate.accept(SLOW) for _ in range(5)), return_exceptions=True)
        assert {type(ending) for ending in endings} == {Unavailable}
        assert time.monotonic() - begin < 5
        assert (await first).width == 2048
        assert shows_quadrants(await accepted(gate, GOOD))


async def test_a_cancelled_upload_frees_its_place(gate: PhotoGate) -> None:
    waiting = [asyncio.create_task(gate.accept(SLOW)) for _ in range(20)]
    await asyncio.sleep(0.1)
    for task in waiting:
        task.cancel()
    endings = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(ending) for ending in endings} == {asyncio.CancelledError}
    begin = time.monotonic()
    assert shows_quadrants(await accepted(gate, GOOD))
    assert time.monotonic() - begin < 3
    await until(lambda: len(decoders()) == 2)


async def test_nothing_is_left_of_many_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "RESTART_SECONDS", 0.05)  # one may be killed while it starts
    async with PhotoGate(40_000_000, processes=2, seconds=0.3) as gate:
        await gate.accept(GOOD)
        await until(lambda: len(decoders()) == 3)
        before = descriptors()
        large = encoded(noise((1500, 1500)), quality=100)  # a large answer: some of it stays in the pipe
        for round in range(FAILURES):
            upload = asyncio.create_task(gate.accept(large))
            await asyncio.sleep(0.0005 * (round % 20))
            if round % 2:
                upload.cancel()
            else:
                for process in decoders()[:1]:
                    process.kill()
            await asyncio.gather(upload, return_exceptions=True)
        assert shows_quadrants(await accepted(gate, GOOD))
        await until(lambda: descriptors() <= before and len(decoders()) == 3)
    assert decoders() == []


async def test_closing_ends_all_of_them_even_at_work() -> None:
    async with PhotoGate(40_000_000, processes=1):
        pass  # the loop opens some for itself, once
    before = descriptors()
    gate = PhotoGate(40_000_000, processes=2)
    async with gate:
        upload, _ = await in_the_middle(gate)
    assert decoders() == []
    with pytest.raises(Unavailable):
        await upload
    with pytest.raises(Unavailable):
        await gate.accept(GOOD)
    await until(lambda: descriptors() <= before)


async def test_a_fresh_one_after_many_pictures(gate: PhotoGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PICTURES", 3)
    before = set(decoders())
    for _ in range(8):
        await gate.accept(GOOD)
    await until(lambda: len(decoders()) == 2 and not before & set(decoders()))


async def test_a_decoder_that_cannot_be_started_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(Unavailable, match="could not be started: No such file"):
        await PhotoGate(40_000_000).__aenter__()
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'Traceback' >&2\necho 'there is no Pillow' >&2\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(Unavailable, match="could not be started: there is no Pillow"):
        await PhotoGate(40_000_000).__aenter__()
    assert decoders() == []


async def test_a_death_is_logged(gate: PhotoGate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    victim = decoders()[0]
    victim.send(signal.SIGSEGV)
    await until(lambda: "ended by itself, status -11" in caplog.text)
    caplog.clear()
    (await accepted(gate, GOOD)).close()
    assert not caplog.records


async def test_these_tests_run_as_the_api_does() -> None:
    assert type(asyncio.get_running_loop()).__module__ == "uvloop"
