"""What the gate keeps of a photo's own marks: its C2PA manifests, and what it says of where it comes from."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import c2pa
import pytest

from orchestrator.photos import gate as gates
from orchestrator.photos.gate import PhotoGate
from tests.support.certificates import Signer, a_signer
from tests.support.gate.files import (
    MAX_PIXELS,
    XMP_START,
    encoded,
    jpeg_segment,
    jpeg_with,
    opened,
    png_chunk,
    png_with,
    quadrants,
    shows_quadrants,
    webp_chunk,
    webp_with,
)
from tests.support.marks import VOCABULARY, as_camera, codes

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
}
JPEG = encoded(quadrants())


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return a_signer(tmp_path_factory.mktemp("camera"), name="camera")


def ingredient_of(archive: bytes) -> dict[str, Any]:
    """The ingredient in an archive, as c2pa's own reader sees it."""
    with c2pa.Reader("application/c2pa", io.BytesIO(archive)) as reader:
        found = json.loads(reader.json())
    (ingredient,) = found["manifests"][found["active_manifest"]]["ingredients"]
    return dict(ingredient)


@pytest.mark.parametrize("format", FORMATS)
async def test_the_manifests_of_a_photo_are_kept(gate: PhotoGate, camera: Signer, format: str) -> None:
    signed = as_camera(encoded(quadrants(), format), camera, FORMATS[format])
    photo = await gate.accept(signed, keep_manifests=True)
    assert shows_quadrants(opened(photo))
    assert b"jumb" not in photo.jpeg
    ingredient = ingredient_of(photo.manifests)
    found = codes(ingredient)
    # The hash of the upload itself: data of a JPEG, boxes of a HEIC.
    assert {"claimSignature.validated", "assertion.hashedURI.match"} < found
    assert found & {"assertion.dataHash.match", "assertion.bmffHash.match"}
    assert codes(ingredient, "failure") == {"signingCredential.untrusted"}
    assert photo.source_type == "digitalCapture"


async def test_only_what_is_asked_for_is_read(gate: PhotoGate, camera: Signer) -> None:
    assert (await gate.accept(as_camera(JPEG, camera))).manifests == b""
    assert (await gate.accept(JPEG, keep_manifests=True)).manifests == b""
    async with PhotoGate(MAX_PIXELS, processes=1, manifests=False) as none:
        assert (await none.accept(as_camera(JPEG, camera), keep_manifests=True)).manifests == b""


async def test_a_changed_photo_is_called_changed(gate: PhotoGate, camera: Signer) -> None:
    signed = bytearray(as_camera(JPEG, camera))
    signed[15] ^= 1  # of the resolution
    photo = await gate.accept(bytes(signed), keep_manifests=True)
    assert "assertion.dataHash.mismatch" in codes(ingredient_of(photo.manifests), "failure")


def store(signed: bytes) -> tuple[int, int]:
    """Where the segment of the manifests begins and ends."""
    at = signed.index(b"\xff\xeb")
    return at, at + 2 + int.from_bytes(signed[at + 2 : at + 4], "big")


