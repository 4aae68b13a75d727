"""More versions of the bundle `tiny`, with other weights, so that a picture tells which version made it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from export.releases.changes import follow
from export.releases.folder import graph_places, version_folder
from export.releases.publishing import publish
from export.releases.rollout import FolderRollouts
from export.releases.staging import staging_folder
from export.releases.verifying import verify_version, write_manifest

OTHER = ("denoiser", "vae_decoder", "vae_encoder", "text_encoder")
"""The graphs that a new version has of its own; the others it has in common with version 1."""


def copy_release(source: Path, place: Path) -> Path:
    """A release folder of its own."""
    shutil.copytree(source, place)
    return place


def add_version(
    release: Path,
    version: int,
    *,
    graphs: Sequence[str] = OTHER,
    break_graph: str | None = None,
    buckets: int | None = None,
) -> None:
    """Publish ``version``, made from version 1 with other weights in ``graphs``; it does not go live.

    ``break_graph``: this graph's file is no graph, though its digest is right. ``buckets``: how many it has, the square
    one among them; None = all.
    """
    document = json.loads((version_folder(release, 1) / "release.json").read_bytes())
    bundle = document["bundle"]
    places = graph_places(document)
    with staging_folder(release.parent, bundle) as staging:
        folder = staging / "versions" / str(version)
        shutil.copytree(version_folder(release, 1), folder)
        for name in ("checked.json", "files.json"):
            (folder / name).unlink(missing_ok=True)
        document["release"] = f"{bundle}-{version}"
        document["buckets"] = sorted(document["buckets"], key=lambda sides: abs(sides[0] - sides[1]))[
            :buckets
        ]
        document["tokenizer"]["file"] = f"versions/{version}/tokenizer.json"
        (staging / "models").mkdir()
        for graph in dict.fromkeys([*graphs, *([break_graph] if break_graph else [])]):
            model, number = places[graph]
            place = staging / "models" / model / str(version)
            place.mkdir(parents=True)
            shutil.copy(release / "models" / model / "config.pbtxt", place.parent)
            file = place / "model.onnx"
            if graph == break_graph:
                file.write_bytes(b"no graph")
            else:
                other_weights(release / "models" / model / str(number) / "model.onnx", file, version)
            document["models"][graph] |= {"version": version, "sha256": {}}
        (folder / "release.json").write_text(json.dumps(document))
        publish(staging, release, version, live=False)
    write_manifest(release, release, version)
    verdict = verify_version(release, version, "a benchmark")
    assert not verdict.problems, verdict.problems


def other_weights(source: Path, place: Path, seed: int) -> None:
    """The graph of ``source`` with other weights, of the same sizes."""
    model = onnx.load(source)
    rng = np.random.default_rng(seed)
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype == np.float32 and array.ndim > 1 and array.size > 64:
            changed = (array * rng.uniform(0.6, 1.4, array.shape)).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(model, place)


def force_live(release: Path, version: int, *, previous: int | None = None) -> None:
    """Write that ``version`` shall be live, as ``promote`` does, without its checks."""
    rollouts = FolderRollouts(release)
    before = rollouts.read()
    follow(
        release,
        rollouts.write(
            type(before)(live=version, previous=previous or before.live or None, by="a benchmark"),
            before.revision,
        ),
    )
