"""What it means that a release is made again: byte for byte, but for what measuring and writing added to it."""

from __future__ import annotations

import re
from pathlib import Path

from export.contract import Sizes, graph_specs
from export.publish import REPORTS, live_version

SIZES = Sizes(
    native_size=128,
    vae_factor=8,
    unet_factor=2,
    latent_channels=4,
    text_width=32,
    objects=8,
    max_batch_size=8,
)
GRAPHS = list(graph_specs(SIZES))

WRITTEN = {"MODEL_CARD.md", "training.json"}
"""Names of files that are added to a release after its export."""

MEASURED = set(REPORTS)
"""Names of files that hold what the exporting machine measured."""


def assert_reproduced(made: Path, committed: Path) -> None:
    """``made``, a release of one version, is the live one of ``committed``: same weights, same graphs, same tokenizer;
    and the same release.json but for its parity figures, whose last digits are those of the machine that measured
    them."""
    files = _files(made, committed)
    assert {path.relative_to(made) for path in made.rglob("*") if path.is_file()} == files
    for file in sorted(files):
        if file.name in MEASURED:
            continue
        ours, theirs = ((folder / file).read_bytes() for folder in (made, committed))
        if file.name == "release.json":
            ours, theirs = _without_parity(ours), _without_parity(theirs)
        assert ours == theirs, file


def _files(made: Path, committed: Path) -> set[Path]:
    """Those of ``committed`` that an export wrote, earlier versions left out."""
    version = str(live_version(made))
    files = {path.relative_to(committed) for path in committed.rglob("*") if path.is_file()}
    return {
        file
        for file in files
        if file.name not in WRITTEN and all(part == version for part in file.parts if part.isdecimal())
    }


def _without_parity(release: bytes) -> bytes:
    text, count = re.subn(rb'("parity": ){[^}]*}', rb"\1{}", release)
    assert count == len(GRAPHS)
    return text
