"""Boho and industrial: patterns, worn and raw surfaces."""

from __future__ import annotations

from .swatches import Swatch, fabric, metal, plain, swatch

BOHO: dict[str, list[Swatch]] = {
    "wall": [
        swatch("plaster", "#e8d3b4", "#dfc39e"),
        swatch("plaster", "#e9d9c0", "#dcc6a6"),
        swatch("plaster", "#dfb898", "#d3a684"),
    ],
    "feature wall": [
        swatch("plaster", "#c0704a", "#b3623f"),
        swatch("plaster", "#3f7a74", "#37706a"),
        swatch("plaster", "#cf9a45", "#c28c3a"),
    ],
    "kitchen wall": [swatch("half mosaic", "#e9d9bd", "#b5563a", "#2f7d83", scale=0.2)],
    "bathroom wall": [swatch("half mosaic", "#e6d8bf", "#2c7f86", "#c98a3c", scale=0.2)],
    "ceiling": [swatch("beams", "#eee0c6", "#7b5233", scale=1.1), *plain("#efe3cd")],
    "floor": [
        swatch("planks", "#a9713f", "#8a5730", "#53321a", scale=0.15, gloss=0.25),
        swatch("tiles", "#bb6a44", "#a95a38", "#d9b892", scale=0.33, gloss=0.25),
        swatch("planks", "#b98350", "#9c693b", "#603d20", scale=0.12, gloss=0.2),
    ],
    "bathroom floor": [swatch("mosaic", "#e2d0b0", "#2c6f7a", "#b5563a", scale=0.25)],
    "trim": [swatch("grain", "#8e5c36", "#754829")],
    "door": [
        swatch("board door", "#2f8086", "#276d73", "#1f565b"),
        swatch("board door", "#9a6339", "#7b4c2b", "#5c381f"),
    ],
    "wood": [swatch("grain", "#a56a3a", "#804d28"), swatch("grain", "#8b5531", "#683d22")],
    "drawers": [
        swatch("wood panels", "#a56a3a", "#804d28", "#e0b85a"),
        swatch("panels", "#2f7d83", "#2f7d83", "#e0b85a"),
        swatch("panels", "#cf9a45", "#cf9a45", "#7b4c2b"),
    ],
    "headboard": [swatch("cane", "#d6a868", "#a87840", scale=0.06)],
    "sofa": fabric("#b5563a", "#c98a2e", "#2f6b5b", "#a84a5e"),
    "pillow_a": [swatch("kilim", "#c8502f", "#e9d3a6", "#2c6f7a", scale=0.13)],
    "pillow_b": [swatch("kilim", "#e0a63c", "#8c2f3a", "#efe0c2", scale=0.1), *fabric("#d9a03a")],
    "chair": [swatch("cane", "#d9ac6c", "#a4733c", scale=0.05), *fabric("#b5563a")],
    "duvet": [*fabric("#efe2c9"), swatch("stripes", "#efe2c9", "#c8703f", "#2c6f7a", scale=0.3)],
    "throw": [
        swatch("kilim", "#c8502f", "#e0a63c", "#2c5f6a", scale=0.16),
        swatch("stripes", "#c8502f", "#efe0c2", "#3a6b5b", scale=0.16),
    ],
    "rug": [
        swatch("oriental", "#a8322b", "#27465f", "#e3c088"),
        swatch("kilim", "#c8502f", "#e9cf9c", "#2c6470", scale=0.34),
        swatch("kilim", "#a63a36", "#d99a3c", "#28506b", scale=0.28),
        swatch("oriental", "#b5563a", "#7a2a2c", "#e8cf9f"),
    ],
    "curtain": [swatch("drape", "#d98f4e"), swatch("drape", "#efdcb8"), swatch("drape", "#b5563a")],
    "metal": metal("#c79a4a", gloss=0.5),
    "lampshade": [swatch("cane", "#f3cf8e", "#c58b44", scale=0.035, glow=1.2)],
    "pendant": [swatch("cane", "#d9a860", "#8e5f2c", scale=0.035, glow=0.35)],
    "picture": [
        swatch("mandala", "#efe0c2", "#b5563a", "#2c6f7a"),
        swatch("mandala", "#f1e6cf", "#d9a03a", "#8c2f3a"),
        swatch("art", "#ecd9b6", "#c8502f", "#2f6b5b"),
    ],
    "picture_frame": [swatch("grain", "#a56a3a", "#804d28")],
    "books": [swatch("books", "#c8703f", "#2f6b6b", "#8c2f3a")],
    "pot": [
        *plain("#bd6a43"),
        swatch("cane", "#d9ac6c", "#a4733c", scale=0.04),
        *plain("#2f8086", gloss=0.4),
    ],
    "vase": plain("#2f8086", "#c8502f", "#d9a03a", gloss=0.4),
    "leaf": [swatch("leaf", "#2c6b33", "#8cb24e")],
    "countertop": [swatch("grain", "#8b5531", "#683d22", gloss=0.2)],
    "fridge": plain("#d8c9a6", "#7fa79b", gloss=0.3),
    "cover": plain("#b5563a", "#2c6f7a"),
    "clock": [swatch("clock", "#efe0c2", "#7b4c2b", "#a56a3a")],
}

