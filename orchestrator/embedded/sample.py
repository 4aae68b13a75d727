"""A living room drawn in one-point perspective: the demo's photo when the user gives none."""

from __future__ import annotations

import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Point3 = tuple[float, float, float]
Colour = tuple[int, int, int]

WIDTH, HEIGHT = 1024, 768
SUPERSAMPLING = 2
ROOM = (4.0, 2.6, 5.0)
"""Width, height and depth in metres: x to the right from the left wall, y down from the ceiling, z away from us."""
EYE = (2.1, 1.5)
FOCAL = 1.75
DISTANCE = 1.9
"""Metres between the eye and the plane z = 0."""


class Scene:
    """Draws polygons given in metres, far ones first."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING))
        self._draw = ImageDraw.Draw(self.image)

    def project(self, point: Point3) -> tuple[float, float]:
        x, y, z = point
        scale = FOCAL * self.image.width / 2 / (z + DISTANCE)
        return self.image.width / 2 + (x - EYE[0]) * scale, self.image.height / 2 + (y - EYE[1]) * scale

    def polygon(self, points: list[Point3], colour: Colour) -> None:
        self._draw.polygon([self.project(point) for point in points], fill=colour)

    def facing(self, x: float, y: float, width: float, height: float, z: float, colour: Colour) -> None:
        """A rectangle parallel to the back wall, from its upper left corner."""
        self.polygon([(x, y, z), (x + width, y, z), (x + width, y + height, z), (x, y + height, z)], colour)

    def box(self, x: float, y: float, z: float, size: Point3, colour: Colour) -> None:
        """A block from its upper left near corner: the side that we see, its top and its front."""
        width, height, depth = size
        side = x if x > EYE[0] else x + width
        self.polygon(
            [(side, y, z), (side, y, z + depth), (side, y + height, z + depth), (side, y + height, z)],
            shade(colour, 0.72),
        )
        if y > EYE[1]:
            self.polygon(
                [(x, y, z), (x + width, y, z), (x + width, y, z + depth), (x, y, z + depth)],
                shade(colour, 1.14),
            )
        self.facing(x, y, width, height, z, colour)

    def disc(self, x: float, y: float, z: float, radius: float, colour: Colour) -> None:
        """A circle on the floor's level ``y``."""
        left, _ = self.project((x - radius, y, z))
        right, _ = self.project((x + radius, y, z))
        _, near = self.project((x, y, z - radius))
        _, far = self.project((x, y, z + radius))
        self._draw.ellipse((left, far, right, near), fill=colour)

    def line(self, a: Point3, b: Point3, metres: float, colour: Colour) -> None:
        ax, ay = self.project(a)
        bx, by = self.project(b)
        width = abs(self.project((a[0] + metres, a[1], a[2]))[0] - ax)
        self._draw.line((ax, ay, bx, by), fill=colour, width=max(1, round(width)))


def draw_room() -> Image.Image:
    """An RGB picture of 1024×768, the same every time."""
    scene = Scene()
    draw_shell(scene)
    draw_wall_things(scene)
    draw_furniture(scene)
    return finish(scene.image)


def draw_shell(scene: Scene) -> None:
    width, height, depth = ROOM
    near = -DISTANCE + 0.3
    scene.polygon([(0, 0, near), (width, 0, near), (width, 0, depth), (0, 0, depth)], (240, 238, 232))
    scene.polygon([(0, 0, near), (0, 0, depth), (0, height, depth), (0, height, near)], (206, 198, 184))
    scene.polygon(
        [(width, 0, near), (width, 0, depth), (width, height, depth), (width, height, near)], (188, 180, 167)
    )
    scene.facing(0, 0, width, height, depth, (222, 215, 202))
    wood = random.Random(7)
    planks = 20
    for i in range(planks):
        left, right = width * i / planks, width * (i + 1) / planks
        z = near - wood.random()
        while z < depth:
            end = min(z + 1.4 + wood.random(), depth)
            colour = shade((168, 122, 82), 0.9 + 0.2 * wood.random())
            start = max(z, near)
            if end > start:
                scene.polygon(
                    [
                        (left, height, start),
                        (right, height, start),
                        (right, height, end),
                        (left, height, end),
                    ],
                    colour,
                )
            z = end
    skirting = (246, 244, 240)
    scene.facing(0, height - 0.1, width, 0.1, depth, skirting)
    for x in (0.0, width):
        scene.polygon(
            [(x, height - 0.1, near), (x, height - 0.1, depth), (x, height, depth), (x, height, near)],
            skirting,
        )


