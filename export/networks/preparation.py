"""What a network that looks at photos wants them turned into: its input size, its normalisation, its interpolation.

The graphs take photos of any size and have one input size inside, so a rule such as "the shortest edge is 512" must
become numbers. A source says what it wants in preprocessor_config.json; a bundle may overrule the size.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from export.bundle import Bundle, BundleError
from export.sources.opening import source_folder

Mode = Literal["bilinear", "bicubic"]
Normalisation = tuple[list[float], list[float]]
"""Mean and standard deviation of red, green and blue, of pixels in 0..1."""

UNIT: Normalisation = ([0.0] * 3, [1.0] * 3)
HALF: Normalisation = ([0.5] * 3, [0.5] * 3)
IMAGENET: Normalisation = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

PREPROCESSOR = "preprocessor_config.json"

USUAL_ASPECT = 4 / 3
"""Of the photos that cameras and telephones take."""

_MODES: dict[int, Mode] = {2: "bilinear", 3: "bicubic"}
"""By PIL's numbers."""

_SIDES = {"upernet": 512, "segformer": 512}
"""Of networks whose config.json does not say it: theirs is the size that the backbone was first trained for."""


@dataclass(frozen=True)
class Preparation:
    """``size`` is (height, width) in pixels."""

    size: tuple[int, int]
    mean: list[float]
    std: list[float]
    mode: Mode


def preparation(
    bundle: Bundle, name: str, config: Any, usual: Normalisation, mode: Mode = "bilinear"
) -> Preparation:
    """What the network ``name`` of a bundle, which has this configuration, wants.

    ``usual`` and ``mode`` are those of its class, for sources without a preprocessor_config.json. Raises BundleError
    when the size is not one that the network can take.
    """
    said = _preprocessor(bundle, name)
    step = _step(config)
    size = bundle.networks[name].input_size or _said_size(said, step) or _configured_size(name, config)
    if any(side % step for side in size):
        height, width = size
        raise BundleError(
            f"networks.{name}: photos would be resized to {height}×{width}, and its patches have sides of {step} "
            f"pixels: write an input_size of multiples, such as [{_multiple(height, step)}, {_multiple(width, step)}]"
        )
    return Preparation(
        size=size,
        mean=_three(said.get("image_mean"), usual[0]),
        std=_three(said.get("image_std"), usual[1]),
        mode=_MODES.get(said.get("resample", -1), mode),
    )


def _preprocessor(bundle: Bundle, name: str) -> dict[str, Any]:
    """The content of the source's preprocessor_config.json; {} without one."""
    folder = source_folder(bundle, name)
    if folder is None or not (file := folder / PREPROCESSOR).is_file():
        return {}
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise BundleError(f"networks.{name}: cannot read {file}: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"networks.{name}: {file} is not a JSON object")
    return content


def _said_size(said: dict[str, Any], step: int) -> tuple[int, int] | None:
    size = said.get("size")
    longest = said.get("max_size")
    if isinstance(size, dict):
        if "height" in size and "width" in size:
            return int(size["height"]), int(size["width"])
        longest = size.get("longest_edge", longest)
        size = size.get("shortest_edge")
    elif size is not None and longest is None:
        return int(size), int(size)
    return None if size is None else _square(int(size), longest, step)


def _square(shortest: int, longest: int | None, step: int) -> tuple[int, int]:
    """The square that has the area which a photo of the usual aspect gets when its shortest edge is made ``shortest``.

    A square, because photos are tall as often as wide, and one graph serves all: it squeezes a usual photo by an eighth
    a side. Its area, because the cost and the size of the smallest thing that is found depend on that.
    """
    side = min(shortest * math.sqrt(USUAL_ASPECT), longest or math.inf)
    return (_multiple(side, step),) * 2


def _configured_size(name: str, config: Any) -> tuple[int, int]:
    if config.model_type in _SIDES:
        return (_SIDES[config.model_type],) * 2
    backbone = getattr(config, "backbone_config", None)
    size = getattr(config, "image_size", None) or getattr(backbone, "image_size", None)
    if size is None:
        raise BundleError(
            f"networks.{name}: neither its {PREPROCESSOR} nor its config.json says what size it takes photos in: "
            "write input_size = [height, width]"
        )
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _step(config: Any) -> int:
    """The size must be a multiple of this."""
    patch = getattr(config, "patch_size", None)
    return patch if isinstance(patch, int) else max(patch) if patch else 1


def _multiple(side: float, step: int) -> int:
    return max(step, round(side / step) * step)


def _three(said: Any, usual: list[float]) -> list[float]:
    return [float(value) for value in said] if isinstance(said, list) and len(said) == 3 else usual
