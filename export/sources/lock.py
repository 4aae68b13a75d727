"""Lock files: the size and the SHA-256 of every file that a bundle takes from a model hub.

``export/bundles/<bundle>.lock.json`` is JSON, by ``repo@commit`` and file name; null is what nobody knows yet::

    {"stable-diffusion-v1-5/stable-diffusion-v1-5@451f…": {"unet/config.json": {"size": 743, "sha256": "78f4…"}}}

The first fetch fills in what is null, every later one compares. The file also says *which* files are wanted of a
repository: one that is not named in it is not fetched.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from export.bundle import BUNDLES, BundleError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Locked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of one file."""

    size: int | None = None
    """Bytes."""
    sha256: str | None = None

    def filled(self, other: Locked) -> Locked:
        """This, with what only ``other`` knows."""
        return Locked(
            size=other.size if self.size is None else self.size,
            sha256=other.sha256 if self.sha256 is None else self.sha256,
        )


Content = dict[str, dict[str, Locked]]


class Lock:
    """The lock file of one bundle. It is written at once, and only when something became known."""

    def __init__(self, path: Path) -> None:
        """Raises BundleError when the file is there and malformed; a missing one knows nothing."""
        self.path = path
        self._content = _read(path)

    @classmethod
    def of(cls, bundle: str, folder: Path = BUNDLES) -> Lock:
        """The lock of the bundle with this name."""
        return cls(folder / f"{bundle}.lock.json")

    def files(self, repo: str, revision: str) -> dict[str, Locked]:
        """By file name, what is known of a repository at a commit; {} when nothing is.

        A commit never changes, so what another bundle's lock knows of it holds here too.
        """
        files: dict[str, Locked] = {}
        others = sorted(set(self.path.parent.glob("*.lock.json")) - {self.path})
        for content in (self._content, *map(_read, others)):
            for file, locked in content.get(f"{repo}@{revision}", {}).items():
                files[file] = files.get(file, Locked()).filled(locked)
        return files

    def complete(self, repo: str, revision: str, known: dict[str, Locked]) -> None:
        """Add files, and what was not yet known of them, and write the file. What is known already stays.

        Raises BundleError when the file cannot be written.
        """
        # Another process may have completed other entries since.
        latest = _read(self.path)
        entries = latest.setdefault(f"{repo}@{revision}", {})
        before = dict(entries)
        for file, new in known.items():
            entries[file] = entries.get(file, Locked()).filled(new)
        self._content = latest
        if entries != before:
            self._write()

    def _write(self) -> None:
        new = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        try:
            new.write_bytes(
                msgspec.json.format(msgspec.json.encode(self._content, order="sorted"), indent=2) + b"\n"
            )
            os.replace(new, self.path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise BundleError(
                f"{self.path} cannot be written: {error.strerror}: what was fetched must be recorded there"
            ) from error


def _read(path: Path) -> Content:
    if not path.is_file():
        return {}
    try:
        content = msgspec.json.decode(path.read_bytes(), type=Content)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: {error}: mend it, or delete it to trust the hub anew") from error
    for repo, files in content.items():
        for file, locked in files.items():
            if locked.sha256 is not None and not _SHA256.fullmatch(locked.sha256):
                raise BundleError(
                    f"{path}: {repo}: {file}: sha256 must be 64 hexadecimal digits in lower case, or null"
                )
    return content
