"""What every place of releases promises: a folder, and a bucket of a real S3 server."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from export.releases.checksums import MANIFEST, manifest_bytes
from export.releases.places.folder import FolderPlace
from export.releases.places.opening import open_place
from export.releases.places.parts import parts_of
from export.releases.places.port import (
    DamagedError,
    Part,
    Place,
    PlaceError,
    VersionMissingError,
    VersionTakenError,
)
from export.releases.places.s3 import S3Place
from export.releases.rollout import Canary, Rollout, RolloutConflictError, RolloutError
from measuring.s3_server import S3Server
from tests.support.places import damages, make_version, two_versions


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place."""
    if request.param == "folder":
        (tmp_path / "place" / "room").mkdir(parents=True)
        return open_place(str(tmp_path / "place" / "room"))
    server: S3Server = request.getfixturevalue("s3")
    bucket = server.bucket()
    return open_place(f"s3://{bucket}/releases/room", server.environment(bucket))


@pytest.fixture
def source(tmp_path: Path) -> FolderPlace:
    """A folder with two versions."""
    return FolderPlace(two_versions(tmp_path / "room"))


def put(source: FolderPlace, place: Place, version: int) -> bytes:
    """Bring a version there; returns its manifest."""
    manifest = source.manifest(version)
    for part in parts_of(manifest, version, MANIFEST):
        place.store(part, source.release / part.path)
    place.commit(
        version, manifest, (source.release / f"versions/{version}/release.json").read_bytes(), "a test"
    )
    return manifest


def content(place: Place, part: Part, start: int = 0) -> bytes:
    with place.read(part, start) as pieces:
        return b"".join(pieces)


def test_a_version_is_there_when_it_is_committed(source: FolderPlace, place: Place) -> None:
    assert place.versions() == []
    with pytest.raises(VersionMissingError, match="has no version 1"):
        place.manifest(1)
    manifest = put(source, place, 1)
    assert place.versions() == [1]
    assert place.manifest(1) == manifest
    assert put(source, place, 2) == place.manifest(2)
    assert place.versions() == [1, 2]
    for part in parts_of(manifest, 1, MANIFEST):
        assert place.has(part)
        assert content(place, part) == (source.release / part.path).read_bytes()
        assert content(place, part, 1) == (source.release / part.path).read_bytes()[1:]


def test_stored_files_are_not_seen_without_a_commit(source: FolderPlace, place: Place) -> None:
    for part in parts_of(source.manifest(1), 1, MANIFEST):
        assert not place.has(part)
        place.store(part, source.release / part.path)
        assert place.has(part)
    assert place.versions() == []


def test_a_commit_may_be_repeated_and_another_is_refused(
    source: FolderPlace, place: Place, tmp_path: Path
) -> None:
    put(source, place, 1)
    manifest = put(source, place, 1)
    other = FolderPlace(make_version(tmp_path / "other" / "room", 1, {"a": b"different"}))
    with pytest.raises(VersionTakenError, match="already, with other files"):
        put(other, place, 1)
    assert place.manifest(1) == manifest


def test_a_file_that_is_not_there_cannot_be_read(source: FolderPlace, place: Place) -> None:
    part = parts_of(source.manifest(1), 1, MANIFEST)[0]
    with pytest.raises(DamagedError, match="is gone"), place.read(part):
        pass


def test_a_file_of_another_size_is_refused(source: FolderPlace, place: Place) -> None:
    put(source, place, 1)
    part = parts_of(source.manifest(1), 1, MANIFEST)[0]
    shorter = Part(part.path, part.sha256, part.bytes + 1)
    assert not place.has(shorter)
    with pytest.raises(DamagedError, match="size"), place.read(shorter):
        pass


def test_the_rollout_is_changed_by_compare_and_swap(source: FolderPlace, place: Place) -> None:
    for version in (1, 2):
        put(source, place, version)
    rollouts = place.rollouts
    assert rollouts.read() == Rollout()
    first = rollouts.write(Rollout(live=1), after=0)
    assert first.revision == 1
    second = rollouts.write(Rollout(live=2, previous=1), after=1)
    assert rollouts.read() == second == Rollout(live=2, previous=1, revision=2)
    for stale in (0, 1, 3):
        with pytest.raises(RolloutConflictError, match="version 2 is live"):
            rollouts.write(Rollout(live=9), after=stale)
    assert rollouts.read() == second


