"""What models find in a photo does not change from one job of the photo to the next: it is computed once.

A job of a photo that has an id calls models through :class:`Reusing`. The id is given by who sends the photo, who may
forget it: then nothing that was kept under it can be found again, and it is dropped soon. Nothing is kept of a photo
without an id. Neither is anything that depends on a picture that was made.
"""

import asyncio
import hashlib
from collections.abc import Mapping

import numpy as np

from restyle.kept import Kept
from restyle.models import Models

PARTS = {"boxes": "objects", "hidden_states": "text", "latents": "photo_latents"}
"""Names for people, by a model's first output. Others are called like that output: depth, edges, lines, segments."""


class Reusing:
    """``models``, asked once for all jobs that show them the same tensors under the same photo's id.

    ``release`` is its name with its version, so that a new version computes anew. The prompt's text is kept under the
    photo's id as well: it is the user's own, and cheap.
    """

    def __init__(self, models: Models, kept: Kept | None, photo_id: str, release: str) -> None:
        self._models, self._kept, self._scope = models, kept, (photo_id, release)
        self._reused: set[str] = set()

    @property
    def reused(self) -> list[str]:
        """The parts that this job was spared, in the order of their names."""
        return sorted(self._reused)

    async def __call__(self, model: str, outputs: tuple[str, ...], **tensors: np.ndarray) -> list[np.ndarray]:
        """As of Models; the arrays of a photo with an id are not writeable. Raises ModelFailed."""
        photo_id, _ = self._scope
        if self._kept is None or not photo_id:
            return await self._models(model, outputs, **tensors)
        key = (*self._scope, model, outputs, await asyncio.to_thread(_digest, tensors))
        arrays, spared = await self._kept.get(key, lambda: self._models(model, outputs, **tensors))
        if spared:
            self._reused.add(PARTS.get(outputs[0], outputs[0]))
        return list(arrays)


def _digest(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Of names, types, shapes and content."""
    found = hashlib.blake2b(digest_size=32)
    for name, array in sorted(tensors.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.digest()
