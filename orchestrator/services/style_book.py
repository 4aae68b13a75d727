"""The styles that the service offers: those of this version, and those of the operator's file as it is now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from orchestrator.domain.style_pictures import FOLDER, StylePicture, load_pictures
from orchestrator.domain.styles import BUILT_IN, STYLES, Style, StylesError, load_styles

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""How long a change of the file may go unseen."""

_Seen = tuple[tuple[str, int, int, int], ...] | None
"""What changes when a file does: its path, time, size and inode."""


class Styles(msgspec.Struct, frozen=True):
    """All styles at one moment."""

    by_name: Mapping[str, Style] = STYLES
    pictures: Mapping[str, StylePicture] = MappingProxyType({})


class StyleBook:
    """Reads the operator's file again when it, or a picture beside it, has changed.

    A file that is wrong is not taken: the styles stay as they were, and the log says why, once. Raises StylesError when
    it is wrong at the start. ``clock`` gives seconds.
    """

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._own_pictures = load_pictures(BUILT_IN.with_name(FOLDER))
        self._seen, self._checked = _seen(file), clock()
        self._styles = self._read()

    def now(self) -> Styles:
        """The styles as of now, or of CHECK_SECONDS before."""
        if self._file is not None and self._clock() - self._checked >= CHECK_SECONDS:
            self._checked = self._clock()
            seen = _seen(self._file)
            if seen != self._seen:
                self._seen = seen
                self._reread()
        return self._styles

    def _reread(self) -> None:
        try:
            self._styles = self._read()
        except StylesError as error:
            log.warning("the styles stay as they were: %s", error)
        else:
            log.info("the styles were read again: there are %d", len(self._styles.by_name))

    def _read(self) -> Styles:
        if self._file is None:
            return Styles(STYLES, self._own_pictures)
        pictures = {**self._own_pictures, **load_pictures(self._file.with_name(FOLDER))}
        return Styles(load_styles(self._file, STYLES), pictures)


def _seen(file: Path | None) -> _Seen:
    """None where there is no file."""
    if file is None:
        return None
    found = []
    try:
        folder = file.with_name(FOLDER)
        for each in (file, *(sorted(folder.iterdir()) if folder.is_dir() else ())):
            state = each.stat()
            found.append((str(each), state.st_mtime_ns, state.st_size, state.st_ino))
    except OSError:
        return None
    return tuple(found)
