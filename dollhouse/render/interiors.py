"""The furniture of each kind of room, arranged as people arrange it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import fixtures, furniture
from .furniture import Rng, between
from .plan import BACK, FRONT, LEFT, OPPOSITE, RIGHT, YAW, Plan
from .shapes import Thing
from .wet_rooms import bathroom, kitchen

Size = tuple[float, float, float]

SIZES: dict[str, tuple[Size, Size]] = {
    "living room": ((3.8, 2.45, 4.4), (5.6, 2.9, 6.0)),
    "bedroom": ((3.4, 2.4, 4.2), (4.8, 2.8, 5.4)),
    "dining room": ((3.6, 2.45, 4.6), (5.0, 2.9, 5.8)),
    "kitchen": ((3.0, 2.45, 3.9), (4.4, 2.8, 5.2)),
    "bathroom": ((2.5, 2.4, 3.1), (3.4, 2.7, 4.2)),
    "office": ((3.0, 2.4, 3.8), (4.4, 2.8, 5.2)),
}
"""Smallest and largest width, height and depth, in metres."""


def living_room(plan: Plan) -> None:
    rng = plan.rng
    couch = furniture.sofa(rng)
    walls = [LEFT, RIGHT, BACK, BACK]
    wall = walls[int(rng.integers(4))]
    if wall == BACK and rng.random() < 0.4 and plan.size[2] > 5.0:
        _couch_before_television(plan, couch)
    else:
        u = _middle_or_random(plan, wall, couch)
        if u is None:
            wall = OPPOSITE[wall] if wall != BACK else (LEFT if rng.random() < 0.5 else RIGHT)
            u = _middle_or_random(plan, wall, couch)
        if u is not None:
            _around_couch(plan, couch, wall, u)
    _shelf(plan, (BACK, LEFT, RIGHT))
    _decorate(plan, plants=2, pictures=3)


def _middle_or_random(plan: Plan, wall: int, thing: Thing) -> float | None:
    length = plan.length(wall)
    u = length * (between(plan.rng, 0.42, 0.6) if wall == BACK else between(plan.rng, 0.52, 0.68))
    placed = plan.against(wall, thing, u)
    return plan.against(wall, thing) if placed is None else placed


def _around_couch(plan: Plan, couch: Thing, wall: int, u: float) -> None:
    rng, (w, h, d) = plan.rng, couch.size
    _hang_above(plan, wall, u, h, w)
    table = furniture.coffee_table(rng)
    out = d + between(rng, 0.4, 0.55) + table.size[2] / 2
    x, z = plan.spot(wall, u, out)
    if plan.stand(table, x, z, YAW[wall]) and rng.random() < 0.8:
        plan.put(_small(rng), wall, u + between(rng, -0.15, 0.15), out, table.size[1])
    _rug(plan, x, z, YAW[wall], w * between(rng, 0.9, 1.15), between(rng, 1.4, 1.9))
    if wall != BACK:
        board = furniture.sideboard(rng, between(rng, 0.45, 0.6))
        _television(plan, board, OPPOSITE[wall], min(u, plan.length(wall) - board.size[0] / 2 - 0.05))
    lamp, side = furniture.floor_lamp(rng), 1 if rng.random() < 0.5 else -1
    for way in (side, -side):
        if plan.against(wall, lamp, u + way * (w / 2 + 0.3), gap=0.08) is not None:
            break
    for way in (side, -side):
        chair, (cx, cz) = furniture.sofa(rng, 1), plan.spot(wall, u + way * (w / 2 + 0.1), out + 0.1)
        angle = float(np.arctan2(x - cx, z - cz))
        if plan.stand(chair, cx, cz, angle):
            break


def _couch_before_television(plan: Plan, couch: Thing) -> None:
    rng, (w, _, d) = plan.rng, plan.size
    board = furniture.sideboard(rng, between(rng, 0.45, 0.6))
    u = _television(plan, board, BACK, None)
    if u is None:
        return
    x = float(np.clip(u, couch.size[0] / 2 + 0.1, w - couch.size[0] / 2 - 0.1))
    z = d - between(rng, 2.5, 2.9)
    if plan.stand(couch, x, z):
        table = furniture.coffee_table(rng)
        plan.stand(table, x, z + 0.5 + 0.45 + table.size[2] / 2)
    _rug(plan, x, z + 0.7, 0.0, couch.size[0], 1.7)


def _television(plan: Plan, board: Thing, wall: int, u: float | None) -> float | None:
    tv = furniture.television(plan.rng)
    at = plan.against(wall, board, u, extra=(tv.at(0, 0, 0, board.size[1]),))
    return (
        at
        if at is not None or u is None
        else plan.against(wall, board, extra=(tv.at(0, 0, 0, board.size[1]),))
    )


def bedroom(plan: Plan) -> None:
    rng = plan.rng
    bed = furniture.bed(rng)
    walls = [BACK, BACK, LEFT, RIGHT]
    rng.shuffle(walls)
    for wall in dict.fromkeys(walls):
        u = _middle_or_random(plan, wall, bed)
        if u is not None:
            break
    else:
        wall, u = BACK, None
    if u is not None:
        _hang_above(plan, wall, u, bed.size[1], bed.size[0])
        for side in (-1, 1):
            stand = furniture.nightstand(rng)
            at = u + side * ((bed.size[0] + stand.size[0]) / 2 + 0.06)
            if plan.against(wall, stand, at) is not None:
                top = furniture.table_lamp(rng) if rng.random() < 0.7 else _small(rng)
                plan.put(top, wall, at, stand.size[2] / 2 + 0.02, stand.size[1])
        x, z = plan.spot(wall, u, bed.size[2] * 0.72)
        _rug(plan, x, z, YAW[wall], bed.size[0] + between(rng, 0.7, 1.1), between(rng, 1.3, 1.7))
    _first(plan, furniture.wardrobe(rng), (LEFT, RIGHT, BACK))
    if rng.random() < 0.6:
        board = furniture.sideboard(rng)
        _television(plan, board, LEFT if rng.random() < 0.5 else RIGHT, None)
    else:
        _first(plan, furniture.sofa(rng, 1), (LEFT, RIGHT, BACK))
    _decorate(plan, plants=1, pictures=2)


def dining_room(plan: Plan) -> None:
    rng, (w, h, d) = plan.rng, plan.size
    round_one = rng.random() < 0.35
    table = furniture.dining_table(rng, round_one)
    yaw = 0.0 if rng.random() < 0.5 or round_one else float(np.pi / 2)
    x, z = w * between(rng, 0.42, 0.58), d * between(rng, 0.56, 0.64)
    if plan.stand(table, x, z, yaw):
        seat(plan, table, x, z, yaw, round_one)
        plan.things.append(_small(rng).at(x, z, yaw, table.size[1]))
        drop = h - between(rng, 1.55, 1.8)
        shift = 0.45 if table.size[0] > 1.6 and rng.random() < 0.5 else 0.0
        lamp = furniture.pendant(rng, drop)
        for way in (-1, 1) if shift else (0,):
            plan.things.append(lamp.at(x + way * shift * np.cos(yaw), z - way * shift * np.sin(yaw), 0.0, h))
        size = (table.size[0] + 1.2, table.size[2] + 1.2)
        plan.lay(fixtures.rug(rng, *size, round_one=round_one), x, z, yaw)
    board = furniture.sideboard(rng)
    for wall in (BACK, LEFT, RIGHT):
        u = plan.against(wall, board)
        if u is not None:
            _hang_above(plan, wall, u, board.size[1] + 0.35, board.size[0])
            plan.put(_small(rng), wall, u + 0.35, 0.23, board.size[1])
            plan.put(furniture.table_lamp(rng), wall, u - 0.35, 0.23, board.size[1])
            break
    if rng.random() < 0.5:
        _shelf(plan, (LEFT, RIGHT, BACK))
    _decorate(plan, plants=2, pictures=2)


def seat(plan: Plan, table: Thing, x: float, z: float, yaw: float, round_one: bool) -> None:
    """Chairs around a table, backs outwards, pushed in a little."""
    rng, model = plan.rng, furniture.chair(plan.rng)
    reach = table.size[2] / 2 + between(rng, 0.08, 0.2)
    places: list[tuple[float, float]] = []
    if round_one:
        count, start = int(rng.integers(3, 5)), between(rng, 0, 1.5)
        places = [(start + i * 2 * np.pi / count, 0.0) for i in range(count)]
    else:
        across = 2 if table.size[0] < 1.85 else 3
        # The outer chairs stay clear of the table's legs.
        pitch = 0.58 if across == 2 else min(0.58, table.size[0] / 2 - 0.39)
        shifts = [(i - (across - 1) / 2) * pitch for i in range(across)]
        places = [(turn, shift) for turn in (0.0, float(np.pi)) for shift in shifts]
    for turn, shift in places:
        angle = yaw + turn + between(rng, -0.08, 0.08)
        px, pz = (
            x + shift * np.cos(yaw) - reach * np.sin(angle),
            z - shift * np.sin(yaw) - reach * np.cos(angle),
        )
        inside = 0.3 < px < plan.size[0] - 0.3 and 0.3 < pz < plan.size[2] - 0.3
        clear = not any(
            a - 0.25 < px < b + 0.25 and c - 0.25 < pz < e + 0.25 for a, b, c, e in plan.floor[:-1]
        )
        if inside and clear:
            plan.things.append(model.at(px, pz, angle))
    half_x = abs(np.cos(yaw)) * table.size[0] / 2 + abs(np.sin(yaw)) * reach + 0.3
    half_z = abs(np.sin(yaw)) * table.size[0] / 2 + abs(np.cos(yaw)) * reach + 0.3
    plan.floor.append((x - half_x, x + half_x, z - half_z, z + half_z))


def office(plan: Plan) -> None:
    rng = plan.rng
    desk = furniture.desk(rng)
    walls = [BACK, BACK, LEFT, RIGHT]
    rng.shuffle(walls)
    for wall in dict.fromkeys(walls):
        u = plan.against(wall, desk)
        if u is None:
            continue
        top, centre = desk.size[1], desk.size[2] / 2 + 0.02
        screen = furniture.laptop(rng) if rng.random() < 0.7 else furniture.television(rng)
        if screen.label == "laptop":
            plan.put(screen, wall, u, centre + 0.05, top)
        plan.put(furniture.table_lamp(rng), wall, u - desk.size[0] / 2 + 0.2, centre - 0.1, top)
        plan.put(_small(rng), wall, u + desk.size[0] / 2 - 0.22, centre - 0.1, top)
        x, z = plan.spot(wall, u, desk.size[2] + between(rng, 0.3, 0.45))
        turn = YAW[wall] + np.pi + between(rng, -0.4, 0.4)
        plan.stand(furniture.office_chair(rng), x, z, turn)
        _rug(plan, *plan.spot(wall, u, desk.size[2] + 0.5), YAW[wall], 1.8, 1.4)
        _hang_above(plan, wall, u, 1.15, desk.size[0])
        break
    for _ in range(int(rng.integers(1, 3))):
        _shelf(plan, (BACK, LEFT, RIGHT))
    if rng.random() < 0.6:
        _first(plan, furniture.sofa(rng, int(rng.integers(1, 3))), (LEFT, RIGHT, BACK))
    _decorate(plan, plants=2, pictures=2)


def _small(rng: Rng) -> Thing:
    drawn = rng.random()
    if drawn < 0.45:
        return furniture.vase(rng)
    return furniture.plant(rng, between(rng, 0.24, 0.36)) if drawn < 0.75 else furniture.book_stack(rng)


def _rug(plan: Plan, x: float, z: float, yaw: float, w: float, d: float) -> None:
    if plan.rng.random() < 0.85:
        plan.lay(fixtures.rug(plan.rng, w, d, plan.rng.random() < 0.15), x, z, yaw)


def _first(plan: Plan, thing: Thing, walls: tuple[int, ...]) -> bool:
    return any(plan.against(wall, thing) is not None for wall in walls)


def _shelf(plan: Plan, walls: tuple[int, ...]) -> None:
    base, *books = furniture.shelf(plan.rng)
    for wall in plan.rng.permutation(walls):
        if plan.against(int(wall), base, extra=tuple(books)) is not None:
            return


def _hang_above(plan: Plan, wall: int, u: float, height: float, width: float) -> None:
    """One wide picture or a row of them above a thing of that height."""
    rng, y = plan.rng, max(height + 0.25, 1.2)
    count = int(rng.integers(1, 4))
    w = min(width * 0.85 / count - 0.1, 0.95 if count == 1 else 0.5)
    h = w * (between(rng, 0.6, 0.8) if count == 1 else between(rng, 1.1, 1.35))
    for i in range(count):
        plan.hang(wall, fixtures.picture(rng, w, h), y, u + (i - (count - 1) / 2) * (w + 0.18), space=0.04)


def _decorate(plan: Plan, plants: int, pictures: int) -> None:
    rng = plan.rng
    for _ in range(plants):
        _first(plan, furniture.plant(rng), tuple(int(w) for w in rng.permutation([BACK, LEFT, RIGHT])))
    if rng.random() < 0.4:
        _first(plan, furniture.floor_lamp(rng), tuple(int(w) for w in rng.permutation([BACK, LEFT, RIGHT])))
    for _ in range(int(rng.integers(1, pictures + 1))):
        w = between(rng, 0.4, 0.8)
        wall = (BACK, LEFT, RIGHT, FRONT)[int(rng.integers(3))]
        plan.hang(wall, fixtures.picture(rng, w, w * between(rng, 0.75, 1.35)), between(rng, 1.25, 1.4))
    if rng.random() < 0.4:
        plan.hang((BACK, LEFT, RIGHT)[int(rng.integers(3))], fixtures.clock(rng), between(rng, 1.6, 1.8))


FURNISH: dict[str, Callable[[Plan], None]] = {
    "living room": living_room,
    "bedroom": bedroom,
    "dining room": dining_room,
    "kitchen": kitchen,
    "bathroom": bathroom,
    "office": office,
}
