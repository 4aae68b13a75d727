"""``python -m export add``: a bundle file, written from the weights that there are.

What the weights say of themselves (scheduler_config.json, config.json, the header of a file) is written down; what they
do not say comes from the base bundle. Both are told, line by line.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from export import bundle as bundles
from export.bundle import (
    KNOWN_NETWORKS,
    NAME,
    RESERVED,
    Bundle,
    BundleError,
    Lora,
    Weights,
    refuse,
)
from export.networks.load import empty_network, vae_factor
from export.proofs.checks import find_schedule, unserved_schedule
from export.proofs.inspection import find_problems
from export.seats import SEATS
from export.sources.configuration import CONFIG, read_config, read_json
from export.sources.headers import PICKLES, pickled, read_header
from export.sources.single_file import foreign_model, networks_in

CONTROLNETS = {name.removeprefix("controlnet_"): name for name in SEATS}
"""The ControlNets of a bundle in the words of the command line."""

_FIRST_LINE = "# Written by `python -m export add`; docs/adding.md says what else can stand here."
_PIPELINE = ("unet", "vae", "text_encoder")
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[0-9a-f]{40}))?")
_SCHEDULE = {"beta_start": "beta_start", "beta_end": "beta_end", "num_train_timesteps": "train_steps"}
"""diffusers' names of the schedule's members, and the bundle's."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is to be made of. Sources are paths, or ``owner/name@commit`` of a model hub."""

    name: str
    base: str
    source: str | None = None
    """A folder of diffusers, or a single file. None = the base's, with what follows."""
    networks: Mapping[str, str] = {}
    """Sources of single networks, by the bundle's names."""
    loras: Sequence[Lora] = ()


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that could be made."""

    bundle: Bundle
    text: str
    """The content of its file."""
    assumed: list[str]
    """What was taken from where, in sentences for the one who reads them."""


class _Notes(msgspec.Struct):
    """What has been found so far."""

    networks: dict[str, Weights] = {}
    tokenizer: Weights | None = None
    places: dict[str, str] = {}
    """Where each of these comes from, for people."""
    assumed: list[str] = []
    problems: list[str] = []
    native_size: int | None = None
    hints: tuple[str, str] | None = None
    """What the ControlNets are shown, where that is not what the base's are."""
    schedule: dict[str, Any] = {}
    tierless: bool = False
    """Whether the base's tiers are left out."""


def order(
    name: str,
    base: str,
    source: str | None,
    *,
    loras: Sequence[str] = (),
    controlnets: Sequence[str] = (),
    networks: Mapping[str, str | None],
) -> Order:
    """An order in the words of the command line: ``loras`` are FILE:scale, ``controlnets`` SEAT=SOURCE.

    Raises BundleError when they are not.
    """
    problems: list[str] = []
    sources = {name: value for name, value in networks.items() if value is not None}
    for given in controlnets:
        seat, _, value = given.partition("=")
        if seat not in CONTROLNETS or not value:
            words = " or ".join(f"{word}=SOURCE" for word in CONTROLNETS)
            problems.append(f"--controlnet {given}: give {words}")
        else:
            sources[CONTROLNETS[seat]] = value
    fused = []
    for text in loras:
        try:
            fused.append(_lora(text))
        except BundleError as error:
            problems.append(str(error))
    if source is None and not sources and not fused and not problems:
        problems.append(
            "nothing is given that differs from the base: name a source, or an option such as --lora"
        )
    refuse(problems)
    return Order(name=name, base=base, source=source, networks=sources, loras=fused)


