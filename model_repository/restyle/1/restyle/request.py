"""A request's tensors → a complete, typed :class:`Request` whose values are in range."""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from restyle.demands import DEMANDS
from restyle.palette import Palette, choose_palette, measured, palette_of, with_palette
from restyle.pictures.images import Floats, fit_photo
from restyle.release import QUALITIES, Defaults, Release
from restyle.solver import DISTILLED, LCM_STEPS, MAX_STEPS

MIN_SIDE, MAX_SIDE, MAX_ASPECT = 32, 8192, 4
MAX_LATENT = 1e4
MAX_PARTS, MAX_PROMPT = 8, 4000
MAX_COLOURS, MAX_PALETTE = 8, 400
MAX_PHOTO_ID = 100
MAX_AREAS, MAX_NAME = 32, 2000
PALETTE_STRENGTH, REFERENCE_STRENGTH = 0.5, 0.6
"""How far a picture's colours are moved towards the colours of the request, where it does not say."""
MAX_GUIDANCE, MAX_CONTROL = 50.0, 2.0
SIZES = ("models", "photo")

Number = TypeVar("Number", int, float, bool)
Values = dict[str, Any]
"""The tensors of a request by name: arrays, and tuples of str for strings. Optional ones may be missing."""


Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in 0..1 of the photo, from its top left."""
Area: TypeAlias = str | Box
"""A part of the photo: the name of something in it (see :mod:`restyle.names`), or a box."""


class InvalidRequest(ValueError):
    """An input is wrong; the message names it and says what it may be."""


@dataclass(frozen=True)
class Request:
    """Every field is checked, and filled in where the request leaves it out; docs/models.md says what each means."""

    image: NDArray[np.uint8]
    prompt: tuple[str, ...]
    """Its parts, the palette's words among them; see :mod:`restyle.prompt`."""
    palette: Palette
    """() = the style's own colours, or those that ``prompt`` names."""
    colours: Floats | None
    """Those of the palette that are known, OKLab [N,3]; None where none is."""
    palette_strength: float
    """How far, 0..1, the picture's colours are moved towards them; 0 where the request names none itself."""
    reference: NDArray[np.uint8] | None
    """[h,w,3]: a picture whose colours are wanted."""
    reference_strength: float
    """How far, 0..1, the picture's colours are moved towards those."""
    negative_prompt: tuple[str, ...]
    seed: int
    steps: int
    solver: str
    guidance_scale: float
    strength: float
    control_scale: tuple[float, float]
    keep_mask: NDArray[np.uint8] | None
    keep: tuple[Area, ...]
    """What stays as photographed beside what ``keep_mask`` keeps."""
    change: tuple[Area, ...]
    """() = everything that is not kept is restyled; otherwise only this."""
    preview_every: int
    attempts: int
    detail: float
    """How much of the photo's own detail the result gets; 0 = the network's pixels, at their size."""
    size: str
    """Of SIZES: that of the photo, or the models' own; a result in the photo's detail has the photo's in any case."""
    latents: NDArray[np.float32] | None
    quality: str | None
    """What was asked for, of QUALITIES."""
    tier: Defaults
    """What the release has for it: how the steps are taken."""
    photo_id: str
    """Requests with the same photo and id share what the models find in it; "" = nothing of it is kept."""
    demands: dict[str, float]
    """{measure: the least that the picture must have}; see :mod:`restyle.demands`."""
    words: tuple[str, ...]
    """The prompt without the palette."""
    palettes: tuple[Palette, ...]
    """From which the seed has chosen; () = the palette was asked for, or is that of the reference."""

    @property
    def guided(self) -> bool:
        """Whether the negative prompt has an effect: at a guidance scale of at most 1 it has none."""
        return self.guidance_scale > 1.0

    def with_seed(self, seed: int) -> "Request":
        """The same request with another seed, and with its palette where the seed chooses one."""
        palette = choose_palette(seed, self.words, self.palettes) if self.palettes else self.palette
        prompt = with_palette(self.words, palette)
        return replace(self, seed=seed, palette=palette, colours=measured(palette), prompt=prompt)


def is_probe(values: Values) -> bool:
    """Whether the request asks only if this process serves."""
    return _number(values, "probe", bool, False)


def named_release(values: Values) -> int:
    """The version of the release that the request is to be served by; 0 = the live one. See
    :meth:`restyle.releases.Releases.using`."""
    return _number(values, "release", int, 0)


def parse_photo(values: Values) -> NDArray[np.uint8]:
    """The photo of a request, RGB [H,W,3]. Raises InvalidRequest."""
    image: NDArray[np.uint8] = values["image"]
    height, width, _ = image.shape
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise InvalidRequest(
            f"image must have sides of {MIN_SIDE} to {MAX_SIDE} pixels, not {width}×{height}"
        )
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise InvalidRequest(
            f"image must be at most {MAX_ASPECT} times as long as wide, not {width}×{height}"
        )
    return image


