"""Names of what is in a photo: users' words → labels of the detector, and the kinds that outlines are drawn of.

An object is called by its label and a number, ``couch#1``: the objects of each label are counted in the order in which
the detector is sure of them. A label alone means all of them.
"""

from collections.abc import Iterable, Sequence

ALIKE: tuple[tuple[str, ...], ...] = (
    ("couch", "sofa", "settee", "loveseat"),
    ("tv", "television", "tvmonitor", "tv screen"),
    ("potted plant", "plant", "houseplant", "pottedplant"),
    ("refrigerator", "fridge"),
    ("dining table", "diningtable", "table"),
    ("picture", "painting", "poster", "artwork"),
    ("rug", "carpet"),
    ("nightstand", "bedside table", "night stand"),
    ("wardrobe", "closet", "armoire"),
    ("shelf", "bookshelf", "bookcase", "shelving"),
    ("sideboard", "buffet", "dresser", "chest of drawers"),
    ("cabinet", "cupboard"),
    ("counter", "countertop", "worktop", "kitchen counter"),
    ("curtain", "drape", "drapery"),
    ("window", "windowpane"),
    ("lamp", "light", "floor lamp"),
    ("hood", "range hood", "extractor hood"),
    ("bathtub", "bath", "tub"),
    ("laptop", "notebook computer"),
    ("oven", "stove", "cooker"),
    ("floor", "flooring"),
    ("cushion", "pillow"),
)
"""Words for the same thing. The first one that a release knows is meant."""

OUTLINES: dict[str, tuple[str, ...]] = {
    "wall": ("787878",),
    "floor": ("503232",),
    "ceiling": ("787850",),
    "stairs": (
        "ffe000",
        "1f00ff",
    ),
    "bed": ("cc05ff",),
    "window": ("e6e6e6",),
    "blind": ("003dff",),
    "cabinet": ("e005ff",),
    "door": (
        "08ff33",
        "00adff",
    ),
    "dining table": ("ff0652",),
    "potted plant": (
        "ccff04",
        "f500ff",
        "ff0000",
    ),
    "curtain": ("ff3307",),
    "chair": (
        "cc4603",
        "08ffd6",
        "0a00ff",
    ),
    "picture": (
        "ff0633",
        "8fff00",
    ),
    "couch": ("0b66ff",),
    "shelf": (
        "ff0747",
        "00fff5",
    ),
    "mirror": ("dcdcdc",),
    "rug": ("ff095c",),
    "desk": ("0aff47",),
    "wardrobe": ("07ffff",),
    "lamp": (
        "e0ff08",
        "ffad00",
        "001fff",
        "0029ff",
    ),
    "bathtub": ("6608ff",),
    "cushion": (
        "ffc207",
        "00ebff",
    ),
    "sideboard": (
        "0633ff",
        "ff7000",
    ),
    "nightstand": (
        "0633ff",
        "ff0652",
    ),
    "counter": (
        "eb0cff",
        "008fff",
        "00ff29",
    ),
    "sink": ("00a3ff",),
    "fireplace": ("fa0a0f",),
    "refrigerator": ("14ff00",),
    "coffee table": ("00ff70",),
    "toilet": ("00ff85",),
    "book": ("ffa300",),
    "towel": ("ff0066",),
    "tv": (
        "00ffc2",
        "7a00ff",
        "00ccff",
    ),
    "laptop": (
        "00ffad",
        "005cff",
    ),
    "stool": (
        "00d6ff",
        "ff9900",
    ),
    "oven": (
        "47ff00",
        "33ff00",
    ),
    "hood": ("0099ff",),
    "vase": ("00ffcc",),
    "clock": ("66ff00",),
    "radiator": ("ffd600",),
    "microwave": ("ff00eb",),
    "bench": ("c2ff00",),
    "person": ("96053d",),
}
"""By label, or by the name of a thing that no detector has: the colours, red, green and blue, in which the graph
``segments`` shows its kinds of ADE20K."""


class UnknownName(ValueError):
    """A word that means nothing to a release; the message says which words do."""


def name_objects(labels: Iterable[str]) -> list[str]:
    """``LABEL#N`` for each of the labels: N counts those that are alike, from 1."""
    counts: dict[str, int] = {}
    names = []
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
        names.append(f"{label}#{counts[label]}")
    return names


def understand(word: str, known: Sequence[str]) -> tuple[str, int | None]:
    """The label that ``word`` means, of ``known``, and the number of one object, None for all: ``sofa#2`` → couch, 2.

    Case and surrounding spaces do not count, and a plural in s or es means the same. Raises UnknownName.
    """
    text, mark, number = " ".join(word.lower().split()).partition("#")
    if mark and not (number.strip().isdecimal() and int(number) > 0):
        raise UnknownName(f"{word[:40]!r} has no number after its #; an object is named as in couch#1")
    for spelling in _singulars(text.strip()):
        for label in (spelling, *_alike(spelling)):
            if label in known:
                return label, int(number) if mark else None
    raise UnknownName(f"{word[:40]!r} is nothing that these models know; they know {', '.join(known)}")


def _singulars(text: str) -> list[str]:
    """``text``, and what it would be the plural of."""
    ends = (("ves", "f"), ("es", ""), ("s", ""))
    return [text, *(text.removesuffix(end) + instead for end, instead in ends if text.endswith(end))]


def _alike(word: str) -> tuple[str, ...]:
    return next((group for group in ALIKE if word in group), ())
