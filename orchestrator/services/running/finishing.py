"""Makes a job's files from the picture of the models: encoded, labelled where that was asked for, and marked."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from orchestrator.photos import pictures
from orchestrator.photos.credentials import Source
from orchestrator.photos.label import labelled
from orchestrator.photos.marking import Marker

THUMBNAIL, TRANSFORMED, LABELLED, LOSSLESS = "thumbnail", "transformed", "labelled", "lossless"


class Marks(msgspec.Struct, frozen=True):
    """What the marks of one job's pictures say: made once for a job, used for each of its pictures."""

    marker: Marker
    job_id: str
    photo: bytes
    """The photo's JPEG, which a signed manifest names as the source."""
    kept: float | None = None
    """The share of the picture that a keep mask leaves as photographed."""

    def mark(self, picture: bytes, release: str = "", *, stamped: bool = False) -> bytes:
        """The JPEG or PNG with its marks. It blocks while it computes: call it in a thread."""
        facts = self.marker.facts(self.job_id, time.time(), release=release, kept=self.kept)
        return self.marker.mark(picture, facts, self.sources, stamped=stamped)

    @property
    def sources(self) -> Sequence[Source]:
        return [Source("photo.jpg", self.photo)]


def finished(
    image: NDArray[np.uint8], marks: Marks, release: str, *, label: bool, lossless: bool = False
) -> dict[str, bytes]:
    """The files of a result by name, JPEGs. ``image`` is RGB uint8 [H, W, 3]. With ``label`` there is one more, with a
    visible badge, and so has the thumbnail, which is often seen first; with ``lossless`` one is a PNG, whose pixels are
    those of ``image``. It blocks while it computes."""
    # The badge is drawn at the thumbnail's own size: one that is scaled down cannot be read.
    files = {
        TRANSFORMED: pictures.jpeg(image),
        THUMBNAIL: pictures.thumbnail(image, labelled if label else None),
    }
    if label:
        files[LABELLED] = pictures.jpeg(labelled(image))
    if lossless:
        files[LOSSLESS] = pictures.lossless(image)
    return {name: marks.mark(picture, release, stamped=name != THUMBNAIL) for name, picture in files.items()}


def share_kept(mask: NDArray[np.uint8] | None) -> float | None:
    """The share of the picture that a keep mask, uint8 [H, W], leaves as photographed; None without a mask."""
    return None if mask is None else float(np.count_nonzero(mask) / mask.size)