def draft(order: Order) -> Draft:
    """Look at all that ``order`` names, and make the bundle's file of it without writing it.

    Raises BundleError, with a line for each problem, when something cannot be served.
    """
    base = bundles.load_bundle(order.base)
    notes = _Notes()
    _collect(order, notes)
    _choose_seats(base, notes)
    _read_schedule(base, notes)
    _read_size(base, notes)
    text = _toml(order, notes)
    try:
        made = bundles.make_bundle(order.name, bundles.parse_bundle(order.name, text))
        problems = find_problems(made)
    except BundleError as error:
        problems = str(error).splitlines()
    # The file that these sentences begin with is not written yet.
    refuse(_advised(order, base, notes, problems))
    sources: dict[str, list[str]] = {}
    for name in (*made.used, "tokenizer"):
        chance = name != "tokenizer" and made.networks[name].config is not None
        usual = f"the base, {order.base}" + (", where they are random numbers: good for tests only" * chance)
        sources.setdefault(notes.places.get(name, usual), []).append(name)
    return Draft(
        bundle=made,
        text=text,
        assumed=[
            *(f"{', '.join(names)}: from {place}" for place, names in sources.items()),
            *notes.assumed,
            f"defaults, thresholds, the largest batch and the colours of previews: as in {order.base}",
        ],
    )


def _advised(order: Order, base: Bundle, notes: _Notes, problems: list[str]) -> list[str]:
    """All problems, with a word on networks that come from the base when one of these does not fit."""
    found = notes.problems + [problem.removeprefix(f"{order.name}.toml: ") for problem in problems]
    theirs = [
        name
        for name in base.used
        if name not in notes.networks and any(line.startswith(f"networks.{name}: ") for line in found)
    ]
    if theirs:
        found.append(
            f"{', '.join(theirs)}: not named, so taken from the base, {order.base}: give yours, or another base with "
            "--base"
        )
    return found


def file_for(name: str, *, replace: bool = False) -> Path:
    """The file that a new bundle ``name`` gets.

    Raises BundleError when no bundle can have that name, or when one has it: ``replace`` takes the place of one that
    was written here.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise BundleError(
            f"--name {name!r}: take small letters, digits, - and _, such as cosy-rooms; "
            f"{', '.join(RESERVED)} are taken"
        )
    path = bundles.BUNDLES / f"{name}.toml"
    if path.exists():
        own = path.read_text(errors="replace").startswith(_FIRST_LINE)
        if not (own and replace):
            remedy = "choose another name, or give --force" if own else "choose another name"
            raise BundleError(f"{path} exists: {remedy}")
    return path


def write(made: Draft, path: Path) -> None:
    """Write the bundle's file, whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(made.text)
    os.replace(unfinished, path)


def _collect(order: Order, notes: _Notes) -> None:
    """Find the sources of all networks that are not the base's."""
    if order.source is not None:
        try:
            _open(order.source, notes)
        except BundleError as error:
            notes.problems += str(error).splitlines()
    for name, source in order.networks.items():
        try:
            notes.networks[name] = _weights(source)
            notes.places[name] = source
        except BundleError as error:
            notes.problems.append(f"{name}: {error}")
    for lora in order.loras:
        notes.assumed.append(
            f"{lora.file.name}: fused into the UNet and the text encoder, times {lora.scale:g}"
        )


def _weights(source: str) -> Weights:
    """One network's source. Raises BundleError."""
    path = Path(source).expanduser()
    if path.suffix in PICKLES:
        raise BundleError(pickled(path))
    if path.exists():
        return Weights(path=_written(path))
    found = _HUB.fullmatch(source)
    if found is None or found["revision"] is None:
        raise BundleError(
            f"there is no {path}: correct the path, or name owner/name@commit of a model hub (40 digits)"
        )
    return Weights(repo=found["repo"], revision=found["revision"])


def _written(path: Path) -> str:
    """As a bundle's file names it: from the folder of bundles where that is possible."""
    whole, folder = path.resolve(), bundles.BUNDLES.resolve()
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def _open(source: str, notes: _Notes) -> None:
    """Take what the main source holds. Raises BundleError."""
    weights = _weights(source)
    path = Path(weights.source or "")
    if weights.repo is not None:
        for name in (*_PIPELINE, "tokenizer"):
            part = msgspec.structs.replace(weights, subfolder=name)
            if name == "tokenizer":
                notes.tokenizer = part
            else:
                notes.networks[name] = part
            notes.places[name] = f"the folder of this name of {source}"
        notes.assumed.append(f"{source} is looked at when it is fetched, by the export")
    elif path.is_dir():
        _open_folder(path, notes)
    else:
        _open_file(path, weights, notes)


