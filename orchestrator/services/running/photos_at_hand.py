"""The decoded photo of children that run one after the other, or side by side: it is read and decoded once for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SECONDS = 10.0
"""How long a photo is kept after its last use: children begin soon after each other, or not at all."""

MOST = 4
"""How many photos are kept at most, of 12 MB and the file each (:data:`orchestrator.photos.pictures.MAX_SIDE`)."""

Photo = tuple[bytes, NDArray[np.uint8]]
"""Its file, and its pixels, RGB [H, W, 3], not writeable: several have them."""


@dataclass
class _Entry:
    photo: asyncio.Future[Photo]
    forgetting: asyncio.TimerHandle | None = field(default=None)


class PhotosAtHand:
    """Belongs to one event loop."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._entries: dict[str, _Entry] = {}
        """By storage key, the one that was used longest ago first."""

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: str, read: Callable[[], Awaitable[Photo]]) -> Photo:
        """The photo of this key. Raises what ``read`` raises, which others then call again."""
        while entry := self._entries.get(key):
            self._use(key, entry)
            # The caller that reads may fail, or be cancelled: then this one reads.
            await asyncio.wait([entry.photo])
            if not entry.photo.cancelled():
                return entry.photo.result()
        entry = self._entries[key] = _Entry(asyncio.get_running_loop().create_future())
        try:
            photo = await read()
            photo[1].setflags(write=False)
        except BaseException:
            self._forget(key)
            raise
        entry.photo.set_result(photo)
        self._use(key, entry)
        # One that is being read stays: somebody waits for it.
        kept = [each for each, other in self._entries.items() if other.photo.done()]
        for each in kept[:-MOST]:
            self._forget(each)
        return photo

    def _use(self, key: str, entry: _Entry) -> None:
        if self._entries.get(key) is not entry:
            return
        self._entries[key] = self._entries.pop(key)
        if entry.forgetting is not None:
            entry.forgetting.cancel()
        if entry.photo.done():
            # By a timer, so that an idle worker keeps nothing either.
            loop = asyncio.get_running_loop()
            entry.forgetting = loop.call_later(self._seconds, self._forget, key)

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        if entry.forgetting is not None:
            entry.forgetting.cancel()
        entry.photo.cancel()
