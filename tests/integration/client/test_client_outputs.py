"""Where the client writes pictures: plain files, links, pipes, devices, folders; and in which format."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import reroom
from reroom._files import write
from tests.support.client_service import JOB, PICTURE, Service

SOURCES = Path(__file__).resolve().parents[3] / "client" / "src"


def a_jpeg(**options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 8), (200, 120, 40)).save(out, "JPEG", **options)
    return out.getvalue()


@pytest.fixture
def done(service: Service) -> Service:
    service.state = "completed"
    return service


def test_a_symbolic_link_stays_one(client: Any, done: Service, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link, far = tmp_path / "real" / "a.jpg", tmp_path / "link.jpg", tmp_path / "far.jpg"
    target.write_bytes(b"old")
    link.symlink_to("real/a.jpg")
    far.symlink_to(link)
    assert client.download(JOB, far) == far
    assert link.is_symlink()
    assert far.is_symlink()
    assert target.read_bytes() == PICTURE
    assert list((tmp_path / "real").iterdir()) == [target], "nothing is left beside it"


def test_a_link_to_nothing_gets_its_file(client: Any, done: Service, tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to("new.jpg")
    client.download(JOB, tmp_path / "link.jpg")
    assert (tmp_path / "link.jpg").is_symlink()
    assert (tmp_path / "new.jpg").read_bytes() == PICTURE


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o755])
def test_permissions_of_a_file_stay(client: Any, done: Service, tmp_path: Path, mode: int) -> None:
    target = tmp_path / "a.jpg"
    target.write_bytes(b"old")
    target.chmod(mode)
    client.download(JOB, target)
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert target.read_bytes() == PICTURE


@pytest.fixture
def folder_of_another() -> Iterator[Path]:
    """A folder of a user who may not write everything; root becomes that user for the test."""
    other, us = 65534, os.geteuid()
    folder = Path(tempfile.mkdtemp())
    if us == 0:
        os.chown(folder, other, other)
        os.seteuid(other)
    try:
        yield folder
    finally:
        os.seteuid(us)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_file_that_may_not_be_written_is_not_replaced(folder_of_another: Path) -> None:
    target = folder_of_another / "a.jpg"
    target.write_bytes(b"old")
    target.chmod(0o444)
    with pytest.raises(PermissionError):
        write(target, PICTURE)
    assert target.read_bytes() == b"old"


def test_a_file_in_a_folder_that_takes_no_new_ones(folder_of_another: Path) -> None:
    target = folder_of_another / "a.jpg"
    target.write_bytes(b"old")
    folder_of_another.chmod(0o555)
    write(target, PICTURE)
    assert target.read_bytes() == PICTURE


def test_a_pipe_stays_a_pipe(client: Any, done: Service, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    client.download(JOB, pipe)
    reader.join(10)
    assert got == [PICTURE]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_a_device(client: Any, done: Service, tmp_path: Path) -> None:
    # Through a link, so that a client that replaces its output does no harm to this machine.
    (tmp_path / "hole").symlink_to("/dev/null")
    client.download(JOB, tmp_path / "hole")
    assert (tmp_path / "hole").is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_file_in_a_folder_is_called_after_the_job(client: Any, done: Service, tmp_path: Path) -> None:
    assert client.download(JOB, tmp_path) == tmp_path / f"{JOB}.jpg"
    assert client.download(JOB, f"{tmp_path}/new/") == tmp_path / "new" / f"{JOB}.jpg"
    assert client.download("/files/result.jpg", tmp_path).name == "result.jpg"


@pytest.mark.parametrize(
    ("name", "format"), [("a.png", "PNG"), ("a.WebP", "WEBP"), ("a.jpeg", "JPEG"), ("a", "JPEG")]
)
def test_the_extension_names_the_format(
    client: Any, done: Service, tmp_path: Path, name: str, format: str
) -> None:
    exif = Image.Exif()
    exif[0x0131] = "reroom"
    done.picture = a_jpeg(quality=95, exif=exif)
    client.download(JOB, tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert picture.format == format
        assert picture.size == (16, 8)
        assert picture.getexif()[0x0131] == "reroom"
        pixel = picture.convert("RGB").getpixel((3, 3))
    assert isinstance(pixel, tuple)
    assert max(abs(have - want) for have, want in zip(pixel, (200, 120, 40), strict=True)) <= 4


def test_another_extension_is_refused_before_anything_is_asked(
    client: Any, service: Service, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"a\.tiff: a picture's file ends in one of \.jpg"):
        client.download(JOB, tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"not in \.tiff"):
        client.restyle(b"JPEG", out=tmp_path / "a.tiff")
    assert service.requests == []


def test_what_is_no_picture_is_not_made_one(client: Any, done: Service, tmp_path: Path) -> None:
    with pytest.raises(reroom.ProtocolError, match="picture was not understood"):
        client.download(JOB, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_descriptors_by_name_are_written_where_they_stand(tmp_path: Path) -> None:
    """/dev/stdout of ``>>``: what was there before stays, and so does what comes after."""
    log = tmp_path / "log"
    log.write_bytes(b"before ")
    link = tmp_path / "link"
    link.symlink_to("/dev/stdout")
    code = (
        "import sys; from pathlib import Path; from reroom._files import write; "
        f"write(Path('/dev/stdout'), b'one '); write(Path({str(link)!r}), b'two '); print('after')"
    )
    with log.open("ab") as out:
        environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True, env=environment)
    assert log.read_bytes() == b"before one two after\n"
    assert Path("/dev/stdout").is_symlink()


def test_an_analysis_is_written_through_links_too(client: Any, tmp_path: Path) -> None:
    (tmp_path / "depth.png").symlink_to("kept.png")
    client.analyze(b"JPEG").save(tmp_path)
    assert (tmp_path / "depth.png").is_symlink()
    assert (tmp_path / "kept.png").read_bytes() == b"\x89PNG depth"