def _open_folder(folder: Path, notes: _Notes) -> None:
    found = [name for name in KNOWN_NETWORKS if (folder / name).is_dir()]
    if "unet" not in found and (folder / CONFIG).is_file():
        if read_json(folder / CONFIG).get("_class_name") != "UNet2DConditionModel":
            raise BundleError(
                f"{folder / CONFIG}: is no UNet's: name the folder with the option for its network"
            )
        notes.networks["unet"] = Weights(path=_written(folder))
        notes.places["unet"] = str(folder)
        return
    if "unet" not in found:
        index = folder / "model_index.json"
        kind = read_json(index).get("_class_name") if index.is_file() else None
        raise BundleError(
            f"{folder}: has no folder unet{f', it is a {kind}' if kind else ''}: name a folder that diffusers saved of "
            "Stable Diffusion 1.5's kind, or a single .safetensors file"
        )
    for name in found:
        notes.networks[name] = Weights(path=_written(folder / name))
    if (folder / "tokenizer").is_dir():
        notes.tokenizer = Weights(path=_written(folder / "tokenizer"))
        found.append("tokenizer")
    notes.places |= dict.fromkeys(found, str(folder))
    if (folder / "text_encoder_2").is_dir():
        notes.problems.append(
            f"{folder}: has a second text encoder: it is Stable Diffusion XL's: take a checkpoint of Stable Diffusion "
            "1.5's kind"
        )
    if (folder / "controlnet").is_dir():
        notes.assumed.append(
            f"not taken: {folder / 'controlnet'}; say what it is shown with --controlnet, {' or '.join(CONTROLNETS)}"
        )


def _open_file(file: Path, weights: Weights, notes: _Notes) -> None:
    header = read_header(file)
    if model := foreign_model(header):
        raise BundleError(f"{file}: is of {model}: take a checkpoint of Stable Diffusion 1.5's kind")
    held = [name for name in networks_in(header) if name in _PIPELINE]
    if "unet" not in held:
        lora = any("lora" in name for name in header.tensors)
        raise BundleError(
            f"{file}: holds no UNet"
            + (
                ": give it with --lora"
                if lora
                else ", but " + (", ".join(networks_in(header)) or "other things")
            )
            + ("" if lora else ": name it with the option that is meant for it")
        )
    for name in held:
        notes.networks[name] = weights
        notes.places[name] = str(file)
    notes.assumed.append(f"the configurations of what {file.name} holds: as in the base")
    if any(name.startswith("model_ema.") for name in header.tensors):
        notes.assumed.append(
            f"{file} holds averaged weights too (model_ema); the others are taken, as diffusers does"
        )


def _choose_seats(base: Bundle, notes: _Notes) -> None:
    """Seat ControlNets that are shown something else than the base's: two of them in both seats, one in the second."""
    given = [SEATS[name] for name in SEATS if name in notes.networks]
    new = [hint for hint in given if hint not in base.seats]
    if not new:
        return
    if len(given) > 2:
        notes.problems.append(
            f"ControlNets for {', '.join(given)} are given, and there are two seats: leave one out"
        )
        return
    first, second = base.seats
    if len(given) == 2:
        notes.hints = (given[0], given[1])
    else:
        notes.hints = (first, new[0])
        notes.assumed.append(f"the ControlNet for {new[0]} takes the seat of that for {second}")