def _drawn_seed(release: Release) -> int:
    """It survives JavaScript, whose integers end at 2**53, and chooses the first palette, which is the style's own: who
    asks for no colours and no seed wants what the style promises."""
    palettes = max(1, len(release.palettes))
    return secrets.randbelow(2**53 // palettes) * palettes


def parse_request(values: Values, release: Release) -> Request:
    """Fill in the release's defaults and check every range. Raises InvalidRequest."""
    quality = _quality(values)
    defaults = release.defaults_of(quality)
    image = parse_photo(values)
    seed = int(values["seed"][0]) if "seed" in values else _drawn_seed(release)  # a seed of 0 is a seed
    prompt = _words(values, "prompt", MAX_PARTS, MAX_PROMPT)
    palette = tuple(filter(None, map(str.strip, _words(values, "palette", MAX_COLOURS, MAX_PALETTE))))
    reference = _reference(values)
    asked_for = bool(palette)
    palette_strength = _number(values, "palette_strength", float, PALETTE_STRENGTH)
    if "palette" not in values:
        palette = (
            choose_palette(seed, prompt, release.palettes) if reference is None else palette_of(reference)
        )
    request = Request(
        image=image,
        prompt=with_palette(prompt, palette),
        palette=palette,
        colours=measured(palette),
        palette_strength=palette_strength if asked_for else 0.0,
        reference=reference,
        reference_strength=_number(values, "reference_strength", float, REFERENCE_STRENGTH),
        negative_prompt=_words(values, "negative_prompt", MAX_PARTS, MAX_PROMPT),
        seed=seed,
        steps=_number(values, "steps", int, defaults.steps),
        solver=values["solver"][0] if "solver" in values else defaults.solver,
        guidance_scale=_number(values, "guidance_scale", float, defaults.guidance_scale),
        strength=_strength(values, defaults.strength),
        control_scale=_control_scale(values, defaults.control_scale),
        keep_mask=values.get("keep_mask"),
        keep=_areas(values, "keep"),
        change=_areas(values, "change"),
        preview_every=_number(values, "preview_every", int, 0),
        attempts=_number(values, "attempts", int, 1),
        detail=_number(values, "detail", float, defaults.detail),
        size=_size(values),
        latents=values.get("latents"),
        quality=quality,
        tier=release.in_style(defaults, values["style"][0] if "style" in values else ""),
        photo_id=_photo_id(values),
        demands=_demands(values),
        words=prompt,
        palettes=() if "palette" in values or reference is not None else release.palettes,
    )
    _check_mask(request)
    distilled = {defaults.solver} & DISTILLED
    _check_numbers(request, (*release.solvers, *distilled))
    _check_latents(request, release)
    if request.strength == defaults.strength and "strength" not in values:
        request = replace(request, steps=_whole_steps(request.steps, request.strength))
    return request


def _quality(values: Values) -> str | None:
    """What the request asks for. Raises InvalidRequest."""
    quality: str | None = values["quality"][0] if "quality" in values else None
    if quality is not None and quality not in QUALITIES:
        raise InvalidRequest(f"quality must be one of {', '.join(QUALITIES)}, not {quality[:40]!r}")
    return quality


def _words(values: Values, name: str, most: int, longest: int) -> tuple[str, ...]:
    words: tuple[str, ...] = values.get(name, ())
    if len(words) > most:
        raise InvalidRequest(f"{name} must be at most {most} strings, not {len(words)}")
    length = sum(map(len, words))
    if length > longest:
        raise InvalidRequest(f"{name} must be at most {longest} characters, not {length}")
    return words


def _size(values: Values) -> str:
    """Raises InvalidRequest."""
    size: str = values["size"][0] if "size" in values else SIZES[0]
    if size not in SIZES:
        raise InvalidRequest(f"size must be one of {', '.join(SIZES)}, not {size[:40]!r}")
    return size


def _reference(values: Values) -> NDArray[np.uint8] | None:
    """The picture whose colours are wanted. Raises InvalidRequest."""
    reference: NDArray[np.uint8] | None = values.get("reference")
    if reference is not None and not (reference.ndim == 3 and reference.shape[2] == 3 and reference.size):
        raise InvalidRequest(f"reference must be a picture [h,w,3], not {list(reference.shape)}")
    return reference


def _areas(values: Values, name: str) -> tuple[Area, ...]:
    """The names in the input ``name`` and the boxes in ``name``_boxes. Raises InvalidRequest."""
    words = tuple(filter(None, map(str.strip, _words(values, name, MAX_AREAS, MAX_NAME))))
    boxes = values.get(f"{name}_boxes", np.zeros((0, 4), np.float32))
    if len(boxes) > MAX_AREAS:
        raise InvalidRequest(f"{name}_boxes must be at most {MAX_AREAS} boxes, not {len(boxes)}")
    if not ((boxes >= 0.0) & (boxes <= 1.0)).all():  # also false for NaN
        raise InvalidRequest(
            f"{name}_boxes must be 0 to 1: left, top, right and bottom in shares of the photo"
        )
    return (*words, *(_box(box) for box in boxes))


def _box(box: NDArray[np.float32]) -> Box:
    left, top, right, bottom = map(float, box)
    return left, top, right, bottom


def _demands(values: Values) -> dict[str, float]:
    """Raises InvalidRequest."""
    found = {}
    for name, measure in DEMANDS.items():
        least = _number(values, name, float, 0.0)
        if not 0.0 <= least <= 1.0:
            raise InvalidRequest(f"{name} must be 0 to 1, not {least:g}")
        if least > 0.0:
            found[measure] = least
    return found


def _photo_id(values: Values) -> str:
    photo_id: str = values["photo_id"][0] if "photo_id" in values else ""
    if len(photo_id) > MAX_PHOTO_ID:
        raise InvalidRequest(f"photo_id must be at most {MAX_PHOTO_ID} characters, not {len(photo_id)}")
    return photo_id


def _strength(values: Values, default: float) -> float:
    """The request's strength, or else the release's default, at most ``max_strength``. Raises InvalidRequest."""
    limit = _number(values, "max_strength", float, 1.0)
    _check_strength("max_strength", limit)
    return _number(values, "strength", float, min(default, limit))


def _control_scale(values: Values, default: tuple[float, float]) -> tuple[float, float]:
    """What is asked for, or the release's default times 0..2 for a ``structure`` of 0..1. Raises InvalidRequest."""
    if "structure" not in values:
        depth, edges = values.get("control_scale", default)
        return float(depth), float(edges)
    if "control_scale" in values:
        raise InvalidRequest("give control_scale or structure, not both")
    structure = _number(values, "structure", float, 0.5)
    if not 0.0 <= structure <= 1.0:
        raise InvalidRequest(f"structure must be 0 to 1, not {structure:g}")
    depth, edges = (min(MAX_CONTROL, 2.0 * structure * scale) for scale in default)
    return depth, edges


def _whole_steps(steps: int, strength: float) -> int:
    """A number of steps near ``steps`` of which ``strength`` is a whole number of steps, at least one.

    Without a strength of its own, a request begins where the networks were trained to, for every number of steps. 8
    steps at a strength of 0.2 would otherwise run the last step alone, from an eighth of the schedule, not a fifth.
    """
    run = max(1, int(strength * steps + 1e-9))
    return math.ceil(run / strength - 1e-9)


def _number(values: Values, name: str, kind: Callable[[Any], Number], default: Number) -> Number:
    return kind(values[name][0]) if name in values else default


def _check_mask(request: Request) -> None:
    height, width, _ = request.image.shape
    if request.keep_mask is not None and request.keep_mask.shape != (height, width):
        raise InvalidRequest(
            f"keep_mask must be [{height},{width}] like the image, not {list(request.keep_mask.shape)}"
        )


def _check_numbers(request: Request, solvers: tuple[str, ...]) -> None:
    def within(name: str, value: float, low: float, high: float) -> None:
        if not (math.isfinite(value) and low <= value <= high):
            raise InvalidRequest(f"{name} must be {low:g} to {high:g}, not {value:g}")

    if request.solver not in solvers:
        raise InvalidRequest(f"solver must be one of {', '.join(solvers)}, not {request.solver[:40]!r}")
    if request.seed < 0:
        raise InvalidRequest(f"seed must be 0 to 2**63 - 1, not {request.seed}")
    within("steps", request.steps, 1, LCM_STEPS if request.solver == "lcm" else MAX_STEPS)
    within("guidance_scale", request.guidance_scale, 0.0, MAX_GUIDANCE)
    for value in request.control_scale:
        within("control_scale", value, 0.0, MAX_CONTROL)
    within("preview_every", request.preview_every, 0, MAX_STEPS)
    within("attempts", request.attempts, 1, 2)
    within("detail", request.detail, 0.0, 1.0)
    within("palette_strength", request.palette_strength, 0.0, 1.0)
    within("reference_strength", request.reference_strength, 0.0, 1.0)
    _check_strength("strength", request.strength)


def _check_latents(request: Request, release: Release) -> None:
    if request.latents is None:
        return
    if not (np.abs(request.latents) <= MAX_LATENT).all():  # also false for NaN
        raise InvalidRequest(f"latents must be -{MAX_LATENT:g} to {MAX_LATENT:g}")
    _, *shape = release.latent_shape(fit_photo(*request.image.shape[:2], release.buckets))
    if list(request.latents.shape) != shape:
        raise InvalidRequest(
            f"latents must be {shape} for a photo of this shape, not {list(request.latents.shape)}"
        )


def _check_strength(name: str, value: float) -> None:
    if not (math.isfinite(value) and 0.0 < value <= 1.0):
        raise InvalidRequest(f"{name} must be above 0 and at most 1, not {value:g}")
