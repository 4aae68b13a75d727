"""Does what is kept stay, to the last bit, and do palettes do what they say?

    python -m benchmarks.keep                             # dollhouse, into results/keep.json
    python -m benchmarks.keep --choose                    # palette strengths, on rooms that are for choosing
    python -m benchmarks.keep --bundle tiny --rooms 4 --out /tmp/keep.json

Kept: KEPT rooms, each with a painted mask, an object by its name, a label, a box, or a label that alone is changed, in
turn, at several sizes. The result is written as PNG, read again and compared with the photo
where it must be the same, by a mask that is computed here and not by the models.

differing_pixels     of all rooms together: the goal is none
restyled_share       of the pixels that may change, how many did: a result that is the photo would pass the first

Palette: each room is restyled three times with its own seed: without a palette (the seed may choose one), with one that
shares no colour with it by words alone (``palette_strength`` 0), and as the service does it. The distance is that of
``dollhouse.evaluate.likeness``: mean ΔE (CIE 1976) to the nearest of the palette's colours, not the models' own
measure.

palette_falls        share of rooms whose picture is nearer to the palette than without it: the goal
words_alone          that share without the nudge
quality_lost         what the nudge takes from the quality score, the mean
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from dollhouse.evaluate.held_out import CHOOSING, MEASURED, HeldOutRoom, held_out_rooms
from dollhouse.evaluate.likeness import colour_distance
from dollhouse.evaluate.wishes import drawn_palette
from dollhouse.render.rooms import STYLES
from measuring import report
from measuring.gates import Gate
from measuring.releases import ready_release
from measuring.service import DEADLINE, Service
from measuring.serving import asked
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import STYLES as WORDS
from orchestrator.photos.pictures import lossless
from reroom.triton import Analysis, RestyleRequest, Result

KEPT = 50
ROOMS = 40
SIZES = ((256, 256), (480, 640), (601, 397), (768, 1024))
KINDS = ("painted", "object", "label", "box", "change")
EXACT = Gate(at_most=0)
FALLS = Gate(at_least=0.8)
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Wish:
    """A request, and what must stay of its photo."""

    kind: str
    request: RestyleRequest
    kept: Mask


def boxed(shape: Sequence[int], box: Sequence[float]) -> Mask:
    """The pixels that lie wholly in a box."""
    height, width = shape[:2]
    mask = np.zeros((height, width), np.bool_)
    left, top, right, bottom = box
    mask[
        int(np.ceil(top * height)) : int(np.floor(bottom * height)),
        int(np.ceil(left * width)) : int(np.floor(right * width)),
    ] = True
    return mask


def painted(shape: Sequence[int], choices: np.random.Generator) -> Mask:
    """Blobs with soft borders, cut at half their height: about a third of the photo."""
    height, width = shape[:2]
    noise = choices.standard_normal((6, 8)).astype(np.float32)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) > 0.4)


def wish_of(
    kind: str, photo: NDArray[np.uint8], objects: Sequence[dict[str, Any]], choices: np.random.Generator
) -> Wish:
    """A room's request. Where nothing was seen, a box stands for the object."""
    style = WORDS[STYLES[int(choices.integers(len(STYLES)))]]
    plain = RestyleRequest(image=photo, prompt=style.prompt, seed=int(choices.integers(1000)))
    if kind == "painted":
        mask = painted(photo.shape, choices)
        return Wish(kind, msgspec.structs.replace(plain, keep_mask=mask * np.uint8(255)), mask)
    if kind == "box" or not objects:
        left, top, width, height = map(float, (*choices.uniform(0, 0.6, 2), *choices.uniform(0.1, 0.4, 2)))
        box = (left, top, left + width, top + height)
        return Wish("box", msgspec.structs.replace(plain, keep_boxes=(box,)), boxed(photo.shape, box))
    chosen = objects[int(choices.integers(len(objects)))]
    if kind == "object":
        return Wish(
            kind, msgspec.structs.replace(plain, keep=(chosen["name"],)), boxed(photo.shape, chosen["box"])
        )
    alike = [boxed(photo.shape, each["box"]) for each in objects if each["label"] == chosen["label"]]
    if kind == "label":
        return Wish(kind, msgspec.structs.replace(plain, keep=(chosen["label"],)), np.any(alike, axis=0))
    # A pixel that a box touches may change.
    grown = [cv2.dilate(each.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0 for each in alike]
    return Wish(kind, msgspec.structs.replace(plain, change=(chosen["label"],)), ~np.any(grown, axis=0))


async def answered(service: Service, request: RestyleRequest) -> tuple[list[dict[str, Any]], Result]:
    """The objects of the photo, and the result."""
    objects: list[dict[str, Any]] = []
    async with aclosing(service.restyling.restyle(request, deadline=DEADLINE)) as events:
        async for event in events:
            if isinstance(event, Analysis):
                objects = event.objects
            elif isinstance(event, Result):
                return objects, event
    raise AssertionError("the stream ended without a result")


def read_again(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture after a file without loss."""
    with Image.open(io.BytesIO(lossless(image))) as opened:
        return np.asarray(opened.convert("RGB"))


def photos_of(count: int, seeds: Sequence[int]) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """(number, seed, photo) of so many rooms."""
    for number in range(count):
        height, width = SIZES[number % len(SIZES)]
        # Rooms are rendered in eights of pixels.
        (room,) = held_out_rooms([seeds[number]], (-(-height // 8) * 8, -(-width // 8) * 8))
        yield number, room.seed, np.ascontiguousarray(room.photo[:height, :width])


async def keep(service: Service, count: int) -> dict[str, Any]:
    differing, free, changed, kinds = 0, 0, 0, dict.fromkeys(KINDS, 0)
    for number, seed, photo in photos_of(count, MEASURED):
        choices = np.random.Generator(np.random.Philox(key=[seed, 152]))
        seen = await service.restyling.analyse(photo, deadline=DEADLINE)
        wish = wish_of(KINDS[number % len(KINDS)], photo, seen.objects, choices)
        _, result = await answered(service, wish.request)
        kinds[wish.kind] += 1
        apart = (read_again(result.image) != photo).any(-1)
        differing += int(apart[wish.kept].sum())
        may = ~cv2.dilate(wish.kept.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(np.bool_)
        free, changed = free + int(may.sum()), changed + int(apart[may].sum())
    return {
        "rooms": count,
        "kinds": kinds,
        "differing_pixels": differing,
        "restyled_share": changed / max(1, free),
    }


async def of_palette(
    service: Service, room: HeldOutRoom, strengths: Sequence[float | None]
) -> dict[str, Any]:
    """The distances of one room's pictures: without a palette, and with one at each strength; None = the default."""
    style = STYLES[room.seed // len(STYLES) % len(STYLES)]
    plain = (await service.restyle(room.photo, style, Preferences(seed=room.seed))).result
    palette = drawn_palette(room.seed, plain.palette or ())
    found: dict[str, Any] = {"palette": palette, "plain": colour_distance(plain.image, palette)}
    for strength in strengths:
        wishes = Preferences(seed=room.seed, color_palette=list(palette), palette_strength=strength)
        made = (await service.restyle(room.photo, style, wishes)).result
        found[name_of(strength)] = colour_distance(made.image, palette)
        found[f"quality {name_of(strength)}"] = made.quality["score"]
    return found


def name_of(strength: float | None) -> str:
    return "default" if strength is None else f"{strength:g}"


async def palettes(
    service: Service, seeds: Sequence[int], strengths: Sequence[float | None]
) -> dict[str, Any]:
    found = []
    for room in held_out_rooms(seeds, service.release.side):
        found.append(await of_palette(service, room, strengths))
    document: dict[str, Any] = {"rooms": len(found), "distance": {"plain": mean(found, "plain")}}
    document["falls"], document["quality"] = {}, {}
    for strength in map(name_of, strengths):
        document["distance"][strength] = mean(found, strength)
        document["falls"][strength] = float(np.mean([each[strength] < each["plain"] for each in found]))
        document["quality"][strength] = mean(found, f"quality {strength}")
    return document


def mean(found: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.mean([each[name] for each in found]))


async def everything(service: Service, rooms: int) -> dict[str, Any]:
    kept = await keep(service, min(KEPT, rooms))
    palette = await palettes(service, MEASURED[:rooms][:ROOMS], (0.0, None))
    return {
        "differing_pixels": kept["differing_pixels"],
        "palette_falls": palette["falls"]["default"],
        "words_alone": palette["falls"]["0"],
        "quality_lost": palette["quality"]["0"] - palette["quality"]["default"],
        "kept": kept,
        "palette": palette,
    }


def table(document: dict[str, Any]) -> Table:
    made = Table(document["release"], "", "goal", box=None)
    differing, falls = document["differing_pixels"], document["palette_falls"]
    made.add_row("differing pixels", f"{differing}", report.reached(EXACT, differing))
    made.add_row("restyled elsewhere", f"{document['kept']['restyled_share']:.3f}", "")
    made.add_row("nearer to the palette", f"{falls:.2f}", report.reached(FALLS, falls))
    made.add_row("by words alone", f"{document['words_alone']:.2f}", "")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.keep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse")
    parser.add_argument("--rooms", type=int, default=KEPT)
    parser.add_argument("--choose", action="store_true", help="only print what each palette strength does")
    parser.add_argument("--out", type=Path, default=RESULTS / "keep.json")
    given = parser.parse_args()
    release = ready_release(given.bundle)
    around = report.circumstances()
    console = Console()
    if given.choose:
        chosen = asked(release, lambda service: palettes(service, CHOOSING[: given.rooms], STRENGTHS))
        console.print_json(data=chosen)
        return 0
    document = {
        **asked(release, lambda service: everything(service, given.rooms)),
        **release.described,
        **around,
    }
    report.write(given.out, document)
    console.print(table(document))
    console.print(f"wrote {given.out}")
    passed = document["differing_pixels"] == 0 and document["palette_falls"] >= FALLS.bound
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
