"""Select: what stays as photographed, by names of objects, boxes and a painted mask → one mask."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from restyle.models import SEGMENTS, Models, hint_of
from restyle.names import OUTLINES, UnknownName, understand
from restyle.pictures.images import Bytes, Fit, inside
from restyle.release import Release
from restyle.request import Area, InvalidRequest, Request
from restyle.stages.see import SeenPhoto

LEAST_OUTLINE = 0.1
"""An outline that covers less of its object's box than this is not believed: the whole box is taken."""

NEAR = 1e-3
"""Pixels: a box that reaches less far into a pixel does not touch it. Boxes come in FP32."""

By = Literal["outline", "box"]


@dataclass(frozen=True)
class SelectedObject:
    """Something in the photo that a request named."""

    name: str
    """Of an object that was seen, such as ``couch#1``; ``wall`` where all that an outline shows of a kind is meant; or
    ``box`` for a box of the request's own."""
    by: By
    """What its part of the mask follows."""


@dataclass(frozen=True)
class Selection:
    """What stays of a photo."""

    keep_mask: Bytes | None
    """UINT8 [H,W] of the photo's size, > 127 = kept; None when the whole photo is restyled."""
    kept: list[SelectedObject] = field(default_factory=list)
    changed: list[SelectedObject] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """Words of ``keep`` for things that are not in the photo."""

    @property
    def share(self) -> float:
        """The share of the photo that stays, 0..1."""
        return 0.0 if self.keep_mask is None else round(float((self.keep_mask > 127).mean()), 4)


async def select(request: Request, seen: SeenPhoto, release: Release, models: Models) -> Selection:
    """What the request keeps. What it names for change is all that is changed, but for what it keeps.

    Raises InvalidRequest for words that mean nothing to the release, and where nothing is left to change because
    nothing of ``change`` was seen; ModelFailed.
    """
    if not (request.keep or request.change):
        return Selection(request.keep_mask)
    outlines = await _outlines(seen, release, models)
    return await asyncio.to_thread(_selected, request, seen, release.labels, outlines)


async def _outlines(seen: SeenPhoto, release: Release, models: Models) -> Bytes | None:
    """Each pixel of the bucket in the colour of its kind of thing, UINT8 [H,W,3]; None where no graph tells."""
    return await hint_of(SEGMENTS, seen.photo, seen.hints, models) if SEGMENTS in release.versions else None


def _selected(request: Request, seen: SeenPhoto, labels: Sequence[str], outlines: Bytes | None) -> Selection:
    find = _Finder(request.image.shape[:2], seen.fit, seen.objects, labels, outlines)
    kept, kept_objects, unseen = find.all_of("keep", request.keep)
    if request.keep_mask is not None:
        kept |= request.keep_mask > 127
    changed_objects: list[SelectedObject] = []
    if request.change:
        changed, changed_objects, _ = find.all_of("change", request.change)
        if not changed.any():
            raise InvalidRequest(f"nothing of change is in the photo: {find.seen}")
        kept |= ~changed
    mask = (kept * np.uint8(255)) if kept.any() else None
    return Selection(mask, kept_objects, changed_objects, unseen)


class _Finder:
    """Finds areas in one photo."""

    def __init__(
        self,
        size: tuple[int, int],
        fit: Fit,
        objects: Sequence[dict[str, Any]],
        labels: Sequence[str],
        outlines: Bytes | None,
    ) -> None:
        self._size, self._fit, self._objects, self._outlines = size, fit, objects, outlines
        self._known = [*labels, *(name for name in OUTLINES if outlines is not None and name not in labels)]

    @property
    def seen(self) -> str:
        """For messages."""
        names = ", ".join(each["name"] for each in self._objects)
        return f"the models see {names}" if names else "the models see no objects in it"

    def all_of(
        self, field: str, areas: Sequence[Area]
    ) -> tuple[NDArray[np.bool_], list[SelectedObject], list[str]]:
        """BOOL [H,W] of the areas together, what they are, and the words for things that are not there. Raises
        InvalidRequest."""
        mask = np.zeros(self._size, np.bool_)
        found: list[SelectedObject] = []
        unseen: list[str] = []
        for area in areas:
            if not isinstance(area, str):
                mask[self._box(area)] = True
                found.append(SelectedObject("box", "box"))
                continue
            named = self._named(field, area)
            for each, part in named:
                mask |= part
                if each not in found:
                    found.append(each)
            if not named:
                unseen.append(area)
        return mask, found, unseen

    def _named(self, field: str, word: str) -> list[tuple[SelectedObject, NDArray[np.bool_]]]:
        try:
            label, number = understand(word, self._known)
        except UnknownName as error:
            raise InvalidRequest(f"{field}: {error}") from error
        objects = [each for each in self._objects if each["label"] == label]
        if number is not None:
            # One object of this photo is meant: without it, a part of the picture would be lost that the user loves.
            objects = [each for each in objects if each["name"] == f"{label}#{number}"]
            if not objects:
                raise InvalidRequest(f"{field}: {word[:40]!r} is not in the photo: {self.seen}")
        if objects:
            return [self._object(each) for each in objects]
        outline = self._outline(label)
        if outline is None or not outline.any():
            return []
        return [(SelectedObject(label, "outline"), outline)]

    def _object(self, found: dict[str, Any]) -> tuple[SelectedObject, NDArray[np.bool_]]:
        box = self._box(found["box"])
        part = np.zeros(self._size, np.bool_)
        outline = self._outline(found["label"])
        if outline is not None and outline[box].mean() >= LEAST_OUTLINE:
            part[box] = outline[box]
            return SelectedObject(found["name"], "outline"), part
        part[box] = True
        return SelectedObject(found["name"], "box"), part

    def _box(self, box: Sequence[float]) -> tuple[slice, slice]:
        """The pixels that a box in 0..1 touches: at least one each way."""
        height, width = self._size
        (left, right), (top, bottom) = sorted(box[::2]), sorted(box[1::2])
        return _touched(top, bottom, height), _touched(left, right, width)

    def _outline(self, label: str) -> NDArray[np.bool_] | None:
        """BOOL [H,W] of everything of that kind; None where outlines are not known."""
        if self._outlines is None or label not in OUTLINES:
            return None
        colours = [np.array(list(bytes.fromhex(each)), np.uint8) for each in OUTLINES[label]]
        shown = inside(self._outlines, self._fit)
        kind = np.any([(shown == colour).all(-1) for colour in colours], axis=0)
        height, width = self._size
        # Smoothly: the outline is of the network's size, and would have stairs at the photo's.
        grown = cv2.resize(kind.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(grown >= 0.5)


def _touched(low: float, high: float, size: int) -> slice:
    first = min(size - 1, int(np.floor(low * size + NEAR)))
    return slice(first, max(first + 1, int(np.ceil(high * size - NEAR))))
