"""A release: the graphs of a bundle, proved, with everything that `restyle` must know to run them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import msgspec
from transformers import CLIPTokenizer

from export.bundle import BUNDLES, Bundle, BundleError, Precision, Stored, preview_matrix
from export.contract import Sizes, buckets, python_specs
from export.graphs.making import TOOLS, Made, Order, Report, make_graph, tolerance_of, weight_bytes
from export.graphs.triton_config import config_text, contract_lines
from export.licences import licence_facts, write_notices
from export.networks.load import Network, skeleton, unet_factor, vae_factor
from export.networks.modules import graph_networks
from export.proofs.checks import check_bundle
from export.proofs.inspection import inspect_bundle
from export.proofs.recording import record_picture
from export.proofs.rehearsal import RehearsalError, rehearse
from export.proofs.whole import prove_whole
from export.releases.changes import promote
from export.releases.device import GPU, this_device
from export.releases.durable import write_whole
from export.releases.folder import (
    BUNDLE_FILE,
    BUNDLE_RENEWED,
    documents,
    graph_places,
    live_document,
    live_version,
    make_live,
    next_version,
    version_folder,
)
from export.releases.publishing import check_unpublished, publish
from export.releases.rollout import FolderRollouts, read_rollout
from export.releases.staging import staging_folder
from export.releases.verifying import Verdict, unverified, verify_version, write_manifest
from export.report import Proof, Took, write_report
from export.sampling import VARIANT
from export.seats import DEFAULT_HINTS
from export.sources.hub import local_folders, with_folders
from export.sources.tokenizer import load_tokenizer, save_tokenizer
from export.spec import ModelSpec

SPARE_BYTES = 500_000_000
"""What must be free beyond the graphs' own size."""


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
    model: str | None = None
    """The name of Triton's model, where that is not the graph's: an earlier version has other tensors under it."""
    precision: Precision = "fp32"
    rounding: dict[str, float] = {}
    """For FP16: what its roundings alone change per output, in torch, at the smallest bucket."""


def build_release(
    bundle: Bundle,
    releases: Path,
    version: int | None = None,
    work: Path | None = None,
    report: Report = print,
    *,
    promoted: bool = False,
) -> Path:
    """Export every graph of ``bundle`` as ``version``; returns the release's folder.

    The first version of a bundle becomes live, a later one when it is ``promoted`` (:func:`promote`); otherwise what is
    live stays so. ``version`` None is the next one, which is only published when it would differ from the live one and
    from the newest. Graphs that are in
    ``work`` from an earlier call are not made again; None = nothing is kept. What the
    bundle takes from a hub must have been fetched (:func:`export.sources.hub.fetch_bundle`).

    Raises FileExistsError when that version was published before (a version never changes), BundleError when the
    bundle's parts do not fit together or `restyle` cannot do its defaults, ParityError when a graph differs from its
    torch module, RehearsalError when `restyle` cannot paint with the graphs, OSError when there is too little room.
    ReleaseError and RolloutError say that it is published and was not promoted. After another error no file is left but
    in ``work``.
    """
    target = releases / bundle.name
    if version is not None:
        check_unpublished(target, version)
    with staging_folder(releases, bundle.name) as staging:
        number = version or next_version(target)
        kept = work or staging / "work"
        document, graphs = _build(bundle, staging, number, target, kept, report)
        same = _same_version(staging, number, target) if version is None else None
        if same is None:
            _prove(bundle, staging, document, graphs, kept, report)
            record_picture(staging, number)
            write_manifest(staging, target, number)
            publish(staging, target, number, live=not read_rollout(target).live)
        else:
            _keep_file(version_folder(staging, number), version_folder(target, same))
    _finish(target, number if same is None else same, same is None, promoted, report)
    return target


def _finish(target: Path, version: int, new: bool, promoted: bool, report: Report) -> None:
    """Read what was published once more, and make it live if that is asked for."""
    live = read_rollout(target).live
    if not new:
        stays = "which stays live" if version == live else "which is published and not live"
        report(f"nothing has changed since version {version}, {stays}")
    # Also when an attempt was killed before it had read everything.
    verdict = verify_version(target, version, "the export") if unverified(target, version) else Verdict()
    if verdict.problems:
        raise OSError(f"the disk does not give back what was written: {'; '.join(verdict.problems)}")
    if not live:
        # Also when an attempt was killed before its last step.
        make_live(target, version)
    elif promoted and version != live:
        promote(target, FolderRollouts(target), version, this_device())