def test_polling_tells_a_change_once(source: FolderPlace, place: Place) -> None:
    nothing = place.poll("")
    assert nothing is not None
    assert nothing[0] == Rollout()
    assert place.poll(nothing[1]) is None
    for version in (1, 2):
        put(source, place, version)
    written = place.rollouts.write(Rollout(live=1), after=0)
    found = place.poll(nothing[1])
    assert found is not None
    assert found[0] == written
    assert place.poll(found[1]) is None
    place.rollouts.write(msgspec.structs.replace(written, live=2), after=1)
    assert place.poll(found[1]) is not None


def test_a_place_makes_no_version_live_that_it_does_not_have(source: FolderPlace, place: Place) -> None:
    put(source, place, 1)
    for wanted in (Rollout(live=2), Rollout(live=1, canary=canary(2))):
        with pytest.raises(RolloutError, match=r"has no version 2: (publish or )?push it there first"):
            place.rollouts.write(wanted, after=0)
    put(source, place, 2)
    assert place.rollouts.write(Rollout(live=1, canary=canary(2)), after=0).revision == 1
    assert place.rollouts.versions() == [2, 1]
    assert place.rollouts.first_missing(2) is None


def canary(version: int) -> Canary:
    return Canary(version=version, mode="share", share=0.1, since="2026-11-27T03:00:00Z", id="c-1")


def test_hosts_tell_how_they_are(place: Place) -> None:
    for document in (b"{}", b'{"live": 2}'):
        place.tell("gpu-1", document)
        if isinstance(place, S3Place):
            assert place.get("hosts/gpu-1.json") == document
        else:
            assert Path(place.name, "hosts/gpu-1.json").read_bytes() == document


def test_a_folder_is_repaired_by_storing_again(source: FolderPlace, tmp_path: Path) -> None:
    host = FolderPlace(tmp_path / "host" / "room")
    put(source, host, 1)
    put(source, host, 2)
    for path in ("models/a/1/model.onnx", "models/shared/config.pbtxt", "versions/1/tokenizer.json"):
        (host.release / path).write_bytes(b"damaged")
    assert len(damages(host.release)) == 4
    put(source, host, 1)
    assert damages(host.release) == []


def test_a_folder_refuses_what_it_would_mix(tmp_path: Path, source: FolderPlace) -> None:
    host = FolderPlace(tmp_path / "host" / "room")
    put(source, host, 1)
    stranger = make_version(tmp_path / "stranger" / "room", 1, {"a": b"theirs", "b": b"too"})
    other = FolderPlace(make_version(stranger, 3, {"a": 1, "b": b"new"}))
    with pytest.raises(PlaceError, match=r"models/a/1/model\.onnx belongs to version 1"):
        put(other, host, 3)
    assert host.versions() == [1]
    assert damages(host.release) == []


def test_what_a_killed_fetch_left_makes_room(tmp_path: Path, source: FolderPlace) -> None:
    host = FolderPlace(tmp_path / "host" / "room")
    for path in ("models/shared/1/model.onnx", "models/a/2/model.onnx", "models/b/2/model.onnx"):
        (host.release / path).parent.mkdir(parents=True)
        (host.release / path).write_bytes(b"of a killed attempt")
    put(source, host, 2)
    assert host.versions() == [2]
    assert damages(host.release) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"release": "\xff"}'])
def test_what_is_no_manifest(content: bytes) -> None:
    with pytest.raises(DamagedError, match="manifest is no manifest of a release"):
        parts_of(content, 1, "the manifest")


@pytest.mark.parametrize(
    "path",
    [
        "../live",
        "models/../../x",
        "/etc/passwd",
        "versions/2/release.json",
        "models/a/01/x",
        "live",
        "models/a/.x",
    ],
)
def test_a_manifest_cannot_lead_out_of_the_folder(path: str) -> None:
    facts = {"sha256": "0" * 64, "bytes": 1}
    content = manifest_bytes("room-1", {"versions/1/release.json": facts, path: facts})
    with pytest.raises(DamagedError, match="names what is no file of version 1"):
        parts_of(content, 1, MANIFEST)
