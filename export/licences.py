"""The licences of a bundle's weights: shown before they are fetched, and recorded in the release made from them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from export.bundle import Bundle
from export.sources.hub import licence_texts

NOTICE = "NOTICE.txt"

MODIFIED = (
    "The files of this release were changed: reroom exported the networks to ONNX graphs, with the pre- and "
    "postprocessing, guidance and solver steps around them, and joined some of them in one graph."
)
"""What CreativeML OpenRAIL-M, section 4 (c), and Apache-2.0, section 4 (b), ask for."""


def licence_lines(bundle: Bundle) -> list[str]:
    """For people, a line or two for each licence; [] when the bundle names none."""
    lines = []
    for licence in bundle.licences:
        lines.append(f"{licence.name}: {', '.join(licence.networks)}; {licence.url}")
        if licence.restrictions:
            lines.append(f"    {licence.restrictions}")
    return lines


def licence_facts(bundle: Bundle) -> dict[str, Any]:
    """What release.json says of licences; {} when the bundle names none."""
    if not bundle.licences:
        return {}
    return {"licences": bundle.licences, "modified": MODIFIED}


def write_notices(bundle: Bundle, folder: Path) -> None:
    """Write NOTICE.txt, and the licences' texts that repositories have, in ``folder``; nothing without licences."""
    if not bundle.licences:
        return
    (folder / NOTICE).write_text(notice(bundle))
    for name, text in licence_texts(bundle).items():
        shutil.copyfile(text, folder / name)


def notice(bundle: Bundle) -> str:
    """The text of NOTICE.txt, which goes with the files wherever they are copied."""
    origins = [
        f"{name}: {weights.repo or weights.path} {weights.revision or ''}".rstrip()
        for name, weights in {**bundle.networks, "tokenizer": bundle.tokenizer}.items()
        if weights.source is not None
    ]
    head = (f"{bundle.name}: {bundle.description}", "", MODIFIED)
    return "\n".join((*head, "", "Made from:", *origins, "", "Licences:", *licence_lines(bundle), ""))