def box(kind: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def jumbf(body: bytes) -> bytes:
    """A JPEG with such boxes in segments as C2PA writes them."""
    pieces = [body[start : start + 60_000] for start in range(0, len(body), 60_000)]
    head = body[:8]
    return jpeg_with(
        JPEG,
        *(
            jpeg_segment(0xEB, b"JP\0\1" + number.to_bytes(4, "big") + (head if number > 1 else b"") + piece)
            for number, piece in enumerate(pieces, 1)
        ),
    )


def nested(depth: int) -> bytes:
    found = b""
    for _ in range(depth):
        found = box(b"jumb", box(b"jumd", b"c2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0") + found)
    return found


HOSTILE = {
    "nothing": jumbf(b""),
    "noise": jumbf(random.Random(0).randbytes(5000)),
    "a box that is longer than the file": jumbf(b"\x7f\xff\xff\xffjumb" + bytes(100)),
    "boxes in boxes": jumbf(nested(3000)),
    "many empty boxes": jumbf(box(b"jumb", box(b"free", b"") * 20_000)),
    "PNG": png_with(encoded(quadrants(), "PNG"), png_chunk(b"caBX", b"\xff" * 300)),
    "WebP": webp_with(quadrants(), 0, webp_chunk(b"C2PA", b"\0" * 300)),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_photo_is_refused_because_of_its_manifests(gate: PhotoGate, name: str) -> None:
    photo = await gate.accept(HOSTILE[name], keep_manifests=True)
    assert shows_quadrants(opened(photo))
    assert photo.manifests == b""


async def test_damaged_manifests_do_no_harm(gate: PhotoGate, camera: Signer) -> None:
    """Those that can be read nevertheless go on: as what they are, an ingredient with faults."""
    signed = as_camera(JPEG, camera)
    begin, end = store(signed)
    kept = 0
    for seed in range(40):
        rng, damaged = random.Random(seed), bytearray(signed)
        for _ in range(rng.choice((1, 4, 30))):
            damaged[rng.randrange(begin + 4, end)] = rng.randrange(256)
        photo = await gate.accept(bytes(damaged), keep_manifests=True)
        assert shows_quadrants(opened(photo))
        if photo.manifests:
            kept += 1
            assert ingredient_of(photo.manifests)["relationship"] == "parentOf"
    assert kept < 40, "no damage was seen"


async def test_manifests_that_are_too_large_are_left_out(
    gate: PhotoGate, camera: Signer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gates, "MAX_MANIFESTS", 1000)
    photo = await gate.accept(as_camera(JPEG, camera), keep_manifests=True)
    assert photo.manifests == b""
    assert "C2PA manifests of a photo are not kept" in caplog.text


async def test_a_decoder_that_hangs_over_manifests_costs_only_these(
    camera: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "MANIFEST_SECONDS", 0.0)
    async with PhotoGate(MAX_PIXELS, processes=1) as gate:
        for _ in range(2):
            photo = await gate.accept(as_camera(JPEG, camera), keep_manifests=True)
            assert shows_quadrants(opened(photo))
            assert photo.manifests == b""


async def test_a_picture_that_ai_made_is_known_by_its_manifests(gate: PhotoGate, camera: Signer) -> None:
    signed = as_camera(JPEG, camera, source="trainedAlgorithmicMedia")
    assert (await gate.accept(signed, keep_manifests=True)).source_type == "trainedAlgorithmicMedia"


def described(term: str, form: str) -> bytes:
    name = "Iptc4xmpExt:DigitalSourceType"
    attribute, inner = {
        "attribute": (f' {name}="{term}"', ""),
        "element": ("", f"<{name}>{term}</{name}>"),
        "resource": ("", f'<{name} rdf:resource="{term}"/>'),
    }[form]
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f"{attribute}>{inner}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize("form", ["attribute", "element", "resource"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
async def test_xmp_says_where_a_photo_comes_from(gate: PhotoGate, form: str, format: str) -> None:
    packet = described(f"{VOCABULARY}trainedAlgorithmicMedia", form)
    match format:
        case "JPEG":
            data = jpeg_with(JPEG, jpeg_segment(0xE1, XMP_START + packet))
        case "PNG":
            text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
            data = png_with(encoded(quadrants(), "PNG"), png_chunk(b"iTXt", text))
        case _:
            data = encoded(quadrants(), format, xmp=packet)
    assert (await gate.accept(data)).source_type == "trainedAlgorithmicMedia"


@pytest.mark.parametrize(
    "term",
    ["http://example.org/trainedAlgorithmicMedia", f"{VOCABULARY}<script>", f"{VOCABULARY}{'a' * 99}", ""],
)
async def test_other_words_say_nothing(gate: PhotoGate, term: str) -> None:
    data = jpeg_with(JPEG, jpeg_segment(0xE1, XMP_START + described(term, "attribute")))
    assert (await gate.accept(data)).source_type == ""