def _build(
    bundle: Bundle, staging: Path, version: int, target: Path, work: Path, report: Report
) -> tuple[dict[str, Any], dict[str, Took]]:
    """Lay the version out in ``staging``; returns its release.json, and what its graphs took."""
    preview = preview_matrix(bundle)
    local = with_folders(bundle, local_folders(bundle))
    inspect_bundle(local)
    skeletons, tokenizer = _parts(local)
    sizes, labels = sizes_of(bundle, skeletons), skeletons["detector"].config.id2label
    orders = [Order(graph=name, bundle=local, sizes=sizes) for name in graph_networks(bundle)]
    check_room(orders, (work, staging))
    folder = Path("versions", str(version))
    (staging / folder).mkdir(parents=True)
    framing = save_tokenizer(tokenizer, staging / folder / "tokenizer.json")
    document: dict[str, Any] = {
        "release": f"{bundle.name}-{version}",
        "bundle": bundle.name,
        "precision": bundle.precision,
        "sizes": sizes,
        "buckets": buckets(sizes),
        "defaults": bundle.defaults,
        **({"tiers": bundle.tiers, "quality": bundle.quality} if bundle.tiers else {}),
        **({"styles": bundle.styles} if bundle.styles else {}),
        "schedule": bundle.schedule,
        **({} if bundle.seats == DEFAULT_HINTS else {"hints": bundle.seats}),
        **({} if bundle.solvers is None else {"solvers": bundle.solvers}),
        **({"palettes": bundle.palettes} if bundle.palettes else {}),
        **({"targets": targets} if (targets := _targets(bundle)) else {}),
        **({"budgets": bundle.budgets} if bundle.budgets else {}),
        "quality_threshold": bundle.quality_threshold,
        "preview_matrix": preview,
        "labels": [labels[index] for index in range(len(labels))],
        "tokenizer": {"file": str(folder / "tokenizer.json"), **msgspec.structs.asdict(framing)},
        "models": {},
        "sources": _sources(bundle),
        **licence_facts(bundle),
        "tools": {name: package_version(name) for name in TOOLS},
    }
    write_notices(bundle, staging / folder)
    if (file := BUNDLES / f"{bundle.name}.toml").is_file():
        shutil.copyfile(file, staging / folder / BUNDLE_FILE)
    make_live(staging, version)
    _write(document, staging / folder)
    try:
        rehearse(staging, settings_only=True)
    except RehearsalError as error:
        raise BundleError(f"{bundle.name}.toml: {error}") from error
    document["models"], graphs = make_graphs(orders, staging / "models", version, target, work, report)
    _write(document, staging / folder)
    return document, graphs


def _prove(
    bundle: Bundle,
    staging: Path,
    document: dict[str, Any],
    graphs: dict[str, Took],
    work: Path,
    report: Report,
) -> None:
    """Compare whole pictures with diffusers', and write the report."""
    report("restyle paints with the graphs, diffusers with their source …")
    local = with_folders(bundle, local_folders(bundle))
    whole, pairs = prove_whole(local, staging, work / "whole")
    proof = Proof(whole=whole, graphs=graphs)
    write_report(live_document(staging).parent, bundle.description, document, proof, pairs)
    report(
        f"the pictures differ by {whole.worst.difference:.2g} of 255 at most, {whole.tolerance:g} is allowed"
    )


def check_parts(local: Bundle) -> None:
    """Raises BundleError when the networks and the tokenizer of a bundle, whose sources are local, do not fit together.

    No file of weights is needed; where they are here, :func:`inspect_bundle` looks at more.
    """
    check_bundle(local, *_parts(local))


def _parts(local: Bundle) -> tuple[dict[str, Network], CLIPTokenizer]:
    """The networks of a bundle, without their numbers, and its tokenizer. Raises BundleError."""
    return {name: skeleton(local, name) for name in local.used}, load_tokenizer(local.tokenizer)


def make_graphs(
    orders: list[Order], folder: Path, version: int, target: Path, work: Path, report: Report
) -> tuple[dict[str, ModelFacts], dict[str, Took]]:
    """Make every graph and link it into ``folder``, laid out as Triton's model repository.

    A graph that an earlier version of the release ``target`` has keeps that version's number.
    """
    published = documents(target)
    found, graphs = {}, {}
    for index, order in enumerate(orders, 1):
        made, files = make_graph(order, work, _counted(report, index, len(orders)))
        graphs[order.graph] = took(order, made)
        spec, number = _place(order.spec, made, published, version, target)
        place = folder / spec.name / str(number)
        place.mkdir(parents=True)
        for name in made.sha256:
            _link(files / name, place / name)
        (folder / spec.name / "config.pbtxt").write_text(config_text(spec))
        found[order.graph] = ModelFacts(
            version=number,
            model=None if spec.name == order.graph else spec.name,
            sha256=made.sha256,
            bytes=made.bytes,
            parity=made.parity,
            folded=made.folded,
            stored=made.stored,
            precision=made.precision,
            rounding=made.rounding,
        )
    return found, graphs


def _counted(report: Report, index: int, count: int) -> Report:
    """``report`` with the graph's place among all."""
    return lambda line: report(f"{index} of {count} · {line}")


