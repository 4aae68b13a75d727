"""A release: the graphs of a bundle, proved, with everything that `restyle` must know to run them."""

from __future__ import annotations

import hashlib
import shutil
from importlib.metadata import version as package_version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec
from torch import nn

from export.bundle import Bundle, BundleError, Stored, preview_matrix
from export.contract import Sizes, buckets, graph_specs, python_specs
from export.graphs.onnx import export_onnx
from export.graphs.triton_config import config_text
from export.networks.denoiser import Denoiser
from export.networks.depth import depth_module
from export.networks.load import Network, load_networks, unet_factor, vae_factor
from export.networks.pictures import CentreDetector, Detector, TextEncoder, VaeDecoder, VaeEncoder
from export.networks.preparation import HALF, IMAGENET, UNIT, Normalisation, preparation
from export.networks.segments import segments_module
from export.networks.ultralytics import UltralyticsDetector
from export.proofs import parity
from export.proofs.checks import check_bundle
from export.proofs.rehearsal import RehearsalError, rehearse
from export.publish import check_unpublished, make_live, publish
from export.seats import CONTROLNETS, DEFAULT_HINTS
from export.sources.tokenizer import load_tokenizer, save_tokenizer
from export.spec import ModelSpec

TOOLS = ("torch", "diffusers", "transformers", "onnx", "onnxscript")

_DETECTORS: dict[str, tuple[Any, Normalisation]] = {
    "yolos": (Detector, IMAGENET),
    "centres": (CentreDetector, HALF),
    "ultralytics": (UltralyticsDetector, UNIT),
}
"""Module and normalisation (mean, standard deviation) by the network's ``model_type``."""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One graph of a release."""

    version: int
    sha256: dict[str, str]
    """By file name: a large graph has its weights in a second file."""
    bytes: int
    parity: dict[str, float]
    """Largest difference from torch per output, in the output's own units."""
    folded: list[str]
    """Parameters that the graph holds only inside precomputed constants."""
    stored: Stored = "fp32"
    """How the file holds the weights; a release without it means FP32."""


def build_release(bundle: Bundle, releases: Path, version: int) -> Path:
    """Export every graph of ``bundle`` as ``version`` and make it the live release; returns its folder.

    Raises FileExistsError when that version was published before (a version never changes), BundleError when the
    bundle's parts do not fit together or `restyle` cannot do its defaults, ParityError when a graph differs from its
    torch module, RehearsalError when `restyle` cannot paint with the graphs. After an error no file is left.
    """
    target = releases / bundle.name
    check_unpublished(target, version)
    releases.mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(prefix=f".{bundle.name}-", dir=releases))
    try:
        _build(bundle, staging, version)
        publish(staging, target, version)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _build(bundle: Bundle, staging: Path, version: int) -> None:
    preview = preview_matrix(bundle)
    networks = load_networks(bundle)
    tokenizer = load_tokenizer(bundle.tokenizer)
    check_bundle(bundle, networks, tokenizer)
    sizes, labels = _sizes(bundle, networks), networks["detector"].config.id2label
    modules = _modules(bundle, networks)
    # The modules hold the networks now. Each is freed before its ONNX graph is loaded: both together would not fit.
    del networks
    folder = Path("versions", str(version))
    (staging / folder).mkdir(parents=True)
    framing = save_tokenizer(tokenizer, staging / folder / "tokenizer.json")
    document: dict[str, Any] = {
        "release": f"{bundle.name}-{version}",
        "bundle": bundle.name,
        "precision": "fp32",
        "sizes": sizes,
        "buckets": buckets(sizes),
        "defaults": bundle.defaults,
        "schedule": bundle.schedule,
        **({} if bundle.seats == DEFAULT_HINTS else {"hints": bundle.seats}),
        **({} if bundle.solvers is None else {"solvers": bundle.solvers}),
        **({"palettes": bundle.palettes} if bundle.palettes else {}),
        "quality_threshold": bundle.quality_threshold,
        "preview_matrix": preview,
        "labels": [labels[index] for index in range(len(labels))],
        "tokenizer": {"file": str(folder / "tokenizer.json"), **msgspec.structs.asdict(framing)},
        "models": {},
        "sources": {name: _source(bundle, name) for name in bundle.used},
        "tools": {name: package_version(name) for name in TOOLS},
    }
    make_live(staging, version)
    _write(document, staging / folder)
    try:
        rehearse(staging, settings_only=True)
    except RehearsalError as error:
        raise BundleError(f"{bundle.name}.toml: {error}") from error
    document["models"] = _export_graphs(modules, sizes, staging / "models", version, bundle)
    _write(document, staging / folder)
    rehearse(staging)


def _write(document: dict[str, Any], folder: Path) -> None:
    text = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    (folder / "release.json").write_bytes(text)


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
    return {
        "depth": depth_module(networks["depth"], bundle),
        "detector": _detector(networks["detector"], bundle),
        **({"segments": segments_module(networks["segments"], bundle)} if "segments" in networks else {}),
        "text_encoder": TextEncoder(networks["text_encoder"]),
        "vae_encoder": VaeEncoder(networks["vae"]),
        "vae_decoder": VaeDecoder(networks["vae"]),
        # Last, because it takes the ControlNets apart.
        "denoiser": Denoiser(networks["unet"], {hint: networks[CONTROLNETS[hint]] for hint in bundle.seats}),
    }


def _detector(network: Network, bundle: Bundle) -> nn.Module:
    module, normalisation = _DETECTORS[network.config.model_type]
    wanted = preparation(bundle, "detector", network.config, normalisation)
    return module(network, wanted.size, wanted.mean, wanted.std, bundle.objects, bundle.object_threshold)


def _export_graphs(
    modules: dict[str, nn.Module], sizes: Sizes, folder: Path, version: int, bundle: Bundle
) -> dict[str, ModelFacts]:
    """Export all of ``modules``, which is emptied."""
    specs = graph_specs(sizes, bundle.seats)
    return {
        name: _export_graph(modules.pop(name).eval(), specs[name], folder / name, version, bundle, sizes)
        for name in list(modules)
    }


def _export_graph(
    module: nn.Module, spec: ModelSpec, folder: Path, version: int, bundle: Bundle, sizes: Sizes
) -> ModelFacts:
    path = folder / str(version) / "model.onnx"
    cases = parity.references(module, spec, parity.corner_cases(spec, sizes))
    folded = export_onnx(module, spec, path, bundle.stored)
    del module
    differences = parity.check_outputs(spec, path, cases, parity.Tolerance(bundle.tolerance))
    (folder / "config.pbtxt").write_text(config_text(spec))
    files = sorted(path.parent.iterdir())
    return ModelFacts(
        version=version,
        sha256={file.name: _sha256(file) for file in files},
        bytes=sum(file.stat().st_size for file in files),
        parity=differences,
        folded=folded,
        stored=bundle.stored,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _source(bundle: Bundle, name: str) -> str:
    weights = bundle.networks[name]
    if weights.config is not None:
        return f"random, seed {bundle.seed}"
    return f"{weights.path or weights.repo}@{weights.revision or 'local'}"
