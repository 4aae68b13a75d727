"""PNGs that name their colours by number (cICP, PNG third edition 11.3.2.6)."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from orchestrator.photos.gate import PhotoGate
from tests.support.gate.colour import (
    COLOURS,
    P3_PRIMARIES,
    SRGB_PRIMARIES,
    curve,
    in_srgb,
    linear_to_srgb,
    rgb_profile,
    srgb_to_linear,
)
from tests.support.gate.files import Colour, accepted, colour_at, distance, flat_png, png_chunk

pytestmark = pytest.mark.asyncio(loop_scope="module")

BT2020_PRIMARIES = np.array([[0.708, 0.292], [0.170, 0.797], [0.131, 0.046]])
P3 = rgb_profile(P3_PRIMARIES, curve(srgb_to_linear(np.linspace(0, 1, 1024))))
ICCP = png_chunk(b"iCCP", b"P3\0\0" + zlib.compress(P3))


def cicp(primaries: int, transfer: int, matrix: int = 0, full_range: int = 1) -> bytes:
    return png_chunk(b"cICP", bytes((primaries, transfer, matrix, full_range)))


async def shown(gate: PhotoGate, colour: Colour, *chunks: bytes) -> Colour:
    return colour_at(await accepted(gate, flat_png(8, 2, bytes(colour), *chunks)))


@pytest.mark.parametrize("colour", COLOURS)
async def test_display_p3(gate: PhotoGate, colour: Colour) -> None:
    expected = in_srgb(srgb_to_linear(np.array(colour) / 255), P3_PRIMARIES)
    assert distance(await shown(gate, colour, cicp(12, 13)), expected) <= 3


@pytest.mark.parametrize("colour", COLOURS)
async def test_bt_2020(gate: PhotoGate, colour: Colour) -> None:
    values = np.array(colour) / 255
    linear = np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))
    assert distance(await shown(gate, colour, cicp(9, 14)), in_srgb(linear, BT2020_PRIMARIES)) <= 3


async def test_srgb_changes_nothing_and_wins_over_a_profile(gate: PhotoGate) -> None:
    for colour in COLOURS:
        assert distance(await shown(gate, colour, ICCP, cicp(1, 13)), colour) <= 2
        assert distance(await shown(gate, colour, cicp(1, 13), ICCP), colour) <= 2


@pytest.mark.parametrize(
    "chunk",
    [
        cicp(2, 2), cicp(0, 13), cicp(12, 200), cicp(12, 13, matrix=1), cicp(12, 13, full_range=7),
        png_chunk(b"cICP", b""),
    ],
)  # fmt: skip
async def test_unusable_numbers_leave_the_profile(gate: PhotoGate, chunk: bytes) -> None:
    """Unknown numbers, and YCbCr, which a PNG cannot be."""
    colour = (200, 60, 20)
    expected = in_srgb(srgb_to_linear(np.array(colour) / 255), P3_PRIMARIES)
    assert distance(await shown(gate, colour, ICCP, chunk), expected) <= 3
    assert distance(await shown(gate, colour, chunk), colour) <= 2


async def test_white_of_another_kind_is_white(gate: PhotoGate) -> None:
    """DCI's white is greenish, BT.470's bluish; an eye that has adapted sees neither."""
    for primaries in (4, 5, 6, 7, 11):
        assert distance(await shown(gate, (255, 255, 255), cicp(primaries, 13)), (255, 255, 255)) <= 2
        assert distance(await shown(gate, (128, 128, 128), cicp(primaries, 13)), (128, 128, 128)) <= 2


async def test_video_range(gate: PhotoGate) -> None:
    for value, expected in ((16, 0), (5, 0), (126, 128), (235, 255), (250, 255)):
        found = await shown(gate, (value,) * 3, cicp(1, 13, full_range=0))
        assert distance(found, (expected,) * 3) <= 2


def grey_of(light: float) -> Colour:
    value = round(255 * float(linear_to_srgb(min(1.0, light))))
    return value, value, value


@pytest.mark.parametrize(
    ("transfer", "value", "nits"),
    # BT.2100's PQ at 50 and 100 cd/m², and BT.2408's levels: of HLG 38 % is middle grey, 75 % diffuse white.
    [
        (16, 0.4403, 50), (16, 0.5081, 100), (16, 0.5807, 203), (16, 0.7518, 1000), (18, 0.75, 203),
        (18, 0.38, 26),
    ],
)  # fmt: skip
async def test_high_dynamic_range(gate: PhotoGate, transfer: int, value: float, nits: float) -> None:
    """Diffuse white becomes white; what is brighter becomes white too."""
    found = await shown(gate, (round(255 * value),) * 3, cicp(9, transfer))
    assert distance(found, grey_of(nits / 203)) <= 4


async def test_a_grey_png(gate: PhotoGate) -> None:
    found = colour_at(await accepted(gate, flat_png(8, 0, b"\x70", cicp(1, 8))))
    assert distance(found, in_srgb((0x70 / 255,) * 3, SRGB_PRIMARIES)) <= 3
