"""MODEL_CARD.md of the release ``dollhouse``, written from facts and the words in card.md.

    python -m dollhouse.evaluate.card                        # after new figures in results/
    python -m dollhouse.evaluate.card --run .run/dollhouse   # after an export: keep the training's facts too

The facts: release.json, the graphs themselves, ``versions/<n>/training.json`` (:mod:`.facts`), the benchmark's figures
of this very release, and the marks that a person gave its pictures (:mod:`.marks`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from string import Template

import onnx
from onnx import TensorProto

from export.releases.folder import live_document, live_version
from measuring import ROOT

from .card_results import Facts, eye, figures, table
from .marks import FILE as MARKS_FILE
from .marks import Marks, read_marks

RELEASE = ROOT / "releases" / "dollhouse"
EVALUATION = Path(__file__).parent
"""Holds results/ and gates.toml."""
WORDS = Path(__file__).with_name("card.md")
NAME = "MODEL_CARD.md"

GRAPHS = {
    "depth": "depth model: DPT on a convolutional backbone",
    "detector": "one-stage detector: objects are peaks of heat maps",
    "text_encoder": "CLIP text encoder",
    "vae_encoder": "encoder of the autoencoder (AutoencoderKL)",
    "denoiser": "UNet and both ControlNets, with guidance and the solver's step",
    "vae_decoder": "decoder of the autoencoder",
    "tiny_decoder": "a smaller decoder, for drafts",
    "denoiser_few_step": "the denoiser with further LoRAs, for few steps",
}
SPLITS = {
    "train": "the networks under Training",
    "held_out": "none; settings may be chosen on it, figures are measured on further seeds",
    "classifier": "the style classifier of the evaluation",
}
TRAINED = {
    "autoencoder": "autoencoder",
    "diffusion": "text encoder, UNet and both ControlNets",
    "depth": "depth model",
    "detector": "detector",
    "classifier": "style classifier, for the evaluation only",
}
PAIRS = (
    "Each room is found in each of the styles and in mixtures of them, and from that restyled: in another style's\n"
    "colours, and often in colours that a caption names, while patterns, gloss and light stay as they were found."
)
ONE_LOOK = "Each was rendered in each of the five styles."
"""For older trainings, which did not record the pictures of a room."""
FIRST_PICTURES = 5
"""Pictures of a room in such trainings: one in every style."""
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}


@dataclass(frozen=True)
class Sources:
    """Everything that a card is written from."""

    document: Facts
    """release.json of the live version."""
    parameters: dict[str, int]
    """By graph."""
    training: Facts | None
    """None = not recorded."""
    measured: Facts
    """The benchmark's figures; empty when it has not measured this release."""
    gates: dict[str, dict[str, float]]
    marks: Marks | None = None
    """None = the pictures of this release have no marks yet."""


def read_sources(
    release: Path = RELEASE, evaluation: Path = EVALUATION, marks_file: Path = MARKS_FILE
) -> Sources:
    """Raises FileNotFoundError when there is no release."""
    text = live_document(release).read_bytes()
    document = json.loads(text)
    version = document["release"].rpartition("-")[2]
    measured = _json(evaluation / "results" / "dollhouse.json") or {}
    if measured.get("release", {}).get("sha256") != hashlib.sha256(text).hexdigest():
        measured = {}
    graphs = {name: release / "models" / name / str(facts["version"]) for name, facts in _models(document)}
    gates, marks = evaluation / "gates.toml", read_marks(marks_file)
    return Sources(
        document,
        {name: count_parameters(folder / "model.onnx") for name, folder in graphs.items()},
        _json(release / "versions" / version / "training.json"),
        measured,
        tomllib.loads(gates.read_text()) if gates.is_file() else {},
        marks if marks and marks.release == document["release"] else None,
    )


def count_parameters(graph: Path) -> int:
    """Numbers in the floating-point initializers of an ONNX file, lone constants left out."""
    model = onnx.load(graph, load_external_data=False)
    sizes = (prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in _FLOATS)
    return sum(size for size in sizes if size > 1)


def write_card(sources: Sources) -> str:
    """The card's text."""
    document = sources.document
    models = dict(_models(document))
    return Template(WORDS.read_text()).substitute(
        release=document["release"],
        side=document["sizes"]["native_size"],
        labels=", ".join(document["labels"]),
        networks=_networks(sources),
        precision=document["precision"],
        stored=" and ".join(sorted({facts.get("stored", "fp32") for facts in models.values()})),
        defaults=_defaults(document["defaults"]),
        start=_start(document),
        palettes=_palettes(document.get("palettes", [])),
        eye=eye(sources.marks, document["release"]),
        sources=PAIRS if "pictures" in (sources.training or {}) else ONE_LOOK,
        data=_data(sources.training),
        training=_training(sources.training),
        figures=figures(sources.measured, sources.gates, document["release"]),
        tools=", ".join(f"{name} {version}" for name, version in document["tools"].items()),
        files=table(
            ("file", "SHA-256"),
            [
                (f"`models/{name}/{facts['version']}/{file}`", f"`{digest}`")
                for name, facts in models.items()
                for file, digest in facts["sha256"].items()
            ],
        ),
    )