def took(order: Order, made: Made) -> Took:
    """What the report says of the making of a graph."""
    tolerance = tolerance_of(made.precision, order.bundle)
    allowed = {
        "UINT8": f"{tolerance.byte}",
        "INT64": "0",
        "FP32": f"{tolerance.number:g} × the largest value",
    }
    outputs = order.spec.outputs
    return Took(
        seconds=round(made.seconds, 1),
        peak_bytes=made.peak_bytes,
        share=max(made.share.values()),
        allowed={tensor.name: allowed[tensor.dtype] for tensor in outputs},
    )


def _place(
    spec: ModelSpec, made: Made, published: Mapping[int, dict[str, Any]], version: int, target: Path
) -> tuple[ModelSpec, int]:
    """Under what name and number Triton gets a graph: ``spec`` with that name, and the version of the model.

    An earlier release may have the very same files. A model of Triton has one configuration for all its versions, so a
    graph with other tensors than the published ones of its name gets a name of its own.
    """
    for document in published.values():
        facts = document["models"].get(made.graph)
        if facts is not None and facts["sha256"] == made.sha256:
            model, number = graph_places(document)[made.graph]
            if _same_contract(spec, target / "models" / model):
                return replace(spec, name=model), number
    if _same_contract(spec, target / "models" / spec.name):
        return spec, version
    return replace(spec, name=f"{spec.name}-{version}"), version


def _same_contract(spec: ModelSpec, model: Path) -> bool:
    """Whether Triton's ``model`` has the tensors of ``spec``, or is not there."""
    config = model / "config.pbtxt"
    return not config.is_file() or contract_lines(config.read_text()) == contract_lines(config_text(spec))


def _keep_file(source: Path, target: Path) -> None:
    """Add a copy of the bundle's file, where its words have changed and nothing else."""
    new = source / BUNDLE_FILE
    if new.is_file() and new.read_bytes() != (target / BUNDLE_FILE).read_bytes():
        write_whole(target / BUNDLE_RENEWED, new.read_bytes())


def _link(source: Path, place: Path) -> None:
    """The same file under another name, or a copy where the file systems differ."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def _same_version(staging: Path, version: int, target: Path) -> int | None:
    """The live or the newest version, if the one in ``staging`` differs in its number and its measurements only."""

    def content(folder: Path, number: int) -> Any:
        document = documents(folder)[number]
        models = {name: facts["sha256"] for name, facts in document.pop("models").items()}
        tokenizer = (folder / document["tokenizer"].pop("file")).read_bytes()
        return document | {"release": "", "models": models}, tokenizer

    made = content(staging, version)
    candidates = dict.fromkeys((live_version(target), max(documents(target), default=0)))
    return next((other for other in candidates if other and content(target, other) == made), None)


def check_room(orders: list[Order], folders: tuple[Path, ...]) -> None:
    """Raises OSError when the graphs of ``orders`` would not fit on the disk of one of ``folders``."""
    needed = sum(weight_bytes(order) for order in orders) + SPARE_BYTES
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise OSError(
                f"{folder}: the graphs need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: make room, or "
                "name folders on another disk with --work and --releases"
            )


def _write(document: dict[str, Any], folder: Path) -> None:
    text = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    (folder / "release.json").write_bytes(text)


def write_python_configs(repository: Path) -> None:
    """Write config.pbtxt of the models that are code, beside their code."""
    for spec in python_specs().values():
        (repository / spec.name / "config.pbtxt").write_text(config_text(spec))


def sizes_of(bundle: Bundle, networks: Mapping[str, Network]) -> Sizes:
    """The sizes that the bundle's tensors have, from its networks' configurations."""
    return Sizes(
        native_size=bundle.native_size,
        vae_factor=vae_factor(networks["vae"]),
        unet_factor=unet_factor(networks["unet"]),
        latent_channels=networks["vae"].config.latent_channels,
        text_width=networks["text_encoder"].config.hidden_size,
        objects=bundle.objects,
        max_batch_size=bundle.max_batch_size,
    )


def _targets(bundle: Bundle) -> list[str]:
    """What the release is for; [] = everything. Half precision is for GPUs: a CPU computes it in FP32, only slower."""
    return bundle.targets or ([GPU] if bundle.precision == "fp16" else [])


def _sources(bundle: Bundle) -> dict[str, str]:
    """By network, where its weights come from; and by variant, its LoRAs."""
    found = {name: _source(bundle, name) for name in bundle.used}
    for name, variant in bundle.variants.items():
        loras = [f"{lora.source} × {lora.scale:g}" for lora in variant.loras]
        found[f"{VARIANT}{name}"] = ", ".join(["unet", *loras])
    return found


def _source(bundle: Bundle, name: str) -> str:
    weights = bundle.networks[name]
    if weights.config is not None:
        return f"random, seed {bundle.seed}"
    return f"{weights.path or weights.repo}@{weights.revision or 'local'}"
