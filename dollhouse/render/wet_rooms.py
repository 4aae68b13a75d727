"""Kitchens and bathrooms."""

from __future__ import annotations

import math

from . import fixtures, furniture
from .furniture import Rng, between
from .plan import BACK, LEFT, RIGHT, Plan
from .shapes import Thing


def kitchen(plan: Plan) -> None:
    rng = plan.rng
    walls = [BACK, BACK, LEFT, RIGHT]
    wall = walls[int(rng.integers(4))]
    door_walls = {niche.wall for niche in plan.niches if niche.label == "door"}
    if wall in door_walls:
        wall = next(w for w in (BACK, RIGHT, LEFT) if w not in door_walls)
    _run(plan, wall)
    _table_or_island(plan)
    if rng.random() < 0.6:
        walls_left = [w for w in (LEFT, RIGHT, BACK) if w != wall]
        plan.hang(walls_left[int(rng.integers(2))], fixtures.clock(rng), between(rng, 1.6, 1.8))
    for _ in range(2):
        for other in rng.permutation([LEFT, RIGHT, BACK]):
            if plan.against(int(other), furniture.plant(rng, between(rng, 0.6, 1.1))) is not None:
                break
    for _ in range(2):
        w = between(rng, 0.35, 0.55)
        plan.hang((BACK, LEFT, RIGHT)[int(rng.integers(3))], fixtures.picture(rng, w, w * 1.25), 1.35)


def _run(plan: Plan, wall: int) -> None:
    """Fridge, counters, sink and oven in a row along a wall, cabinets and hood above."""
    rng, length = plan.rng, plan.length(wall)
    start, end = (0.03, length - 0.03) if wall == BACK else (max(1.5, length - 3.6), length - 0.03)
    cold = fixtures.fridge(rng)
    u = end if rng.random() < 0.5 or wall != BACK else start
    way = -1.0 if u == end else 1.0
    for side in (u, start if u == end else end):
        inward = 1.0 if side == start else -1.0
        if plan.against(wall, cold, side + inward * cold.size[0] / 2, margin=0) is not None:
            u, way = side + inward * (cold.size[0] + 0.01), inward
            break
    room = (end - u) if way > 0 else (u - start)
    spare = max(room - 1.3, 0.0)
    gaps = [spare * share for share in (between(rng, 0.2, 0.35), between(rng, 0.3, 0.4))]
    gaps.append(spare - sum(gaps))
    modules: list[tuple[str, float]] = [("counter", gaps[0]), ("oven", 0.6), ("counter", gaps[1])]
    modules += [("sink", 0.7), ("counter", gaps[2])]
    if rng.random() < 0.5:
        modules = modules[:1] + modules[3:4] + modules[2:3] + modules[1:2] + modules[4:]
    if room < 1.3:
        modules = [("oven", 0.6)] if room > 0.6 else []
    for name, width in modules:
        if width > 0.12:
            _module(plan, wall, u + way * width / 2, name, width)
        u += way * width


def _module(plan: Plan, wall: int, u: float, name: str, width: float) -> None:
    rng = plan.rng
    if name == "sink":
        base, bowl = fixtures.kitchen_sink()
        plan.against(wall, base, u, margin=0, extra=(bowl,))
        return
    thing = fixtures.oven(rng) if name == "oven" else fixtures.counter(width - 0.002)
    if plan.against(wall, thing, u, margin=0) is None:
        return
    if name == "oven":
        plan.hang(wall, fixtures.hood(), 1.6, u, space=0.0)
        return
    plan.hang(wall, fixtures.upper_cabinet(width - 0.01), 1.45, u, space=0.0)
    if width > 0.35 and rng.random() < 0.8:
        plan.put(_kitchen_thing(rng), wall, u, 0.26, fixtures.COUNTER_HEIGHT)


def _kitchen_thing(rng: Rng) -> Thing:
    return furniture.vase(rng) if rng.random() < 0.5 else furniture.plant(rng, between(rng, 0.24, 0.34))


def _table_or_island(plan: Plan) -> None:
    rng, (w, h, d) = plan.rng, plan.size
    table = furniture.dining_table(rng, True)
    chair = furniture.chair(rng)
    drop = h - between(rng, 1.6, 1.8)
    lamp = furniture.pendant(rng, drop)
    for _ in range(10):
        x, z = between(rng, 1.1, w - 1.1), between(rng, 1.7, max(d - 1.5, 1.8))
        if not plan.free_floor((x - 0.95, x + 0.95, z - 0.95, z + 0.95)):
            continue
        plan.stand(table, x, z)
        start = between(rng, 0, 1.5)
        for i in range(int(rng.integers(2, 4))):
            angle, reach = start + i * 2.1, table.size[0] / 2 + 0.1
            px, pz = x - reach * math.sin(angle), z - reach * math.cos(angle)
            plan.things.append(chair.at(px, pz, angle))
        plan.floor.append((x - 0.95, x + 0.95, z - 0.95, z + 0.95))
        plan.things.append(lamp.at(x, z, 0.0, h))
        plan.things.append(furniture.vase(rng).at(x, z, 0.0, table.size[1]))
        return


def bathroom(plan: Plan) -> None:
    rng = plan.rng
    tub = fixtures.bathtub(rng)
    walls = [int(w) for w in rng.permutation([BACK, LEFT, RIGHT])]
    tub_wall = None
    for wall in walls:
        for u in (plan.length(wall) - tub.size[0] / 2 - 0.03, tub.size[0] / 2 + 0.03, None):
            if tub_wall is None and plan.against(wall, tub, u, margin=0.01) is not None:
                tub_wall = wall
    stand, bowl = fixtures.vanity(rng)
    for wall in [int(w) for w in rng.permutation([BACK, LEFT, RIGHT])]:
        u = plan.against(wall, stand, extra=(bowl,))
        if u is not None:
            glass = fixtures.mirror(rng, stand.size[0] * 0.8, between(rng, 0.7, 0.9), rng.random() < 0.4)
            plan.hang(wall, glass, 1.15, u, space=0.02)
            break
    pan = fixtures.toilet(rng)
    for wall in [int(w) for w in rng.permutation([BACK, LEFT, RIGHT])]:
        if plan.against(wall, pan, margin=0.15) is not None:
            break
    mat = fixtures.rug(rng, between(rng, 0.9, 1.2), between(rng, 0.6, 0.75), rng.random() < 0.2)
    plan.lay(mat, plan.size[0] * between(rng, 0.4, 0.6), plan.size[2] * between(rng, 0.5, 0.6))
    for _ in range(2):
        plan.hang((BACK, LEFT, RIGHT)[int(rng.integers(3))], fixtures.towel(rng), between(rng, 0.85, 1.0))
    for thing in (furniture.plant(rng, between(rng, 0.6, 1.0)), fixtures.stool(rng)):
        for wall in rng.permutation([BACK, LEFT, RIGHT]):
            if plan.against(int(wall), thing) is not None:
                break
    w = between(rng, 0.35, 0.5)
    plan.hang((BACK, LEFT, RIGHT)[int(rng.integers(3))], fixtures.picture(rng, w, w * 1.25), 1.35)