INDUSTRIAL: dict[str, list[Swatch]] = {
    "wall": [
        swatch("concrete", "#8f8d89", "#75736f", scale=1.3),
        swatch("brick", "#98533d", "#75402f", "#a39a90"),
        swatch("concrete", "#83827f", "#6b6a68", scale=1.3),
    ],
    "feature wall": [
        swatch("brick", "#9c553d", "#7a4130", "#a8a097"),
        swatch("brick", "#8a4a37", "#5e3529", "#8d857c"),
    ],
    "bathroom wall": [swatch("half metro", "#dcdad5", "#6f6d6a", "#3a3938", scale=0.1, gloss=0.4)],
    "ceiling": [
        swatch("beams", "#77756f", "#262524", scale=1.3),
        swatch("beams", "#5d5b58", "#33241a", scale=1.0),
        swatch("concrete", "#7b7a77", "#676663", scale=2.0),
    ],
    "floor": [
        swatch("concrete", "#7f7c77", "#68655f", scale=1.6, gloss=0.7),
        swatch("planks", "#5c4432", "#443124", "#1f1610", scale=0.2, gloss=0.3),
    ],
    "trim": metal("#252628", gloss=0.3),
    "reveal": [swatch("concrete", "#86837e", "#72706b", scale=3.0)],
    "door": [
        swatch("board door", "#3b3d40", "#303235", "#1f2022"),
        swatch("board door", "#6a4a33", "#4e3626", "#232324"),
    ],
    "wood": [swatch("grain", "#6b482f", "#42291a"), swatch("grain", "#5a3d29", "#382417")],
    "legs": metal("#232425", gloss=0.35),
    "drawers": [
        swatch("panels", "#3d4144", "#3d4144", "#a9793f", gloss=0.3),
        swatch("wood panels", "#6b482f", "#42291a", "#18191a"),
    ],
    "shelf": [swatch("grain", "#6b482f", "#42291a"), *metal("#2a2b2d", gloss=0.3)],
    "sofa": [
        swatch("leather", "#8c5029", "#5f3218", gloss=0.35),
        swatch("leather", "#46372e", "#2b211b", gloss=0.35),
        swatch("leather", "#7a3f22", "#4f2814", gloss=0.35),
    ],
    "pillow_a": fabric("#4a4d50", "#8a8378"),
    "pillow_b": [swatch("leather", "#6f5a44", "#52412f")],
    "chair": [*metal("#3a3c3e", gloss=0.4), swatch("leather", "#6f3d20", "#4a2813", gloss=0.3)],
    "bed": metal("#2b2c2e", gloss=0.3),
    "headboard": [swatch("grain", "#6b482f", "#42291a")],
    "sheet": fabric("#bdbab4"),
    "duvet": fabric("#6a6c6e", "#4b4e52"),
    "throw": fabric("#7a3f22", "#33363a"),
    "rug": [
        swatch("abstract rug", "#5e5b57", "#47453f", "#7b6a58"),
        swatch("leather", "#6f5138", "#4b3524"),
        swatch("bordered", "#4d4f51", "#2b2c2d", "#8b6a43"),
    ],
    "curtain": [swatch("drape", "#45474a"), swatch("drape", "#5d5750")],
    "metal": metal("#2a2b2d", gloss=0.4),
    "metal_bright": metal("#a9793f", gloss=0.6),
    "lampshade": [swatch("plain", "#ffbf6a", glow=2.0)],
    "pendant": metal("#1e1f20", gloss=0.4),
    "bulb": [swatch("plain", "#ffb347", glow=8.0)],
    "ceiling_lamp": [swatch("plain", "#ffcf8c", glow=2.2)],
    "picture": [
        swatch("drawing", "#2c3a49", "#c9d3dc"),
        swatch("drawing", "#c7bda9", "#2a2622"),
        swatch("art", "#9c978e", "#26272a", "#6b3e28"),
    ],
    "books": [swatch("books", "#5a4a3c", "#3b3f43", "#7a3f22")],
    "pot": [*plain("#5e5c59"), *metal("#3a3b3d", gloss=0.3)],
    "vase": metal("#8c6235", "#4b4d50", gloss=0.5),
    "leaf": [swatch("leaf", "#2c4a2e", "#56713f")],
    "countertop": [swatch("concrete", "#75736f", "#64625e", scale=3.0, gloss=0.3)],
    "steel": metal("#8c8f93"),
    "clock": [swatch("clock", "#d8d0be", "#1f1f1f", "#1f1f1f")],
}
