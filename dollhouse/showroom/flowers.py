"""Papers with flowers and painted wood, after the words of orchestrator/domain/styles.toml."""

from __future__ import annotations

from dollhouse.render.palettes import Grade
from dollhouse.render.swatches import swatch

from . import lamps, plants, seats, walls
from .stuff import (
    Dressing,
    back,
    cloth,
    corner,
    glowing,
    hung,
    metallic,
    on_table,
    over_seat,
    paint,
    rafters,
    rug,
    timber,
)

FRENCH_COUNTRY = Dressing(
    {
        "wall": swatch("flowers", "#f2ead9", "#a9bccd", "#7d97b5", scale=0.36),
        "window wall": paint("#b5c6d5"),
        "ceiling": paint("#f7f1e3"),
        "floor": swatch("tiles", "#ddcdb0", "#cdb993", "#b3a07c", scale=0.5, gloss=0.15),
        "trim": paint("#b3c3d1"),
        "door": paint("#a3b6c9"),
        "wood": timber("#c2a97c", "#9c8055", 0.1),
        "beam": timber("#8a6a48", "#6b5034", 0.05),
        "sofa": cloth("#f1e8d6"),
        "pillow_a": cloth("#9a86b2"),
        "pillow_b": swatch("flowers", "#f5eedf", "#8fa6c0", "#6d88ab", scale=0.14),
        "rug": swatch("bordered", "#e9dfca", "#a9bccd", "#8ba3ba"),
        "curtain": swatch("drape", "#b9aace"),
        "metal": metallic("#b87647", 0.5),
        "candle": paint("#f1e8d6"),
        "ceiling_lamp": glowing("#ffe7bd", 2.2),
        "picture": swatch("landscape", "#cfe0ea", "#9a86b2", "#8a9a63"),
        "picture_frame": timber("#c9b48c", "#a68e62"),
        "books": swatch("books", "#e9dfca", "#a9bccd", "#9a86b2"),
        "pot": metallic("#b87043", 0.6),
        "vase": paint("#f3ead8", 0.4),
        "blossom": paint("#8f74b5"),
        "armchair": swatch("check", "#f3ead8", "#8fa9c3", scale=0.06),
        "armchair_legs": timber("#c2a97c", "#9c8055"),
    },
    Grade(0.28, 0.015, 0.95, 1.0, 0.35),
    (
        hung(lamps.chandelier(0.7, 0.4, 6)),
        rafters(0.13),
        rug(2.4, 2.2),
        corner(seats.wing_chair()),
        on_table(plants.bouquet(0.46), 2.85, 2.0),
        plants.jar(0.34, 0.5).at(0.4, 4.4),
    ),
    frozenset({"lamp", "vase"}),
)

COTTAGE = Dressing(
    {
        "wall": swatch("flowers dado", "#f3ecdc", "#9caf94", "#d98f8a", scale=0.3),
        "ceiling": paint("#f6f1e5"),
        "floor": swatch("planks", "#b98a5a", "#9c7044", "#5f4022", scale=0.2, gloss=0.15),
        "trim": paint("#9caf94"),
        "door": swatch("panelling", "#90a588", "#84997c", "#5f7258", scale=0.15),
        "wood": timber("#a8774a", "#835835", 0.15),
        "shelf": paint("#9caf94"),
        "beam": timber("#6b4a2e", "#4b321d", 0.05),
        "sofa": swatch("flowers", "#f1e9da", "#9caf94", "#cf7f7a", scale=0.2),
        "pillow_a": cloth("#dcaea5"),
        "pillow_b": swatch("check", "#f4eee2", "#6d86a5", scale=0.05),
        "throw": swatch("facets", "#dcaea5", "#9caf94", "#e9d9a8", scale=0.14),
        "rug": swatch("facets", "#e9dcc3", "#dcaea5", "#8ea3b5", scale=0.3),
        "curtain": swatch("drape", "#e9bcb2"),
        "metal": metallic("#b08d57", 0.4),
        "ceiling_lamp": swatch("fabric", "#fbe7c4", scale=0.02, glow=1.4),
        "picture": swatch("sprig", "#f5efe1", "#b5606a"),
        "picture_frame": timber("#a8774a", "#835835"),
        "books": swatch("books", "#dcaea5", "#6d7f91", "#e9d9b5"),
        "pot": paint("#c98f6b"),
        "vase": paint("#f1e9da", 0.4),
        "blossom": paint("#d9707c"),
        "armchair": swatch("check", "#f1e9da", "#9caf94", scale=0.07),
    },
    Grade(0.24, 0.025, 1.0, 1.1, 0.35),
    (
        hung(lamps.drum(0.5, 0.24, 0.3)),
        rafters(0.17),
        rug(2.4, 2.2),
        corner(seats.wing_chair()),
        on_table(plants.bouquet(0.5), 2.85, 2.0),
        over_seat(seats.blanket(0.6, 0.8, 0.2)),
    ),
    frozenset({"lamp", "vase"}),
)

SHABBY_CHIC = Dressing(
    {
        "wall": swatch("flowers", "#fbf4ee", "#d5ddcc", "#e8b7b5", scale=0.28),
        "window wall": swatch("shiplap", "#fbf7f2", "#f3ece4", "#d6ccc1", scale=0.16),
        "ceiling": paint("#fdfaf6"),
        "floor": swatch("planks", "#e6dccf", "#d3c5b3", "#b3a491", scale=0.16, gloss=0.1),
        "trim": paint("#fdf9f4"),
        "door": paint("#c9d6c8"),
        "wood": timber("#fbf6ef", "#ddd0c0", 0.05),
        "sofa": cloth("#f8f1ea"),
        "pillow_a": swatch("flowers", "#fbf3ee", "#c9d6c8", "#df9fa3", scale=0.13),
        "pillow_b": cloth("#efc9c6"),
        "rug": swatch("flowers", "#f4e8e0", "#c9d0bf", "#e2aeb0", scale=0.55),
        "curtain": swatch("drape", "#f6dcd8"),
        "metal": paint("#f3ece2"),
        "crystal": swatch("plain", "#f3ecf0", gloss=0.9, glow=0.7),
        "ceiling_lamp": glowing("#fff0d8", 2.0),
        "picture": swatch("flowers", "#fbf6ef", "#b9c9b0", "#d98f95", scale=0.3),
        "picture_frame": paint("#fbf6f0"),
        "books": swatch("books", "#fbf3ee", "#efc9c6", "#c9d6c8"),
        "pot": paint("#c9d6c8"),
        "vase": paint("#fbf6f1", 0.5),
        "blossom": paint("#e59ca6"),
        "armchair": cloth("#efcac7"),
        "armchair_legs": paint("#fbf6f0"),
    },
    Grade(0.38, 0.015, 0.95, 0.9, 0.25),
    (
        hung(lamps.chandelier(0.7, 0.35, 8, crystals=True)),
        rug(2.4, 2.2),
        corner(seats.wing_chair()),
        back(walls.oval_mirror(0.55, 0.85), 2.75, 1.35),
        on_table(plants.bouquet(0.5), 2.85, 2.0),
    ),
    frozenset({"lamp", "vase"}),
)

DRESSINGS = {
    "french-country": FRENCH_COUNTRY,
    "cottage": COTTAGE,
    "shabby-chic": SHABBY_CHIC,
}
