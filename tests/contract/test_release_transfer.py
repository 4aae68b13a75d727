"""Pushing and fetching releases: only what is missing travels, nothing is seen before it is whole, kills do no harm."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from export.releases import transfer_commands
from export.releases.checksums import MANIFEST, check_served
from export.releases.commands import main as release_command
from export.releases.folder import live_version
from export.releases.follower import Follower
from export.releases.places.folder import PIECE_BYTES, SPARE_BYTES, FolderPlace, FullError
from export.releases.places.opening import open_place
from export.releases.places.parts import parts_of
from export.releases.places.port import (
    DamagedError,
    Part,
    Place,
    PlaceError,
    UnreachableError,
    VersionTakenError,
)
from export.releases.places.pruning import prune_place
from export.releases.places.s3 import S3Place
from export.releases.rollout import Rollout, read_rollout
from export.releases.served import ServedError, follow_folder
from export.releases.sources import BUSY_SECONDS, FULL_SECONDS, PlaceSource, SourceError
from export.releases.staging import staging_folder
from export.releases.transfer import FAILURES, fetch, push
from export.releases.verifying import unverified
from measuring.s3_server import S3Server
from tests.support.made_releases import publish_made
from tests.support.places import damages, make_version, two_versions
from tests.support.relay import relaying
from tests.support.servers import free_port

ROOT = Path(__file__).resolve().parents[2]


class Bucket:
    """An empty place in a bucket, and what opens it."""

    def __init__(self, server: S3Server) -> None:
        name = server.bucket()
        self.url, self.environment = f"s3://{name}/releases/room", server.environment(name)

    def open(self, **options: Any) -> S3Place:
        place = open_place(self.url, self.environment, **options)
        assert isinstance(place, S3Place)
        return place


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def source(tmp_path: Path) -> FolderPlace:
    """A publisher's folder with two versions."""
    return FolderPlace(two_versions(tmp_path / "made" / "room"))


@pytest.fixture
def host(tmp_path: Path) -> FolderPlace:
    return FolderPlace(tmp_path / "host" / "room")


