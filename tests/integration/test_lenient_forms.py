"""Forms as other programs write them: what does not matter refuses nothing, and what does is named."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from tests.integration.test_submit import BOUNDARY, END, FILE, part, post
from tests.support.api_server import Api, photo, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


def named(disposition: bytes, headers: bytes = b"") -> bytes:
    """A form with a photo whose part has this Content-Disposition, after ``form-data; name="file"``."""
    head = b'Content-Disposition: form-data; name="file"' + disposition + b"\r\n" + headers
    return f"--{BOUNDARY}\r\n".encode() + head + b"\r\n" + photo() + b"\r\n" + END


@pytest.mark.parametrize(
    "form",
    [
        named(b'; filename="K\xfcche.jpg"'),
        named('; filename="台所.jpg"'.encode("shift_jis")),
        named('; filename="кухня.jpg"'.encode("cp1251")),
        named(b"; filename=\xff\xfe"),
        named(b'; filename="' + b"x" * 10_000 + b'.jpg"'),
        named(b'; filename="' + "é".encode() * 5_000 + b'"'),
        named(b"; filename*=UTF-8''K%C3%BCche.jpg"),
        named(b"; filename*=no-such-charset''%FF; filename=\"K\xfcche.jpg\""),
        named(b'; filename="a \\"quoted\\" name.jpg"'),
        named(b'; filename="a "quoted" name.jpg"'),
        named(b'; filename=""'),
        named(b'; filename="a.jpg"', b"Content-Type: image/jpeg; charset=\xfc\r\n"),
        named(b'; filename="a.jpg"', b"Content-Type: \xff\r\n"),
        named(b'; filename="a.jpg"', b"X-Anything: K\xfcche\r\n"),
    ],
    ids=lambda form: ascii(form[60:100]),
)
async def test_what_a_file_is_called_does_not_matter(api: Api, form: bytes) -> None:
    response = await post(api, form)
    await api.take_back(response)


async def test_a_long_name_takes_no_time(api: Api) -> None:
    # A parser that went back at each quote or space would take minutes.
    for filler in (b' ;a="', b'\\"', b" ", b"; a", b"=;"):
        async with asyncio.timeout(5):
            await post(api, named(b"; filename=" + filler * (15_000 // len(filler))))


@pytest.mark.parametrize("style", ["Modern", "MODERN", " modern ", "modern\n", "\ufeffmodern"])
async def test_a_style_may_be_written_in_any_case(api: Api, style: str) -> None:
    response = await post(api, FILE + part("style", style.encode()) + END)
    assert (await api.take_back(response)).style == "modern"


async def test_preferences_as_other_programs_write_them(api: Api) -> None:
    wishes = b'\xef\xbb\xbf{"seed": 42.0, "steps": 1e1, "strength": 1}'
    response = await post(api, FILE + part("preferences", wishes) + END)
    preferences = (await api.take_back(response)).preferences
    assert (preferences.seed, preferences.steps, preferences.strength) == (42, 10, 1)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/transform/submit"), ("POST", "/transform/submit-upload"), ("POST", "/analyze"),
     ("POST", "/uploads"), ("PUT", f"/files/incoming/{'0' * 32}/photo")],
)  # fmt: skip
async def test_a_coded_body_is_named(api: Api, method: str, path: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Encoding": "gzip"}
    response = await api.http.request(method, path, content=gzip.compress(FILE + END), headers=headers)
    problem(response, 415, "unsupported_encoding", "content-encoding")
    assert "gzip" in response.json()["detail"]
    assert response.headers["accept-encoding"] == "identity"


async def test_a_body_that_is_called_uncoded_is_taken(api: Api) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Encoding": "identity"}
    response = await api.http.post("/transform/submit", content=FILE + END, headers=headers)
    await api.take_back(response)
