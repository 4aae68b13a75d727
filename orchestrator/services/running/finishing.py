"""Makes a job's files from the picture of the models: encoded, labelled where that was asked for, and marked."""

from __future__ import annotations

import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain.marks import MAX_MANIFESTS
from orchestrator.photos import pictures
from orchestrator.photos.credentials import Source
from orchestrator.photos.label import labelled
from orchestrator.photos.marking import Marker

THUMBNAIL, TRANSFORMED, LABELLED, LOSSLESS = "thumbnail", "transformed", "labelled", "lossless"

SMALL_MANIFESTS = 2**15
"""Bytes of an upload's manifests that a thumbnail gets too: it should not become many times as large."""


class Marks(msgspec.Struct, frozen=True):
    """What the marks of one job's pictures say: made once for a job, used for each of its pictures."""

    marker: Marker
    job_id: str
    photo: bytes
    """The photo's JPEG, which a signed manifest names as the source."""
    kept: float | None = None
    """The share of the picture that a keep mask leaves as photographed."""
    photo_type: str = ""
    """What the upload said of where it comes from; see :attr:`orchestrator.domain.marks.Facts.photo_type`."""
    manifests: bytes = b""
    """The manifests that the upload carried; see :attr:`orchestrator.photos.credentials.Source.manifests`."""

    def mark(
        self, picture: bytes, release: str = "", *, stamped: bool = False, most_manifests: int = 0
    ) -> bytes:
        """The JPEG or PNG with its marks. The upload's manifests go with it unless they are larger than
        ``most_manifests`` bytes. It blocks while it computes: call it in a thread."""
        facts = self.marker.facts(
            self.job_id, time.time(), release=release, kept=self.kept, photo_type=self.photo_type
        )
        manifests = self.manifests if len(self.manifests) <= most_manifests else b""
        sources = [Source("photo.jpg", self.photo, manifests)]
        return self.marker.mark(picture, facts, sources, stamped=stamped)


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
    return {
        name: marks.mark(picture, release, stamped=False, most_manifests=SMALL_MANIFESTS)
        if name == THUMBNAIL
        else marks.mark(picture, release, stamped=True, most_manifests=MAX_MANIFESTS)
        for name, picture in files.items()
    }


def share_kept(mask: NDArray[np.uint8] | None) -> float | None:
    """The share of the picture that a keep mask, uint8 [H, W], leaves as photographed; None without a mask."""
    return None if mask is None else float(np.count_nonzero(mask) / mask.size)