def draw_wall_things(scene: Scene) -> None:
    depth = ROOM[2]
    scene.facing(0.55, 0.5, 1.5, 1.25, depth, (250, 249, 246))
    for i in range(12):
        scene.facing(
            0.62, 0.57 + i * 0.0925, 1.36, 0.0935, depth, mix((150, 190, 228), (225, 236, 240), i / 11)
        )
    scene.polygon(
        [(0.62, 1.45, depth), (0.9, 1.32, depth), (1.3, 1.42, depth), (1.7, 1.28, depth), (1.98, 1.4, depth),
         (1.98, 1.68, depth), (0.62, 1.68, depth)],
        (112, 142, 96),
    )  # fmt: skip
    scene.facing(1.27, 0.5, 0.06, 1.25, depth, (250, 249, 246))
    scene.facing(0.62, 1.06, 1.36, 0.05, depth, (250, 249, 246))
    scene.facing(0.45, 1.75, 1.7, 0.07, depth - 0.05, (244, 242, 238))
    for x in (0.3, 1.98):
        for fold in range(4):
            scene.facing(
                x + fold * 0.08,
                0.38,
                0.08,
                2.1,
                depth - 0.03,
                shade((176, 150, 128), 0.92 + 0.1 * (fold % 2)),
            )
    scene.facing(2.65, 0.6, 0.95, 0.7, depth, (62, 54, 48))
    scene.facing(2.69, 0.64, 0.87, 0.62, depth, (236, 226, 208))
    scene.facing(2.75, 0.95, 0.75, 0.25, depth, (196, 120, 84))
    scene.facing(2.95, 0.74, 0.3, 0.3, depth, (222, 178, 92))
    scene.polygon([(4, 0.55, 1.2), (4, 0.55, 2.7), (4, 2.6, 2.7), (4, 2.6, 1.2)], (232, 228, 220))
    for low, high in ((0.7, 1.45), (1.6, 2.45)):
        scene.polygon([(4, low, 1.4), (4, low, 2.5), (4, high, 2.5), (4, high, 1.4)], (216, 210, 200))


def draw_furniture(scene: Scene) -> None:
    floor = ROOM[1]
    scene.polygon(
        [(0.75, floor, 0.7), (3.25, floor, 0.7), (3.25, floor, 3.4), (0.75, floor, 3.4)], (186, 176, 164)
    )
    scene.polygon(
        [(0.87, floor, 0.83), (3.13, floor, 0.83), (3.13, floor, 3.27), (0.87, floor, 3.27)], (206, 198, 188)
    )
    sofa = (104, 122, 138)
    scene.box(0.95, 1.6, 4.45, (2.3, 0.95, 0.4), sofa)
    scene.box(0.95, 2.05, 3.6, (2.3, 0.45, 0.85), shade(sofa, 1.06))
    scene.box(0.75, 1.82, 3.55, (0.22, 0.72, 1.3), shade(sofa, 0.95))
    scene.box(3.2, 1.82, 3.55, (0.22, 0.72, 1.3), shade(sofa, 0.95))
    scene.line((2.1, 2.04, 3.59), (2.1, 2.48, 3.59), 0.015, shade(sofa, 0.75))
    scene.facing(1.1, 1.68, 0.42, 0.4, 4.3, (206, 158, 92))
    scene.facing(2.62, 1.68, 0.42, 0.4, 4.3, (226, 220, 208))
    scene.disc(2.1, floor, 2.05, 0.62, (150, 142, 132))
    for x, z in ((1.65, 2.35), (2.55, 2.35), (1.65, 1.75), (2.55, 1.75)):
        scene.line((x, 2.22, z), (x, floor, z), 0.05, (92, 62, 40))
    scene.box(1.5, 2.16, 1.65, (1.2, 0.06, 0.8), (142, 98, 62))
    scene.facing(1.7, 2.12, 0.36, 0.04, 1.9, (70, 92, 104))
    scene.box(2.3, 2.0, 1.95, (0.12, 0.16, 0.12), (232, 226, 214))
    scene.disc(3.68, floor, 4.3, 0.17, (70, 66, 62))
    scene.line((3.68, floor, 4.3), (3.68, 1.15, 4.3), 0.035, (70, 66, 62))
    scene.polygon([(3.55, 0.8, 4.3), (3.81, 0.8, 4.3), (3.93, 1.18, 4.3), (3.43, 1.18, 4.3)], (250, 236, 200))
    draw_plant(scene)


def draw_plant(scene: Scene) -> None:
    leaves = random.Random(3)
    scene.polygon([(0.22, 2.2, 3.0), (0.62, 2.2, 3.0), (0.56, 2.6, 3.0), (0.28, 2.6, 3.0)], (196, 110, 80))
    for i in range(15):
        x = 0.42 + (i - 7) * 0.052
        top = 1.2 + abs(i - 7) * 0.075 + leaves.uniform(-0.06, 0.06)
        tip = x + (i - 7) * 0.02
        green = shade((74, 116, 70), leaves.uniform(0.8, 1.25))
        scene.polygon(
            [
                (0.4, 2.2, 3.0),
                (x - 0.07, (top + 2.2) / 2, 3.0),
                (tip, top, 3.0),
                (x + 0.06, (top + 2.2) / 2, 3.0),
            ],
            green,
        )


def finish(image: Image.Image) -> Image.Image:
    """Daylight falling in from the window, a little softness and grain: what a photo has and a drawing lacks."""
    light = Image.new("L", image.size, 214)
    width, height = image.size
    ImageDraw.Draw(light).ellipse((-0.1 * width, -0.2 * height, 0.85 * width, 1.05 * height), fill=255)
    light = (
        light.resize((WIDTH // 16, HEIGHT // 16))
        .filter(ImageFilter.GaussianBlur(9))
        .resize(image.size, Image.Resampling.BICUBIC)
    )
    lit = ImageChops.multiply(image, light.convert("RGB"))
    small = lit.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    grain = random.Random(1).randbytes(WIDTH * HEIGHT)
    noise = Image.frombytes("L", (WIDTH, HEIGHT), grain).point([value // 32 for value in range(256)])
    return ImageChops.subtract(small, noise.convert("RGB"))


def shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


def mix(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue
