"""MODEL_CARD.md of the release ``dollhouse``, written from facts and the words in card.md.

    python -m export.dollhouse.card                        # after new figures in benchmarks/results
    python -m export.dollhouse.card --run .run/dollhouse   # after an export: keep the training's facts too

The facts: release.json, the graphs themselves, ``versions/<n>/training.json`` (:mod:`.facts`), and what the benchmark
measured on this very release.
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
from typing import Any

import onnx
from onnx import TensorProto

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "releases" / "dollhouse"
BENCHMARKS = ROOT / "benchmarks"
WORDS = Path(__file__).with_name("card.md")
NAME = "MODEL_CARD.md"

Facts = dict[str, Any]

GRAPHS = {
    "depth": "depth model: DPT on a convolutional backbone",
    "detector": "one-stage detector: objects are peaks of heat maps",
    "text_encoder": "CLIP text encoder",
    "vae_encoder": "encoder of the autoencoder (AutoencoderKL)",
    "denoiser": "UNet and both ControlNets, with guidance and the solver's step",
    "vae_decoder": "decoder of the autoencoder",
}
SPLITS = {
    "train": "every network of the release",
    "held_out": "none; figures are measured on it",
    "judge": "the benchmark's judge of styles",
}
TRAINED = {
    "autoencoder": "autoencoder",
    "diffusion": "text encoder, UNet and both ControlNets",
    "depth": "depth model",
    "detector": "detector",
    "judge": "judge of styles, for the benchmark only",
}
FIGURES = {
    "style_accuracy": "share of results whose style the judge names as the one asked for",
    "judge_accuracy": "the same of real renders",
    "depth_rank": "rank correlation of a room's true depth with what the depth model sees in the result",
    "edge_f1": "F1 of the edges of the room's structure, found in the result",
    "depth_absrel": "AbsRel of the depth model on renders, after scale and shift",
    "detector_map50": "mAP@0.5 of the detector on renders",
    "room_type_accuracy": "share of renders whose room type is named rightly",
    "quality_ranking": "share of triples that the quality score ranks: the same room, another room, noise",
    "restyle_seconds": "seconds for a photo through the whole stack, at the defaults",
    "triton_peak_mb": "peak memory of Triton in MB",
    "bundle_mb": "all files of the release in MB",
}

_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}


@dataclass(frozen=True)
class Sources:
    """Everything that a card is written from."""

    document: Facts
    """release.json."""
    parameters: dict[str, int]
    """By graph."""
    training: Facts | None
    """None = not recorded."""
    measured: Facts
    """What the benchmark found; empty when it has not measured this release."""
    gates: dict[str, dict[str, float]]


def read_sources(release: Path = RELEASE, benchmarks: Path = BENCHMARKS) -> Sources:
    """Raises FileNotFoundError when there is no release."""
    text = (release / "release.json").read_bytes()
    document = json.loads(text)
    version = document["release"].rpartition("-")[2]
    measured = _json(benchmarks / "results" / "dollhouse.json") or {}
    if measured.get("release", {}).get("sha256") != hashlib.sha256(text).hexdigest():
        measured = {}
    graphs = {name: release / "models" / name / str(facts["version"]) for name, facts in _models(document)}
    gates = benchmarks / "gates.toml"
    return Sources(
        document,
        {name: count_parameters(folder / "model.onnx") for name, folder in graphs.items()},
        _json(release / "versions" / version / "training.json"),
        measured,
        tomllib.loads(gates.read_text()) if gates.is_file() else {},
    )


def count_parameters(graph: Path) -> int:
    """Numbers in the floating-point initializers of an ONNX file, lone constants left out."""
    model = onnx.load(graph, load_external_data=False)
    sizes = (prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in _FLOATS)
    return sum(size for size in sizes if size > 1)


def write_card(sources: Sources) -> str:
    """The card's text."""
    document = sources.document
    defaults, models = document["defaults"], dict(_models(document))
    scales = " and ".join(f"{scale:g}" for scale in defaults["control_scale"])
    return Template(WORDS.read_text()).substitute(
        release=document["release"],
        side=document["sizes"]["native_size"],
        labels=", ".join(document["labels"]),
        networks=_networks(sources),
        precision=document["precision"],
        stored=" and ".join(sorted({facts.get("stored", "fp32") for facts in models.values()})),
        defaults=f"{defaults['steps']} steps of {defaults['solver']}, guidance {defaults['guidance_scale']:g}, "
        f"control scales {scales} (depth, edges)",
        data=_data(sources.training),
        training=_training(sources.training),
        figures=_figures(sources),
        tools=", ".join(f"{name} {version}" for name, version in document["tools"].items()),
        files=_table(
            ("file", "SHA-256"),
            [
                (f"`models/{name}/{facts['version']}/{file}`", f"`{digest}`")
                for name, facts in models.items()
                for file, digest in facts["sha256"].items()
            ],
        ),
    )


def _networks(sources: Sources) -> str:
    rows = [
        (f"`{name}`", GRAPHS[name], sources.parameters[name], facts["bytes"])
        for name, facts in _models(sources.document)
    ]
    rows.append(("all", "", sum(row[2] for row in rows), sum(row[3] for row in rows)))
    return _table(
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
    table = _table(("split", "rooms", "seeds", "learnt from by"), rows)
    side, rays = training["side"], training["rays_per_pixel"]
    size = f"Five pictures a room, {side} × {side} pixels, rays per pixel: {rays}."
    if training["restyling_rooms"] != training["rooms"]["train"]["rooms"]:
        size += f" What restyles learnt from the first {training['restyling_rooms']} rooms."
    return f"{table}\n\n{size}"


def _training(training: Facts | None) -> str:
    if training is None:
        return "Time and machine were not recorded."
    machine, kept = training["machine"], training["reconstruction"]
    where = f"{machine['cores']} cores of {machine['cpu']}"
    if machine["device"] != "CPU":
        where = f"one {machine['device']}, with {where}"
    rows = [
        (what, str(ended["step"]), f"{ended['minutes']:.0f}", f"{ended['loss']:.4f}")
        for name, what in TRAINED.items()
        if (ended := training["training"].get(name))
    ]
    table = _table(("network", "steps", "minutes", "loss at the end"), rows)
    if "began_with" in training:
        table += "\n\nIt began with the networks of an earlier training; what the table leaves out was taken as it is."
    for remark in training.get("remarks", ()):
        table += f"\n\n{remark}"
    return (
        f"On {where}, with torch {machine['torch']}. On a CPU, the last three are trained beside the first two.\n\n"
        f"{table}\n\nThe autoencoder alone gives a picture back at {kept['psnr']:.1f} dB, its Canny edges with an F1 "
        f"of {kept['edge_f1']:.2f}."
    )


def _figures(sources: Sources) -> str:
    found, release = sources.measured, sources.document["release"]
    if not found:
        return f"Not measured yet: `python -m benchmarks.dollhouse` has not seen {release}."
    rows = [
        (f"`{name}`", what, _value(found.get(name)), _gate(sources.gates.get(name), found.get(name)))
        for name, what in FIGURES.items()
    ]
    table = _table(("figure", "what it is", "value", "gate"), rows)
    if "rooms" not in found:
        return table
    around = found["rooms"]
    return (
        f"{table}\n\nMeasured by `python -m benchmarks.dollhouse` on a real Triton: {around['rooms']} held-out rooms, "
        f"{around['results']} results;\n{around['cores']} cores of {around['cpu']}, {around['date']}."
    )


def _value(value: float | None) -> str:
    if value is None:
        return "not measured yet"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _gate(gate: dict[str, float] | None, value: float | None) -> str:
    if gate is None:
        return ""
    ((kind, bound),) = [(kind, gate[kind]) for kind in ("at_least", "at_most") if kind in gate]
    text = f"{'≥' if kind == 'at_least' else '≤'} {bound:g}"
    if value is None or (value >= bound if kind == "at_least" else value <= bound):
        return text
    return f"{text}: missed"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


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
        prog="python -m export.dollhouse.card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=Path, help="keep the facts of this training beside the release first")
    parser.add_argument("--data", type=Path, help="its rooms (RUN/data)")
    parser.add_argument("--release", type=Path, default=RELEASE, help="(releases/dollhouse)")
    given = parser.parse_args(arguments)
    if not (given.release / "release.json").is_file():
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