def _read_schedule(base: Bundle, notes: _Notes) -> None:
    """Write down the schedule that the UNet's source names, where it is not the base's."""
    unet = notes.networks.get("unet")
    if unet is None:
        return
    ours = base.schedule
    try:
        source = find_schedule(unet) if unet.repo is None else None
    except BundleError:
        return  # which find_problems tells
    if source is None:
        notes.assumed.append(
            f"schedule: as in {base.name} ({ours.prediction}, betas {ours.beta_start:g} to {ours.beta_end:g}): no "
            "scheduler_config.json is here to say otherwise"
        )
        return
    file, given = source
    prediction = given.get("prediction_type", ours.prediction)
    if unserved_schedule(file, given):
        return
    values = {name: given[key] for key, name in _SCHEDULE.items() if key in given} | {
        "prediction": prediction
    }
    notes.schedule = {name: value for name, value in values.items() if value != getattr(ours, name)}
    notes.assumed.append(
        "schedule: " + ", ".join(f"{name} {value}" for name, value in values.items()) + f", as {file} says"
    )
    if notes.schedule and base.tiers:
        notes.tierless = True
        notes.assumed.append(
            f"quality: one kind of picture, as in the defaults: the tiers of {base.name} were made for its own schedule"
        )


def _read_size(base: Bundle, notes: _Notes) -> None:
    """The side of the pictures that the UNet was made for: its sample_size times the VAE's factor."""
    unet = notes.networks.get("unet")
    if unet is None or unet.repo is not None or unet.is_file:
        return
    vae = notes.networks.get("vae", base.networks["vae"])
    if vae.is_file and vae.like is None:
        vae = base.networks["vae"]
    if vae.repo is not None:
        return
    try:
        sample, network = read_config(unet).get("sample_size"), empty_network("vae", read_config(vae))
    except BundleError:
        return  # which find_problems tells
    if isinstance(sample, int):
        notes.native_size = sample * vae_factor(network)
        notes.assumed.append(
            f"native_size: {notes.native_size} pixels: the UNet's sample_size × {vae_factor(network)}, the VAE's factor"
        )


def _toml(order: Order, notes: _Notes) -> str:
    parts = [order.source] if order.source else [order.base]
    names = [Path(part).name for part in (*parts, *(lora.source for lora in order.loras))]
    lines = [
        _FIRST_LINE,
        f"name = {_quoted(order.name)}",
        f"description = {_quoted('Made from ' + ' and '.join(names))}",
        f"base = {_quoted(order.base)}  # everything that is not stated here",
    ]
    if notes.native_size is not None:
        lines.append(f"native_size = {notes.native_size}  # the UNet's sample_size × the VAE's factor")
    if notes.hints is not None:
        lines.append(
            f"hints = [{', '.join(map(_quoted, notes.hints))}]  # what the two ControlNets are shown"
        )
    if notes.tierless:
        lines += ["tiers = {}  # those of the base were made for another schedule", "variants = {}"]
    if notes.schedule:
        lines += ["", "# As the weights say that they were trained.", "[schedule]"]
        lines += [f"{name} = {_value(value)}" for name, value in notes.schedule.items()]
    if notes.tokenizer is not None:
        lines += ["", f"[tokenizer]\n{_table(notes.tokenizer, newlines=True)}"]
    if notes.networks:
        lines += ["", "[networks]"]
        lines += [f"{name} = {{ {_table(weights)} }}" for name, weights in notes.networks.items()]
    for lora in order.loras:
        lines += ["", "[[loras]]", f"path = {_quoted(lora.source)}", f"scale = {lora.scale}"]
    return "\n".join(lines) + "\n"


def _table(weights: Weights, newlines: bool = False) -> str:
    given = {
        name: value for name in ("repo", "revision", "subfolder", "path") if (value := getattr(weights, name))
    }
    return ("\n" if newlines else ", ").join(f"{name} = {_quoted(value)}" for name, value in given.items())


def _value(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """A TOML string; JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False)


def _lora(text: str) -> Lora:
    """``FILE`` or ``FILE:scale``. Raises BundleError."""
    file, _, scale = text.rpartition(":")
    try:
        number = float(scale)
    except ValueError:
        file, number = text, 1.0
    path = Path(file or text).expanduser()
    if not path.is_file():
        raise BundleError(f"--lora: there is no {path}: give FILE or FILE:scale")
    if not math.isfinite(number):
        raise BundleError(f"--lora {text}: the scale must be a finite number")
    return Lora(path=_written(path), scale=number)
