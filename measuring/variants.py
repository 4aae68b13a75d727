"""Versions of a release that differ from a published one in some of their graphs, for tests and measurements."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from export.digests import sha256
from export.releases.checksums import CHECKED, MANIFEST
from export.releases.folder import PROFILE, graph_places, version_folder
from export.releases.publishing import publish
from export.releases.staging import staging_folder
from export.releases.verifying import verify_version, write_manifest

Make = Callable[[Path, Path], None]
"""Makes a graph's file, the second, of the published one, the first."""


def publish_variant(
    release: Path, before: int, version: int, graphs: Mapping[str, Make], settings: Mapping[str, Any]
) -> None:
    """Publish ``version`` of the folder ``release``: the version ``before`` with other files for ``graphs``, and the
    members ``settings`` of release.json replaced. It does not go live, and has no manifest until it is sealed."""
    document = json.loads((version_folder(release, before) / "release.json").read_bytes()) | settings
    bundle, places = document["bundle"], graph_places(document)
    with staging_folder(release.parent, bundle) as staging:
        folder = version_folder(staging, version)
        added = shutil.ignore_patterns(CHECKED, MANIFEST, PROFILE)
        shutil.copytree(version_folder(release, before), folder, ignore=added)
        (staging / "models").mkdir()
        for graph, make in graphs.items():
            model, number = places[graph]
            old = release / "models" / model / str(number) / "model.onnx"
            new = staging / "models" / model / str(version) / old.name
            new.parent.mkdir(parents=True)
            shutil.copy(release / "models" / model / "config.pbtxt", new.parents[1])
            make(old, new)
            digests = {new.name: sha256(new)}
            document["models"][graph] |= {
                "version": version,
                "sha256": digests,
                "bytes": new.stat().st_size,
            }
        document["release"] = f"{bundle}-{version}"
        document["tokenizer"]["file"] = f"versions/{version}/tokenizer.json"
        (folder / "release.json").write_text(json.dumps(document))
        publish(staging, release, version, live=False)


def seal(release: Path, version: int) -> None:
    """Write the version's manifest, and check it."""
    write_manifest(release, release, version)
    verdict = verify_version(release, version, "a benchmark")
    assert not verdict.problems, verdict.problems
