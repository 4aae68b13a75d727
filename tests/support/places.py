"""Made-up releases of a few small files, and places for them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

from export.releases.checksums import MANIFEST, damage, file_facts, manifest_bytes
from export.releases.folder import documents, make_live
from export.releases.places.parts import parts_of

Graphs = Mapping[str, bytes | int]
"""By model: its bytes, or the number of the earlier version that it is shared with."""


def make_version(release: Path, version: int, graphs: Graphs, live: bool = False) -> Path:
    """Publish a made-up version in the folder ``release``, which is returned."""
    files = []
    models = {}
    for model, graph in graphs.items():
        number = graph if isinstance(graph, int) else version
        folder = release / "models" / model / str(number)
        if not isinstance(graph, int):
            folder.mkdir(parents=True)
            (folder / "model.onnx").write_bytes(graph)
            (folder.parent / "config.pbtxt").write_text(f'name: "{model}"\n')
        digests = {file.name: file_facts(file)["sha256"] for file in folder.iterdir()}
        models[model] = {"version": number, "sha256": digests}
        files += [*folder.iterdir(), folder.parent / "config.pbtxt"]
    own = release / "versions" / str(version)
    own.mkdir(parents=True)
    (own / "release.json").write_text(json.dumps({"release": f"{release.name}-{version}", "models": models}))
    (own / "tokenizer.json").write_text("{}")
    (own / "report.html").write_text(f"<p>version {version}</p>")
    files += list(own.iterdir())
    facts = {file.relative_to(release).as_posix(): file_facts(file) for file in files}
    (own / MANIFEST).write_bytes(manifest_bytes(f"{release.name}-{version}", facts))
    if live:
        make_live(release, version)
    return release


def two_versions(release: Path, bytes_each: int = 100_000) -> Path:
    """Version 1, live, of three graphs, and version 2, which shares one of them."""
    chance = random.Random(release.name)
    make_version(release, 1, {name: chance.randbytes(bytes_each) for name in ("a", "b", "shared")}, live=True)
    return make_version(
        release, 2, {"a": chance.randbytes(bytes_each), "b": chance.randbytes(bytes_each), "shared": 1}
    )


def damages(release: Path) -> list[str]:
    """What is wrong with the versions that the folder has."""
    found = []
    for version in documents(release):
        content = (release / "versions" / str(version) / MANIFEST).read_bytes()
        for part in parts_of(content, version, MANIFEST):
            if problem := damage(release / part.path, part.sha256):
                found.append(f"{part.path} {problem}")
    return found