class Breaking:
    """A place whose downloads break off after some pieces, a number of times; ``starts`` says where they began."""

    def __init__(self, place: Place, breaks: int, pieces: int = 1) -> None:
        self._place, self.breaks, self._pieces = place, breaks, pieces
        self.starts: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    @contextmanager
    def read(self, part: Part, start: int = 0) -> Iterator[Iterator[bytes]]:
        self.starts.append(start)
        with self._place.read(part, start) as pieces:
            yield self._some(pieces)

    def _some(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for index, piece in enumerate(pieces):
            if self.breaks and index == self._pieces:
                self.breaks -= 1
                raise UnreachableError("the line is cut")
            yield piece


def test_a_host_gets_what_was_pushed(source: FolderPlace, bucket: Bucket, host: FolderPlace) -> None:
    place = bucket.open()
    # Three graphs with their configurations, and three files of the version.
    assert push(source, place, 1).files == 9
    assert fetch(place, host, 1).files == 9
    assert damages(host.release) == []
    check_served(host.release, 1)
    assert live_version(host.release) == 0


def test_only_what_is_missing_travels(source: FolderPlace, bucket: Bucket, host: FolderPlace) -> None:
    place = bucket.open()
    push(source, place, 1)
    fetch(place, host, 1)
    graphs = [name for name in ("a", "b") for _ in range(1)]
    second = push(source, place, 2)
    assert second.bytes < 100_000 * (len(graphs) + 1)
    assert fetch(place, host, 2) == second
    assert push(source, place, 2).files == fetch(place, host, 2).files == 0
    assert damages(host.release) == []


def test_the_same_graph_under_another_number_does_not_travel_again(
    tmp_path: Path, source: FolderPlace, bucket: Bucket, host: FolderPlace
) -> None:
    place = bucket.open()
    push(source, place, 1)
    fetch(place, host, 1)
    # Exported on another machine, which did not know version 1.
    graph = (source.release / "models/a/1/model.onnx").read_bytes()
    other = FolderPlace(make_version(tmp_path / "other" / "room", 2, {"a": graph}))
    assert push(other, place, 2).bytes < 1000
    assert fetch(place, host, 2).bytes < 1000
    assert damages(host.release) == []
    assert (host.release / "models/a/2/model.onnx").samefile(host.release / "models/a/1/model.onnx")


@pytest.mark.parametrize("damaged", ["a", "b"])
@pytest.mark.parametrize("bring", [fetch, push])
def test_of_two_files_with_the_same_bytes_the_damaged_one_is_repaired(
    bring: Callable[[FolderPlace, FolderPlace, int], Any], damaged: str, tmp_path: Path, host: FolderPlace
) -> None:
    source = FolderPlace(make_version(tmp_path / "made" / "room", 1, {"a": b"same" * 99, "b": b"same" * 99}))
    bring(source, host, 1)
    file = host.release / f"models/{damaged}/1/model.onnx"
    file.unlink()
    file.write_bytes(b"else" * 99)
    bring(source, host, 1)
    assert damages(host.release) == []
    assert unverified(host.release, 1) is None


def test_a_damaged_file_is_not_pushed(source: FolderPlace, bucket: Bucket) -> None:
    (source.release / "models/b/2/model.onnx").write_bytes(b"damaged")
    with pytest.raises(DamagedError, match=r"models/b/2/model\.onnx is not the file"):
        push(source, bucket.open(), 2)
    assert bucket.open().versions() == []


def test_another_bundle_is_not_pushed_there(tmp_path: Path, source: FolderPlace, bucket: Bucket) -> None:
    push(source, bucket.open(), 1)
    other = FolderPlace(make_version(tmp_path / "kitchen", 2, {"a": b"x"}))
    with pytest.raises(PlaceError, match="holds versions of room, and this is kitchen"):
        push(other, bucket.open(), 2)


def test_another_bundle_is_not_fetched_there(source: FolderPlace, tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match="holds versions of room: fetch them into a folder of that name"):
        fetch(source, FolderPlace(tmp_path / "kitchen"), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_folder_that_hosts_share_is_a_place_too(source: FolderPlace, tmp_path: Path) -> None:
    shared = FolderPlace(tmp_path / "shared" / "room")
    assert push(source, shared, 1).files == 9
    assert push(source, shared, 2).bytes < push(source, FolderPlace(tmp_path / "other" / "room"), 2).bytes
    assert [path.name for path in shared.release.parent.iterdir()] == ["room"]
    follower = Follower(tmp_path / "host" / "room", str(shared.release))
    shared.rollouts.write(Rollout(live=2), after=0)
    wanted = follower.wanted()
    assert wanted is not None
    assert wanted.live == 2
    follower.fetch(2)
    assert damages(tmp_path / "host" / "room") == []


def test_of_two_publishers_of_one_number_one_wins(
    tmp_path: Path, source: FolderPlace, bucket: Bucket
) -> None:
    other = FolderPlace(
        make_version(tmp_path / "other" / "room", 1, {"a": b"theirs", "b": b"b", "shared": b"s"})
    )
    place = bucket.open()
    for each in (source, other):
        for part in parts_of(each.manifest(1), 1, MANIFEST):
            place.store(part, each.release / part.path)
    push(source, place, 1)
    with pytest.raises(VersionTakenError, match="another number"):
        push(other, place, 1)
    fetch(place, host := FolderPlace(tmp_path / "host" / "room"), 1)
    assert host.manifest(1) == source.manifest(1)
    assert damages(host.release) == []


def test_what_is_damaged_in_the_bucket_is_never_seen(
    source: FolderPlace, bucket: Bucket, host: FolderPlace
) -> None:
    place = bucket.open()
    push(source, place, 1)
    part = next(
        each for each in parts_of(source.manifest(1), 1, MANIFEST) if each.path == "models/a/1/model.onnx"
    )
    content = bytearray((source.release / part.path).read_bytes())
    content[50] ^= 1
    place._client.put_object(
        Bucket=place._bucket, Key=f"releases/room/files/{part.sha256}", Body=bytes(content)
    )
    with pytest.raises(DamagedError, match=r"models/a/1/model\.onnx arrived with other bytes"):
        fetch(place, host, 1)
    assert host.versions() == []
    assert not host.release.exists()


def test_a_large_file_goes_in_parts_and_goes_on(tmp_path: Path, bucket: Bucket, host: FolderPlace) -> None:
    graph = random.Random(1).randbytes(12 * 1024 * 1024)
    source = FolderPlace(make_version(tmp_path / "made" / "room", 1, {"a": graph}))
    place = bucket.open(part_bytes=5 * 1024 * 1024)
    sent: list[int] = []
    upload = place._client.upload_part

    def breaking(**call: Any) -> Any:
        if call["PartNumber"] == 3 and not sent.count(3):
            sent.append(3)
            raise KeyboardInterrupt
        sent.append(call["PartNumber"])
        return upload(**call)

    place._client.upload_part = breaking
    with pytest.raises(KeyboardInterrupt):
        push(source, place, 1)
    assert place.versions() == []
    push(source, place, 1)
    assert sorted(sent) == [1, 2, 3, 3]
    fetch(place, host, 1)
    assert (host.release / "models/a/1/model.onnx").read_bytes() == graph


def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path: Path, host: FolderPlace) -> None:
    graph = random.Random(2).randbytes(3 * 1024 * 1024 + 5)
    source = FolderPlace(make_version(tmp_path / "made" / "room", 1, {"a": graph}))
    place = Breaking(source, breaks=2)
    waits: list[float] = []
    fetch(place, host, 1, wait=waits.append)
    assert sorted(place.starts)[-2:] == [1024 * 1024, 2 * 1024 * 1024]
    assert len(waits) == 2
    assert all(0.5 <= seconds <= 1.0 for seconds in waits)  # Something arrived between.
    assert damages(host.release) == []


def test_a_place_that_stays_away_is_given_up(source: FolderPlace, host: FolderPlace) -> None:
    place = Breaking(source, breaks=10_000, pieces=0)
    waits: list[float] = []
    with pytest.raises(UnreachableError, match="the line is cut"):
        fetch(place, host, 1, wait=waits.append)
    assert len(waits) >= FAILURES - 1
    assert max(waits) > 4
    assert not host.release.exists()


def test_a_fetch_goes_on_from_what_an_earlier_one_left(tmp_path: Path, host: FolderPlace) -> None:
    graph = random.Random(3).randbytes(2 * 1024 * 1024)
    source = FolderPlace(make_version(tmp_path / "made" / "room", 1, {"a": graph}))

    def give_up(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(Breaking(source, breaks=1), host, 1, wait=give_up)
    again = Breaking(source, breaks=0)
    fetch(again, host, 1)
    assert max(again.starts) == 1024 * 1024
    assert damages(host.release) == []


def test_two_fetches_into_one_folder_do_not_mix(source: FolderPlace, host: FolderPlace) -> None:
    with host.arriving(), pytest.raises(PlaceError, match=r"another fetch into .* is at work"):
        fetch(source, FolderPlace(host.release), 1)


@pytest.mark.parametrize("busy", ["another fetch", "a prune"])
def test_an_agent_waits_for_whoever_else_is_at_work(
    busy: str, source: FolderPlace, host: FolderPlace
) -> None:
    agents = PlaceSource(host.release, source.name, lambda _: None)
    at_work = (
        FolderPlace(host.release).arriving()
        if busy == "another fetch"
        else staging_folder(host.release.parent, "room")
    )
    with at_work, pytest.raises(SourceError, match="is at work: wait for it") as refused:
        agents.bring(1)
    assert refused.value.retry_after == BUSY_SECONDS
    agents.bring(1)
    assert damages(host.release) == []


def test_an_agent_waits_for_room_on_the_disk(
    source: FolderPlace, host: FolderPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = PlaceSource(host.release, source.name, lambda _: None)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", disk_with(1000))
        with pytest.raises(SourceError, match=r"has 0\.00 GB free and 0\.10 GB are needed") as refused:
            agents.bring(1)
    assert refused.value.retry_after == FULL_SECONDS
    (source.release / "models/a/1/model.onnx").unlink()
    with pytest.raises(SourceError) as refused:
        agents.bring(1)
    assert refused.value.retry_after is None


def test_a_full_disk_is_one_sentence_and_leaves_nothing(source: FolderPlace, host: FolderPlace) -> None:
    code = (
        "import sys; from pathlib import Path; from export.releases.transfer import fetch;"
        "from export.releases.places.folder import FolderPlace as F\n"
        "try: fetch(F(Path(sys.argv[1])), F(Path(sys.argv[2])), 1)\n"
        "except OSError as error: print(error.strerror)"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    answer = subprocess.run(
        [sys.executable, "-c", code, source.release, host.release],
        capture_output=True,
        text=True,
        cwd=ROOT,
        preexec_fn=limit,
        check=True,
    )
    assert "is full, so nothing was kept: make room and run it again" in answer.stdout
    assert answer.stderr == ""
    assert list(host.release.parent.iterdir()) == []


def test_too_little_room_is_seen_before_anything_is_fetched(
    source: FolderPlace, host: FolderPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", disk_with(1000))
    with pytest.raises(OSError, match=r"0\.00 GB free and 0\.10 GB are needed"):
        fetch(source, host, 1)
    assert not host.release.exists()


def test_what_has_arrived_already_needs_no_room(
    tmp_path: Path, host: FolderPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = random.Random(4).randbytes(5 * PIECE_BYTES)
    source = FolderPlace(make_version(tmp_path / "made" / "room", 1, {"a": graph}))

    def half_fetched() -> None:
        def give_up(_: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch(Breaking(source, breaks=1, pieces=4), host, 1, wait=give_up)

    half_fetched()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", disk_with(SPARE_BYTES + 2 * PIECE_BYTES))
        fetch(source, host, 1)
    assert damages(host.release) == []

    shutil.rmtree(host.release)
    half_fetched()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", disk_with(SPARE_BYTES))
        with pytest.raises(FullError, match=r"has 0\.10 GB free and 0\.10 GB are needed"):
            fetch(source, host, 1)
    assert list(host.release.parent.iterdir()) == [], "what had arrived would keep the disk full"


def disk_with(free: int) -> Callable[[Path], Any]:
    """In place of shutil.disk_usage."""
    return lambda _: shutil._ntuple_diskusage(10**9, 10**9 - free, free)


@contextmanager
def killable(bucket: Bucket) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.killable_fetch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | bucket.environment,
    )
    try:
        yield process
    finally:
        process.communicate()


def run(process: subprocess.Popen[str], *order: object, kill_after: float | None = None) -> tuple[int, int]:
    """Status and number of operations of one transfer."""
    assert process.stdin
    assert process.stdout
    print(json.dumps(order), file=process.stdin, flush=True)
    child = int(process.stdout.readline())
    if kill_after is not None:
        time.sleep(kill_after)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    status, counted = process.stdout.readline().split()
    return int(status), int(counted)


@pytest.fixture
def hasty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.usefixtures("hasty_disk")
def test_a_killed_fetch_does_no_harm(source: FolderPlace, bucket: Bucket, tmp_path: Path) -> None:
    """At 60 moments: before 52 operations on files or connections, and at 8 times in between."""
    push(source, bucket.open(), 1)
    push(source, bucket.open(), 2)
    template = FolderPlace(tmp_path / "template" / "room")
    fetch(source, template, 1)
    (template.release / "live").write_text("1\n")
    hosts = (FolderPlace(tmp_path / f"host{index}" / "room") for index in itertools.count())
    chance = random.Random(17)
    killed = 0
    with killable(bucket) as process:
        for place, at_operations, between in ((str(source.release), 44, 4), (bucket.url, 8, 4)):

            def killed_fetch(
                kill_at: int, kill_after: float | None = None, place: str = place
            ) -> tuple[int, int]:
                """Status of a fetch into a host that has version 1, and its operations. The host is well after it."""
                host = next(hosts)
                shutil.copytree(template.release, host.release)
                found = run(process, "fetch", place, str(host.release), 2, kill_at, kill_after=kill_after)
                assert live_version(host.release) == 1
                assert damages(host.release) == []
                assert host.versions() in ([1], [1, 2])
                fetch(source, host, 2)
                assert host.versions() == [1, 2]
                assert damages(host.release) == []
                assert [path.name for path in host.release.parent.iterdir()] == ["room"]
                return found

            begin = time.monotonic()
            status, operations = killed_fetch(0)
            seconds = time.monotonic() - begin
            assert status == 0
            for kill_at in chance.sample(range(1, operations), at_operations):
                status, _ = killed_fetch(kill_at)
                killed += status == -signal.SIGKILL
            for _ in range(between):
                killed_fetch(0, chance.uniform(0, seconds / 2))
    # How many operations it takes depends a little on its threads.
    assert killed >= 48


@pytest.mark.usefixtures("hasty_disk")
def test_a_killed_push_leaves_the_place_whole(source: FolderPlace, bucket: Bucket) -> None:
    with killable(bucket) as process:
        status, operations = run(process, "push", str(source.release), bucket.url + "/0", 1, 0)
        assert status == 0
        for kill_at in range(1, operations, max(1, operations // 7)):
            url = f"{bucket.url}/{kill_at}"
            place = open_place(url, bucket.environment)
            assert run(process, "push", str(source.release), url, 1, kill_at)[0] == -signal.SIGKILL
            assert place.versions() in ([], [1])
            push(source, place, 1)
            assert place.versions() == [1]
            assert place.manifest(1) == source.manifest(1)
            assert all(place.has(part) for part in parts_of(place.manifest(1), 1, MANIFEST))


async def test_three_hosts_agree_also_after_one_was_cut_off(
    source: FolderPlace, bucket: Bucket, tmp_path: Path
) -> None:
    place = bucket.open()
    push(source, place, 1)
    place.rollouts.write(Rollout(live=1), after=0)
    now = [0.0]
    async with relaying(bucket.environment["R2_ENDPOINT_URL"]) as relay:
        cut_off = bucket.environment | {"R2_ENDPOINT_URL": relay.url}
        environments = [bucket.environment, bucket.environment, cut_off]
        releases = [tmp_path / f"host{index}" / "room" for index in range(3)]

        def followers() -> list[Follower]:
            return [
                Follower(release, bucket.url, environment, clock=lambda: now[0])
                for release, environment in zip(releases, environments, strict=True)
            ]

        hosts = followers()
        for host in hosts:
            wanted = await asyncio.to_thread(host.wanted)
            assert wanted is not None
            assert (wanted.live, wanted.revision) == (1, 1)
            await asyncio.to_thread(host.fetch, 1)
            assert await asyncio.to_thread(host.wanted) is None

        push(source, place, 2)
        relay.lead_to(f"http://127.0.0.1:{free_port()}")
        relay.cut()
        written = place.rollouts.write(Rollout(live=2, previous=1), after=1)
        for host in hosts[:2]:
            assert await asyncio.to_thread(host.wanted) == written
            await asyncio.to_thread(host.fetch, 2)
        assert await asyncio.to_thread(hosts[2].wanted) is None
        assert hosts[2].problem is not None
        assert "cannot be reached" in hosts[2].problem

        # A restart meanwhile: what it knew last counts.
        hosts = followers()
        known = await asyncio.to_thread(hosts[2].wanted)
        assert known is not None
        assert (known.live, known.revision) == (1, 1)
        assert await asyncio.to_thread(hosts[2].wanted) is None

        relay.lead_to(bucket.environment["R2_ENDPOINT_URL"])
        now[0] += 60
        assert await asyncio.to_thread(hosts[2].wanted) == written
        assert hosts[2].problem is None
        await asyncio.to_thread(hosts[2].fetch, 2)
        contents = {(release / "rollout.json").read_bytes() for release in releases}
        assert len(contents) == 1
        assert [FolderPlace(release).versions() for release in releases] == [[1, 2]] * 3
        assert [damages(release) for release in releases] == [[]] * 3


@pytest.fixture
def command(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs ``python -m export release …``; returns its status and what it printed."""
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)

    def run_command(*arguments: object) -> tuple[int, str]:
        status = release_command([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run_command


def test_the_commands_publish_to_a_bucket_and_serve_from_it(
    tmp_path: Path, bucket: Bucket, host: FolderPlace, command: Callable[..., tuple[int, str]]
) -> None:
    made, here, at = tmp_path / "made" / "room", host.release, ("--at", bucket.url)
    made.parent.mkdir()
    publish_made(made, 1, live=True)
    publish_made(made, 2, seed={"denoiser": 2})
    status, printed = command("push", made, 1, "--to", bucket.url)
    assert status == 0
    assert f"room-1 is in {bucket.url}; " in printed
    assert "says of no version that it shall be live" in command("fetch", here, "--from", bucket.url)[1]
    refused = command("promote", made, 2, *at)
    assert refused == (1, f"{bucket.url} has no version 2: push it there first\n")
    assert command("promote", made, 1, *at) == (0, "room-1 is live\n")

    status, printed = command("fetch", here, "--from", bucket.url)
    assert status == 0
    assert "room-1 is here; " in printed
    assert live_version(here) == 0
    assert unverified(here, 1) is None
    assert command("fetch", here, "--from", bucket.url, "--make-live") == (
        0,
        "room-1 is here, and live when Triton starts; nothing was missing\n",
    )
    assert live_version(here) == 1
    assert read_rollout(here) == bucket.open().rollouts.read()

    assert command("push", made, "--to", bucket.url)[0] == 0
    assert command("promote", made, 2, *at) == (0, "room-2 is live, before room-1\n")
    assert command("fetch", here, "--from", bucket.url, "--make-live")[0] == 0
    assert live_version(here) == 2
    assert command("verify", here)[0] == 0
    assert command("rollback", made, *at) == (0, "room-1 is live, room-2 is withdrawn\n")
    assert bucket.open().rollouts.read().live == 1


def test_a_change_elsewhere_changes_nothing_here(
    tmp_path: Path, bucket: Bucket, command: Callable[..., tuple[int, str]]
) -> None:
    """And needs nothing that is here, but for the versions that go live there."""
    here, folder = tmp_path / "made" / "room", tmp_path / "mounted" / "room"
    here.parent.mkdir()
    folder.parent.mkdir()
    for version in (1, 2, 3):
        publish_made(here, version, seed={"denoiser": version}, live=version == 1)
    places = (bucket.url, str(folder))
    for place in places:
        for version in (1, 2, 3):
            assert command("push", here, version, "--to", place)[0] == 0
        for version in (1, 2):
            assert command("promote", here, version, "--at", place)[0] == 0
        assert command("canary", here, 3, "--at", place)[0] == 0
        assert live_version(here) == 1
    for place in places:
        for name in (here, tmp_path / "nothing-here" / "room"):
            ended = command("canary", name, "--end", "--at", place)
            assert ended == (0, "no version of room is on trial any more\n")
            assert command("canary", here, 3, "--at", place)[0] == 0
        rolled_back = command("rollback", tmp_path / "nothing-here" / "room", "--to", 1, "--at", place)
        assert rolled_back[0] == 0
        assert rolled_back[1].startswith("room-1 is live, room-2 is withdrawn")
        refused = command("rollback", here, "--to", 9, "--at", place)
        assert refused == (1, "there is no version 9 of room; published: 1, 2, 3\n")
    assert (live_version(here), read_rollout(here).revision) == (1, 0)
    assert not (tmp_path / "nothing-here").exists()
    assert live_version(folder) == 1


def test_a_host_follows_a_folder_to_which_a_version_was_pushed(
    tmp_path: Path, source: FolderPlace, command: Callable[..., tuple[int, str]]
) -> None:
    folder, host = tmp_path / "mounted" / "room", tmp_path / "run" / "room"
    folder.parent.mkdir()
    assert command("push", source.release, 1, "--to", folder)[0] == 0
    with pytest.raises(ServedError, match=r"nothing is live in .*: export a release there, or promote one"):
        follow_folder(host, folder)
    FolderPlace(folder).rollouts.write(Rollout(live=1), after=0)
    assert live_version(folder) == 1
    # As promotions left it that wrote the document alone.
    (folder / "live").unlink()
    follow_folder(host, folder)
    assert live_version(host) == 1
    (host / "live").unlink()
    (folder / "rollout.json").write_text("{")
    with pytest.raises(ServedError, match=r"rollout.json cannot be read \(JSONDecodeError: .*\): restore it"):
        follow_folder(host, folder)


def test_a_host_whose_place_is_away_serves_on(
    source: FolderPlace, bucket: Bucket, host: FolderPlace, command: Callable[..., tuple[int, str]]
) -> None:
    push(source, bucket.open(), 1)
    fetch(bucket.open(), host, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        patch.setattr(transfer_commands, "open_place", partial(open_place, hasty=True))
        status, printed = command("fetch", host.release, "--from", bucket.url, "--make-live")
        assert status == 1
        assert "cannot be reached" in printed
        (host.release / "live").write_text("1\n")
        status, printed = command("fetch", host.release, "--from", bucket.url, "--make-live")
        assert status == 0
        assert printed.endswith("this host goes on with room-1\n")


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("s3://", "names no place in a bucket"),
        ("https://bucket/prefix", "names no place in a bucket"),
        ("s3://none-such-bucket/room", "there is no such bucket"),
    ],
)
def test_a_wrong_place_is_one_sentence(
    place: str, sentence: str, source: FolderPlace, command: Callable[..., tuple[int, str]]
) -> None:
    status, printed = command("push", source.release, 1, "--to", place)
    assert status == 1
    assert sentence in printed
    assert printed.count("\n") == 1


def test_without_keys_it_says_which(
    source: FolderPlace, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    status, printed = command("push", source.release, 1, "--to", "s3://bucket/room")
    assert status == 1
    assert "set R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY" in printed


def test_what_is_sent_carries_digests_that_servers_check(source: FolderPlace, bucket: Bucket) -> None:
    """moto checks neither: R2 and S3 do, and R2 refuses botocore's own checksums."""
    place = bucket.open()
    sent: list[Any] = []

    def look(request: Any, **_: object) -> None:
        if request.method == "PUT":
            body = request.body if isinstance(request.body, bytes) else request.body.getvalue()
            sent.append((request.headers, body))

    place._client.meta.events.register("before-send.s3", look)
    push(source, place, 1)
    assert len(sent) == 9 + 3
    for headers, body in sent:
        assert base64.b64decode(headers["Content-MD5"]) == hashlib.md5(body, usedforsecurity=False).digest()
        assert headers["X-Amz-Content-SHA256"].decode() == hashlib.sha256(body).hexdigest()
        assert not [name for name in headers if "checksum" in name.lower() or "trailer" in name.lower()]


def test_a_host_tells_how_it_is(bucket: Bucket, host: FolderPlace) -> None:
    now = [0.0]
    follower = Follower(host.release, bucket.url, bucket.environment, clock=lambda: now[0])
    sent: list[object] = []
    place = bucket.open()
    for document in (b"one", b"one", b"two", b"two"):
        follower.tell("gpu-1", document)
        sent.append(place.get("hosts/gpu-1.json"))
        now[0] += 1.0
    assert sent == [b"one", b"one", b"two", b"two"]
    follower.tell("gpu-1", b"three")
    assert place.get("hosts/gpu-1.json") == b"three"
    follower.tell("gpu-1", b"four")
    assert place.get("hosts/gpu-1.json") == b"three"


def test_what_nobody_needs_is_removed_from_a_bucket(
    source: FolderPlace, bucket: Bucket, command: Callable[..., tuple[int, str]], host: FolderPlace
) -> None:
    place = bucket.open()
    make_version(source.release, 3, {"a": b"third", "b": 2, "shared": 1})
    make_version(source.release, 4, {"a": b"fourth", "b": 2, "shared": 1})
    for version in (1, 2, 3, 4):
        push(source, place, version)
    place.rollouts.write(Rollout(live=3, previous=2), after=0)
    for version, reason in ((2, "a rollback goes to it"), (3, "it is live")):
        status, printed = command("prune", source.release, version, "--at", bucket.url)
        assert (status, reason in printed) == (1, True)
    place.tell("gpu-1", b'{"live": 3, "ready": [1, 3], "loading": null}')
    assert (
        "hosts/gpu-1.json says that it is there" in command("prune", source.release, 1, "--at", bucket.url)[1]
    )
    assert "removed no version" in command("prune", source.release, "--at", bucket.url)[1]
    place.tell("gpu-1", b'{"live": 3, "ready": [3], "loading": null}')
    status, printed = command("prune", source.release, "--at", bucket.url, "--dry-run")
    assert (status, place.versions()) == (0, [1, 2, 3, 4])
    assert "would remove room-1" in printed
    assert "room-4 stays: it is one of the newest 2" in printed
    status, printed = command("prune", source.release, "--at", bucket.url)
    assert (status, place.versions()) == (0, [2, 3, 4])
    assert "and 0 files" in printed  # They are not a day old.
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    done = prune_place(place, now=tomorrow)
    assert (done.versions, done.files > 2, done.bytes > 200_000) == ([], True, True)
    for version in place.versions():
        fetch(place, host, version)
    assert damages(host.release) == []
    assert prune_place(place, now=tomorrow).files == 0


def test_a_removal_that_was_stopped_is_completed(source: FolderPlace, bucket: Bucket) -> None:
    place = bucket.open()
    for version in (1, 2):
        push(source, place, version)
    place.rollouts.write(Rollout(live=2), after=0)
    place.remove("versions/1/release.json")
    assert (place.versions(), list(place.unfinished())) == ([2], [1])
    assert prune_place(place).files == 0
    assert prune_place(place, now=datetime.now(UTC) + timedelta(days=2)).files > 2
    assert place.names("versions/1/") == []
    assert all(place.has(part) for part in parts_of(place.manifest(2), 2, MANIFEST))
    push(source, place, 1)
    assert place.versions() == [1, 2]


async def test_over_https_nothing_is_sent_that_r2_refuses(
    source: FolderPlace, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with relaying(bucket.environment["R2_ENDPOINT_URL"], context) as relay:
        secure = bucket.environment | {"R2_ENDPOINT_URL": relay.url}
        place = await asyncio.to_thread(open_place, bucket.url, secure)
        await asyncio.to_thread(push, source, place, 1)
        sent = bytes(relay.sent).lower()
    assert sent.count(b"put /") == 9 + 3
    assert sent.count(b"content-md5:") == 9 + 3
    assert b"unsigned-payload" not in sent
    refused = (
        b"x-amz-checksum",
        b"x-amz-trailer",
        b"x-amz-sdk-checksum",
        b"aws-chunked",
        b"streaming-",
        b"100-continue",
    )
    assert [word for word in refused if word in sent] == []