def _defaults(defaults: Facts) -> str:
    scales = " and ".join(f"{scale:g}" for scale in defaults["control_scale"])
    text = (
        f"{defaults['steps']} steps of {defaults['solver']}, guidance {defaults['guidance_scale']:g}, "
        f"control scales {scales} (depth, edges)"
    )
    if "strength" in defaults:
        text += f", strength {defaults['strength']:g}"
    if "detail" in defaults:
        text += f", detail {defaults['detail']:g}"
    return text


def _start(document: Facts) -> str:
    """Whether restyling begins at noise or at the photo, and what that means for other strengths."""
    defaults = document["defaults"]
    strength = defaults.get("strength", 1.0)
    if strength >= 1.0:
        return "- **From noise.** A picture begins as noise; photo and room come in by depth and edges alone."
    noise = f"{defaults['start_noise']:.0%} of the usual" if defaults.get("start_noise", 1.0) else "no"
    text = (
        f"- **From the photo.** The denoiser was trained to begin with the photo's own latents and {noise} noise, at\n"
        f"  strength {strength:g}. Away from that pictures are worse, and much worse from noise alone (strength 1)."
    )
    if solvers := document.get("solvers"):
        text += f" Solvers that land where it was trained: {', '.join(solvers)}; others are refused."
    return text


def _palettes(palettes: Sequence[Sequence[str]]) -> str:
    if not palettes:
        return "- **One palette a style.** Without a palette in the request, colours are the style's own."
    named = "; ".join(", ".join(palette) or "the style's own" for palette in palettes)
    return (
        "- **A seed's variety is its palette.** Two seeds differ in their colours and in little else. A request\n"
        f"  without colours gets one of these, by its seed, or without a seed the first: {named}."
    )


def _networks(sources: Sources) -> str:
    rows = [
        (f"`{name}`", GRAPHS[name], sources.parameters[name], facts["bytes"])
        for name, facts in _models(sources.document)
    ]
    rows.append(("all", "", sum(row[2] for row in rows), sum(row[3] for row in rows)))
    return table(
        ("graph", "what it is", "parameters", "MB"),
        [(name, what, f"{count / 1e6:.2f} M", f"{size / 1e6:.1f}") for name, what, count, size in rows],
    )


def _data(training: Facts | None) -> str:
    if training is None:
        return "How many was not recorded."
    rows = []
    for split, purpose in SPLITS.items():
        count, first = training["rooms"][split]["rooms"], training["rooms"][split]["first_seed"]
        rows.append((f"`{split}`", str(count), f"{first} … {first + count - 1}", purpose))
    text = table(("split", "rooms", "seeds", "learnt from by"), rows)
    side, rays = training["side"], training["rays_per_pixel"]
    pictures = training.get("pictures", FIRST_PICTURES)
    size = f"{pictures} pictures a room, {side} × {side} pixels, rays per pixel: {rays}."
    if training["restyling_rooms"] != training["rooms"]["train"]["rooms"]:
        size += f" The denoisers learnt from the first {training['restyling_rooms']} rooms."
    return f"{text}\n\n{size}"


def _training(training: Facts | None) -> str:
    if training is None:
        return "Time and machine were not recorded."
    machine, kept = training["machine"], training["reconstruction"]
    where = f"{machine['cores']} cores of {machine['cpu']}"
    if machine["device"] != "CPU":
        where = f"one {machine['device']}, with {where}"
    rows = [
        (TRAINED.get(name, name), str(ended["step"]), f"{ended['minutes']:.0f}", f"{ended['loss']:.4f}")
        for name, ended in training["training"].items()
    ]
    text = table(("network", "steps", "minutes", "loss at the end"), rows)
    if "began_with" in training:
        text += "\n\nIt began with the networks of an earlier training; what the table leaves out was taken as it is."
    for remark in training.get("remarks", ()):
        text += f"\n\n{remark}"
    return (
        f"On {where}, with torch {machine['torch']}.\n\n"
        f"{text}\n\nThe autoencoder alone reconstructs pictures at {kept['psnr']:.1f} dB, their Canny edges with an F1 "
        f"of {kept['edge_f1']:.2f}."
    )


def _models(document: Facts) -> list[tuple[str, Facts]]:
    """Graphs in the order of GRAPHS. Raises ValueError for one that has no words there."""
    order = list(GRAPHS)
    return sorted(document["models"].items(), key=lambda item: order.index(item[0]))


def _json(file: Path) -> Facts | None:
    found: Facts | None = json.loads(file.read_text()) if file.is_file() else None
    return found


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 = written, 1 = facts are missing."""
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.evaluate.card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=Path, help="keep the facts of this training beside the release first")
    parser.add_argument("--data", type=Path, help="its rooms (RUN/data)")
    parser.add_argument("--release", type=Path, default=RELEASE, help="(releases/dollhouse)")
    given = parser.parse_args(arguments)
    if not live_version(given.release):
        print(f"there is no release in {given.release}: export it first", file=sys.stderr)
        return 1
    if given.run:
        # It needs torch; a card from facts that are kept does not.
        from .facts import FactsError, keep

        try:
            keep(given.run, given.data or given.run / "data", given.release)
        except FactsError as error:
            print(error, file=sys.stderr)
            return 1
    (given.release / NAME).write_text(write_card(read_sources(given.release)))
    print(f"wrote {given.release / NAME}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
