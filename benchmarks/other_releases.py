"""More versions of the bundle `tiny`, with other weights, so that a picture tells which version made it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from export.releases.folder import version_folder
from export.releases.rollout import FolderRollouts
from measuring.variants import Make, publish_variant, seal

OTHER = ("denoiser", "vae_decoder", "vae_encoder", "text_encoder")
"""The graphs that a new version has of its own; the others it has in common with version 1."""


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
    square_first = sorted(document["buckets"], key=lambda sides: abs(sides[0] - sides[1]))
    made: dict[str, Make] = dict.fromkeys(graphs, partial(other_weights, seed=version))
    if break_graph is not None:
        made[break_graph] = no_graph
    publish_variant(release, 1, version, made, {"buckets": square_first[:buckets]})
    seal(release, version)


def no_graph(source: Path, place: Path) -> None:
    """A file that nothing can load."""
    place.write_bytes(b"no graph")


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
    rollouts.write(
        type(before)(live=version, previous=previous or before.live or None, by="a benchmark"),
        before.revision,
    )
