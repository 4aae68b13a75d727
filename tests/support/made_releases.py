"""Releases of a few kilobytes, laid out and published by the code that publishes real ones. No graph in them runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.contract import Sizes, graph_specs
from export.digests import sha256
from export.graphs.triton_config import config_text
from export.releases.folder import documents, version_folder
from export.releases.publishing import publish
from export.releases.staging import staging_folder
from export.releases.verifying import verify_version, write_manifest

SIZES: dict[str, int] = {
    "native_size": 128,
    "vae_factor": 8,
    "unet_factor": 2,
    "latent_channels": 4,
    "text_width": 32,
    "objects": 8,
    "max_batch_size": 8,
}


def files_of(graph: str) -> list[str]:
    """The names of a graph's files: a denoiser's weights lie beside it."""
    return ["model.onnx", "model.onnx.data"] if graph.startswith("denoiser") else ["model.onnx"]


def publish_made(
    target: Path,
    version: int,
    *,
    seed: Mapping[str, int] | None = None,
    live: bool = False,
    names: Mapping[str, str] | None = None,
    sizes: Mapping[str, int] | None = None,
    verified: bool = True,
    **more: Any,
) -> None:
    """Publish a version in the release folder ``target``.

    A graph is the same as in an earlier version as long as its number in ``seed`` is; ``names`` are those of Triton's
    models that are not the graphs'; ``more`` are members of release.json.
    """
    with staging_folder(target.parent, target.name) as staging:
        lay_out(staging, target, version, seed or {}, names or {}, sizes or SIZES, more)
        write_manifest(staging, target, version)
        publish(staging, target, version, live=live)
    if verified:
        verdict = verify_version(target, version, "a test")
        assert not verdict.problems, verdict


def lay_out(
    staging: Path,
    target: Path,
    version: int,
    seed: Mapping[str, int],
    names: Mapping[str, str],
    sizes: Mapping[str, int],
    more: Mapping[str, Any],
) -> None:
    """The same in ``staging``, without a manifest."""
    published = documents(target)
    models: dict[str, Any] = {}
    for graph, spec in graph_specs(Sizes(**dict(sizes))).items():
        content = f"{graph} {seed.get(graph, 0)} ".encode() * 100
        name = names.get(graph, graph)
        scratch = staging / "models" / name / str(version)
        scratch.mkdir(parents=True)
        for file in files_of(graph):
            (scratch / file).write_bytes(file.encode() + content)
        digests = {file: sha256(scratch / file) for file in files_of(graph)}
        number = next(
            (
                int(document["models"][graph]["version"])
                for document in published.values()
                if document["models"][graph]["sha256"] == digests
                and document["models"][graph].get("model", graph) == name
            ),
            version,
        )
        scratch.rename(scratch.with_name(str(number)))
        (staging / "models" / name / "config.pbtxt").write_text(config_text(replace(spec, name=name)))
        models[graph] = {
            "version": number,
            **({"model": name} if name != graph else {}),
            "sha256": digests,
            "bytes": sum(len(file) + len(content) for file in files_of(graph)),
            "parity": {tensor.name: 1e-6 for tensor in spec.outputs},
        }
    document = {
        "release": f"{target.name}-{version}",
        "bundle": target.name,
        "precision": "fp32",
        "sizes": dict(sizes),
        "defaults": {"solver": "ddim", "steps": 8},
        "tokenizer": {"file": f"versions/{version}/tokenizer.json"},
        "sources": {"unet": "somebody/unet@1"},
        "tools": {"torch": "2.13.0"},
        **more,
        "models": models,
    }
    folder = version_folder(staging, version)
    folder.mkdir(parents=True)
    (folder / "release.json").write_text(json.dumps(document, indent=1))
    for name in ("tokenizer.json", "report.md", "report.html", "bundle.toml"):
        (folder / name).write_text(f"{name} of {version}\n")
    worst = {"whole": {"cases": [{"difference": 0.001 * version}]}}
    (folder / "proof.json").write_text(json.dumps(worst))
