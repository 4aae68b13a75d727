"""A release: the graphs of a bundle with everything that `restyle` must know to run them, published at once.

::

    releases/<bundle>/
        release.json            names the live version of every model; replaced last, in one rename
        tokenizer.json
        models/<model>/config.pbtxt, <version>/model.onnx     a Triton model repository of its own
"""

from __future__ import annotations

import hashlib
import os
import shutil
from importlib.metadata import version as package_version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec
from torch import nn

from export import parity
from export.bundle import NETWORKS, Bundle
from export.contract import Sizes, graph_specs, python_specs
from export.models.denoiser import Denoiser
from export.models.load import Network, load_networks, unet_factor, vae_factor
from export.models.pictures import Depth, Detector, TextEncoder, VaeDecoder, VaeEncoder
from export.onnx import export_onnx
from export.spec import ModelSpec
from export.tokenizer import TokenizerFacts, load_tokenizer, save_tokenizer
from export.triton_config import config_text

_HALF = [0.5, 0.5, 0.5]
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One graph of a release."""

    version: int
    sha256: str
    bytes: int
    parity: dict[str, float]
    """Largest difference from torch per output, in the output's own units."""
    folded: list[str]
    """Parameters that the graph holds only inside precomputed constants."""


def build_release(bundle: Bundle, releases: Path, version: int) -> Path:
    """Export every graph of ``bundle`` as ``version`` and make it the live release; returns its folder.

    Raises FileExistsError when that version was published before (a version never changes), ParityError when a graph
    does not do what its source does; neither leaves anything behind.
    """
    target = releases / bundle.name
    if any(target.glob(f"models/*/{version}")):
        raise FileExistsError(
            f"{target} has a version {version} already; a published version is never changed"
        )
    releases.mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(prefix=f".{bundle.name}-", dir=releases))
    try:
        networks = load_networks(bundle)
        sizes = _sizes(bundle, networks)
        facts = _export_graphs(bundle, networks, sizes, staging / "models", version)
        tokenizer = save_tokenizer(load_tokenizer(bundle.tokenizer), staging / "tokenizer.json")
        document = _document(bundle, networks, sizes, facts, tokenizer, version)
        (staging / "release.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
        )
        _publish(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def write_python_configs(repository: Path) -> None:
    """Write config.pbtxt of the models that are code, beside their code."""
    for spec in python_specs().values():
        (repository / spec.name / "config.pbtxt").write_text(config_text(spec))


def _sizes(bundle: Bundle, networks: dict[str, Network]) -> Sizes:
    return Sizes(
        native_size=bundle.native_size,
        vae_factor=vae_factor(networks["vae"]),
        unet_factor=unet_factor(networks["unet"]),
        latent_channels=networks["vae"].config.latent_channels,
        text_width=networks["text_encoder"].config.hidden_size,
        objects=bundle.objects,
        max_batch_size=bundle.max_batch_size,
    )


def _modules(bundle: Bundle, networks: dict[str, Network]) -> dict[str, nn.Module]:
    """Every graph's torch module by model name."""
    depth, detector = networks["depth"], networks["detector"]
    height, width = detector.config.image_size
    side = depth.config.image_size
    return {
        "depth": Depth(depth, (side, side), _HALF, _HALF),
        "detector": Detector(detector, (height, width), *_IMAGENET, bundle.objects, bundle.object_threshold),
        "text_encoder": TextEncoder(networks["text_encoder"]),
        "vae_encoder": VaeEncoder(networks["vae"]),
        "vae_decoder": VaeDecoder(networks["vae"]),
        # Last, because it takes the ControlNets apart.
        "denoiser": Denoiser(networks["unet"], networks["controlnet_depth"], networks["controlnet_canny"]),
    }


def _export_graphs(
    bundle: Bundle, networks: dict[str, Network], sizes: Sizes, folder: Path, version: int
) -> dict[str, ModelFacts]:
    modules = _modules(bundle, networks)
    specs = graph_specs(sizes)
    facts = {}
    for name in list(modules):
        # Popped, so that a big network is gone before its ONNX twin is loaded.
        facts[name] = _export_graph(modules.pop(name).eval(), specs[name], folder / name, version)
    return facts


def _export_graph(module: nn.Module, spec: ModelSpec, folder: Path, version: int) -> ModelFacts:
    path = folder / str(version) / "model.onnx"
    cases = parity.references(module, spec)
    folded = export_onnx(module, spec, path)
    del module
    differences = parity.check_outputs(spec, path, cases)
    (folder / "config.pbtxt").write_text(config_text(spec))
    return ModelFacts(
        version=version,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        bytes=path.stat().st_size,
        parity=differences,
        folded=folded,
    )


def _document(
    bundle: Bundle,
    networks: dict[str, Network],
    sizes: Sizes,
    facts: dict[str, ModelFacts],
    tokenizer: TokenizerFacts,
    version: int,
) -> dict[str, Any]:
    labels = networks["detector"].config.id2label
    return {
        "release": f"{bundle.name}-{version}",
        "bundle": bundle.name,
        "precision": "fp32",
        "sizes": sizes,
        "buckets": buckets(sizes),
        "defaults": bundle.defaults,
        "schedule": bundle.schedule,
        "quality_threshold": bundle.quality_threshold,
        "preview_matrix": bundle.preview_matrix,
        "labels": [labels[index] for index in range(len(labels))],
        "tokenizer": tokenizer,
        "models": facts,
        "sources": {name: _source(bundle, name) for name in NETWORKS},
        "tools": {
            name: package_version(name)
            for name in ("torch", "diffusers", "transformers", "onnx", "onnxscript")
        },
    }


def _source(bundle: Bundle, name: str) -> str:
    weights = bundle.networks[name]
    if weights.config is not None:
        return f"random, seed {bundle.seed}"
    return f"{weights.path or weights.repo}@{weights.revision or 'local'}"


def buckets(sizes: Sizes) -> list[tuple[int, int]]:
    """The (height, width) that photos are fitted to: about the native area, aspects 1:2 … 2:1, sides that every network
    takes. Neighbours are less than a quarter apart, so that a stretch of at most 12 % reaches most photos."""
    step = sizes.vae_factor * sizes.unet_factor
    found = set()
    for aspect in (0.5, 0.625, 0.75, 0.875, 1.0):
        short = max(step, round(sizes.native_size * aspect**0.5 / step) * step)
        long = round(short / aspect / step) * step
        found |= {(short, long), (long, short)}
    return sorted(found)


def _publish(staging: Path, target: Path) -> None:
    """Move new version folders in first and release.json last: whoever reads it finds everything it names."""
    for folder in (staging / "models").iterdir():
        live = target / "models" / folder.name
        live.mkdir(parents=True, exist_ok=True)
        for item in folder.iterdir():
            os.replace(item, live / item.name)
    for name in ("tokenizer.json", "release.json"):
        os.replace(staging / name, target / name)
