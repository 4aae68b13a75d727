"""The dollhouse's renderer: seeded rooms, exact truths, five styles over one geometry."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dollhouse.render.plan import FRONT
from dollhouse.render.rooms import (
    LABELS,
    NO_WISH,
    ROOM_TYPES,
    STYLES,
    ColourWish,
    Look,
    Mixed,
    Render,
    Restyled,
    Room,
    Styled,
    develop,
    picture,
    render,
    restyle,
    sample_rooms,
    trace_view,
)
from dollhouse.render.scene import room_slots
from dollhouse.render.shapes import BALL, CYLINDER, Floats, Piece

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SIDE = 96
SEEDS = range(40, 52)
PENETRATION = 0.015
"""Metres that pieces of two things may share: what stands on a rug stands in it."""


@pytest.fixture(scope="module")
def rooms() -> tuple[Room, ...]:
    return sample_rooms(SEEDS)


@pytest.fixture(scope="module")
def shots(rooms: tuple[Room, ...]) -> Render:
    return render(rooms, [STYLES[i % 5] for i in range(len(rooms))], SIDE)


@pytest.fixture(scope="module")
def many() -> tuple[Room, ...]:
    return sample_rooms(range(150))


def test_the_same_seed_gives_the_same_room_and_picture(rooms: tuple[Room, ...], shots: Render) -> None:
    again = render(sample_rooms([SEEDS[3]]), [STYLES[3]], SIDE)
    assert torch.equal(again.image[0], shots.image[3])
    assert torch.equal(again.depth[0], shots.depth[3])
    assert again.objects[0] == shots.objects[3]
    assert not torch.equal(shots.depth[2], shots.depth[3])


def test_a_batch_equals_its_rooms_one_by_one(rooms: tuple[Room, ...], shots: Render) -> None:
    view = trace_view(rooms[:3], SIDE)
    torch.testing.assert_close(view.depth, shots.depth[:3], rtol=1e-4, atol=1e-4)
    assert (view.edges == shots.edges[:3]).float().mean() > 0.999
    off = (develop(view, STYLES[:3]).int() - shots.image[:3].int()).abs()
    assert off.float().mean() < 0.01


def test_styles_share_geometry_and_differ_in_looks(rooms: tuple[Room, ...]) -> None:
    same = [render(rooms[:4], [style] * 4, SIDE) for style in STYLES]
    for other in same[1:]:
        assert torch.equal(other.depth, same[0].depth)
        assert torch.equal(other.edges, same[0].edges)
        assert other.objects == same[0].objects
    means = torch.stack([shot.image.float().mean((0, 1, 2)) for shot in same])
    gaps = torch.cdist(means, means) + 1e3 * torch.eye(5)
    assert gaps.min() > 6, means
    apart = [(a.image.float() - b.image.float()).abs().mean() for a in same for b in same if a is not b]
    assert min(apart) > 10


def test_restyled_rooms_look_alike_however_they_were_found(rooms: tuple[Room, ...]) -> None:
    """Colours come from the style, not from what was there: photos of one room in four looks come together."""
    view = trace_view(rooms[:1], SIDE)
    found: list[Look] = [Styled("boho"), Styled("minimalist"), Mixed(0), Mixed(1)]
    before = torch.cat([picture(view, [each]) for each in found]).float()
    after = torch.cat([restyle(view, [each], ["modern"], [NO_WISH]) for each in found]).float()
    assert after.std(0).mean() < 0.5 * before.std(0).mean()


def test_patterns_plants_and_pictures_stay(rooms: tuple[Room, ...]) -> None:
    room = rooms[0]
    for slot in ("leaf", "picture", "books", "view", "screen"):
        found = Styled("boho").swatch(room, slot, 0)
        assert Restyled(Styled("boho"), "minimalist").swatch(room, slot, 0) == found
    rug = Styled("boho").swatch(room, "rug", 0)
    made = Restyled(Styled("boho"), "scandinavian").swatch(room, "rug", 0)
    assert made.colours != rug.colours
    assert made._replace(colours=rug.colours) == rug


@pytest.mark.parametrize("style", STYLES)
def test_every_slot_has_a_colour_in_every_style(style: str, many: tuple[Room, ...]) -> None:
    for room in many:
        for part, slot in enumerate(room_slots(room)):
            if slot:
                made = Restyled(Mixed(0), style, ColourWish(("navy", "pink", "teal"))).swatch(
                    room, slot, part
                )
                assert len(made.colours) == 3


def test_a_wish_is_seen_in_the_room(rooms: tuple[Room, ...]) -> None:
    view, found = trace_view(rooms[:1], SIDE), [Styled("minimalist")]

    def mean(wish: ColourWish) -> torch.Tensor:
        return restyle(view, found, ["modern"], [wish]).float().mean((0, 1, 2))

    plain = mean(NO_WISH)
    red, _, blue = mean(ColourWish(("navy",))) - plain
    assert blue > red + 10
    red, _, blue = mean(ColourWish(walls="terracotta")) - plain
    assert red > blue + 20
    with pytest.raises(ValueError, match="no colour 'plaid'"):
        mean(ColourWish(("plaid",)))


def test_restyled_pictures_are_not_burnt_out(rooms: tuple[Room, ...]) -> None:
    """Walls that are white all over have no edges left to keep."""
    view = trace_view(rooms[:6], SIDE)
    for style in STYLES:
        made = restyle(view, [Mixed(0)] * 6, [style] * 6, [NO_WISH] * 6)
        assert made.float().gt(250).float().mean() < 0.12, style


def test_pictures_are_neither_black_nor_blown_out(shots: Render) -> None:
    level = shots.image.float().mean((1, 2, 3))
    assert 40 < level.min() < level.max() < 245
    assert shots.image.float().std((1, 2, 3)).min() > 8


def test_fields_have_the_promised_types_and_shapes(rooms: tuple[Room, ...]) -> None:
    wide = render(rooms[:1], ["modern"], (64, 112), supersample=2)
    assert (wide.image.shape, wide.image.dtype) == ((1, 64, 112, 3), torch.uint8)
    assert (wide.depth.shape, wide.depth.dtype) == ((1, 64, 112), torch.float32)
    assert (wide.edges.shape, wide.edges.dtype) == ((1, 64, 112), torch.uint8)
    assert set(wide.edges.flatten().tolist()) <= {0, 255}
    plain = render(rooms[:1], ["modern"], (64, 112))
    assert ((wide.depth - plain.depth).abs() / plain.depth).median() < 0.01


def test_depth_is_positive_and_bounded_by_the_room(rooms: tuple[Room, ...], shots: Render) -> None:
    for room, depth in zip(rooms, shots.depth, strict=True):
        assert depth.min() > 0.05
        assert depth.max() < np.linalg.norm(room.size) + 0.3


def test_bare_walls_floor_and_ceiling_are_planes(rooms: tuple[Room, ...]) -> None:
    """Where no thing stands, depth is what the empty box of that size has there, computed another way."""
    view = trace_view(rooms, SIDE)
    for i, room in enumerate(rooms):
        camera, f = room.camera, SIDE * 0.5 / np.tan(room.camera.fov / 2)
        rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
        flat = np.stack([(columns - SIDE / 2) / f, (SIDE / 2 - rows) / f, np.ones((SIDE, SIDE))], -1)
        rays = flat @ camera.axes.T
        with np.errstate(divide="ignore"):
            faces = np.where(rays > 0, np.array(room.size) - camera.position, -camera.position) / rays
        bare = view.things[i].numpy() == 0
        assert bare.mean() > 0.05
        np.testing.assert_allclose(view.depth[i].numpy()[bare], faces.min(-1)[bare], rtol=1e-4)
        behind = view.depth[i].numpy() - faces.min(-1)
        assert behind.max() < 0.5, "only window panes and doors lie behind the walls"


def test_boxes_cover_their_things_exactly(shots: Render) -> None:
    for seen, things in zip(shots.objects, shots.things, strict=True):
        assert seen
        for found in seen:
            rows, columns = (things == found.thing).nonzero().unbind(1)
            left, top, right, bottom = found.box
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
            assert (columns.min().item(), columns.max().item() + 1) == pytest.approx(
                (left * SIDE, right * SIDE)
            )
            assert (rows.min().item(), rows.max().item() + 1) == pytest.approx((top * SIDE, bottom * SIDE))


def test_edges_run_along_things_and_corners_not_textures(rooms: tuple[Room, ...]) -> None:
    view = trace_view(rooms, SIDE)
    parted = view.things[:, :, 1:] != view.things[:, :, :-1]
    assert view.edges[:, :, :-1][parted].eq(255).all()
    share = view.edges.eq(255).float().mean((1, 2))
    assert 0.01 < share.min() < share.max() < 0.45
    # Deep inside bare walls, floors and ceilings there is nothing but where two of them meet.
    bare = torch.nn.functional.max_pool2d((view.things > 0).float()[:, None], 5, 1, 2)[:, 0] == 0
    assert view.edges[bare].eq(255).float().mean() < 0.06


def test_all_room_types_occur_with_what_names_them(many: tuple[Room, ...]) -> None:
    assert {room.room_type for room in many} == set(ROOM_TYPES)
    telling = {"living room": "couch", "bedroom": "bed", "dining room": "dining table", "office": "desk"}
    telling |= {"kitchen": "oven", "bathroom": "toilet"}
    for kind, label in telling.items():
        of_kind = [room for room in many if room.room_type == kind]
        having = [room for room in of_kind if any(thing.label == label for thing in room.things)]
        assert len(having) >= 0.97 * len(of_kind), kind
    assert {thing.label for room in many for thing in room.things} == set(LABELS)
    (asked,) = sample_rooms([1], "office")
    assert asked.room_type == "office"


def test_every_room_has_a_window_that_the_sun_shines_through(many: tuple[Room, ...]) -> None:
    outward = {1: (0, 1), 2: (-1, 0), 3: (1, 0)}
    for room in many:
        windows = [niche for niche in room.niches if niche.label == "window"]
        assert windows, room.seed
        assert all(niche.wall != FRONT for niche in windows)
        assert any(np.dot(outward[niche.wall], room.sun[[0, 2]]) > 0 for niche in windows)


def test_things_stand_inside_the_room_on_something(many: tuple[Room, ...]) -> None:
    for room in many:
        for thing in room.things:
            if thing.label in ("window", "door"):
                continue
            low = np.min([piece.bounds()[0] for piece in thing.pieces], axis=0)
            high = np.max([piece.bounds()[1] for piece in thing.pieces], axis=0)
            assert (low > -0.02).all(), (room.seed, thing.label, low)
            assert (high < np.array(room.size) + 0.02).all(), (room.seed, thing.label, high)


def _inside(piece: Piece, points: Floats, shrink: float) -> NDArray[np.bool_]:
    """Whether world points [K,3] lie deeper than ``shrink`` metres in a piece."""
    half = piece.half - shrink
    if (half <= 0).any():
        return np.zeros(len(points), bool)
    local: Floats = (points - piece.center) @ piece.turn / half
    if piece.shape == BALL:
        return np.asarray((local**2).sum(1) < 1)
    if piece.shape == CYLINDER:
        return np.asarray(
            (np.hypot(local[:, 0], local[:, 2]) < 1 + piece.taper * local[:, 1]) & (abs(local[:, 1]) < 1)
        )
    return np.asarray((np.abs(local) < 1).all(1))


def _probes(piece: Piece) -> Floats:
    """Points spread through a piece, [K,3]."""
    grid = np.linspace(-0.98, 0.98, 7)
    unit = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(-1, 3)
    if piece.shape == BALL:
        unit = unit[(unit**2).sum(1) < 1]
    elif piece.shape == CYLINDER:
        unit = unit[np.hypot(unit[:, 0], unit[:, 2]) < 1 - abs(piece.taper)]
    return np.asarray(piece.center + (unit * piece.half) @ piece.turn.T)


def test_no_two_things_share_space(many: tuple[Room, ...]) -> None:
    for room in many[:60]:
        pieces = [
            (i, piece, *piece.bounds()) for i, thing in enumerate(room.things) for piece in thing.pieces
        ]
        low, high = np.stack([p[2] for p in pieces]), np.stack([p[3] for p in pieces])
        owner = np.array([p[0] for p in pieces])
        for n, (i, piece, _, _) in enumerate(pieces):
            near = (low < high[n] - PENETRATION).all(1) & (high > low[n] + PENETRATION).all(1) & (owner != i)
            for other in near.nonzero()[0]:
                clash = _inside(piece, _probes(pieces[other][1]), PENETRATION)
                names = room.things[i].label, room.things[owner[other]].label
                assert not clash.any(), (room.seed, room.room_type, names, piece.slot, pieces[other][1].slot)


def test_the_camera_stands_free_inside_the_room_at_a_persons_height(many: tuple[Room, ...]) -> None:
    around = np.stack(np.meshgrid(*[[-0.1, 0, 0.1]] * 3), -1).reshape(-1, 3)
    for room in many:
        eye = room.camera.position
        assert (eye > 0.15).all()
        assert (eye < np.array(room.size) - 0.15).all()
        assert 1.2 < eye[1] < 1.7
        for thing in room.things:
            assert not any(_inside(piece, eye + around, 0).any() for piece in thing.pieces), room.seed


def test_wrong_sizes_and_styles_are_refused(rooms: tuple[Room, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        trace_view(rooms[:1], 100)
    with pytest.raises(ValueError, match="styles"):
        render(rooms[:1], ["baroque"], 64)
    with pytest.raises(ValueError, match="a style for each"):
        render(rooms[:2], ["boho"], 64)
