"""The facts of a training, kept beside the release that came of it: ``versions/<n>/training.json``.

::

    machine    device, cpu, cores, torch: noted when the training began
    rooms      by split: how many, and the first seed; side and rays per pixel of all of them
    restyling_rooms   how many of those of ``train`` the denoisers learnt from
    pictures   pictures of each room: sources and targets
    training   by network: steps, minutes and loss at the end
    began_with   after a training with --start, by network: SHA-256 of the weights that it began with or took over
    weights    by network: SHA-256 of the .safetensors that was kept and exported (also in its weights.json)
    reconstruction   PSNR and edge F1 of the autoencoder
    remarks      sentences for the card, added by hand
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from dollhouse.data.dataset import SPLITS, open_dataset
from dollhouse.data.pairs import SOURCES, pairs_of
from dollhouse.train.loop import pick_device
from dollhouse.train.progress import last_record
from dollhouse.train.weights import START, digests
from export.bundle import NETWORKS, PERCEPTION
from export.releases.folder import live_version
from measuring.machine import cpu_model, usable_cores

Facts = dict[str, Any]

TRAINED = ("autoencoder", "diffusion", "depth", "detector")
"""Folders of a run in which networks of the release are trained."""
CLASSIFIER = "classifier"
"""The folder of the benchmark's style classifier; its facts are kept when it was trained in the same run."""
MACHINE = "machine.json"


class FactsError(ValueError):
    """A run and a release do not belong together, or a part of them is missing."""


def note_machine(run: Path) -> None:
    """Write ``run``/machine.json unless it is there: the machine on which a run began is the one that is recorded."""
    file = run / MACHINE
    if not file.is_file():
        run.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(_machine(), indent=2) + "\n")


def _machine() -> Facts:
    device = pick_device()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "torch": torch.__version__,
    }


def next_version(release: Path) -> int:
    """One more than the highest version that was ever published."""
    return max([0, *(int(folder.name) for folder in (release / "versions").glob("[0-9]*"))]) + 1


def released_facts(release: Path) -> Facts | None:
    """The training.json of the live version, None = there is none."""
    file = _file(release)
    found: Facts | None = json.loads(file.read_text()) if file.is_file() else None
    return found


def released_weights(release: Path) -> dict[str, str] | None:
    """By network: SHA-256 of the weights that the live version was made of (``weights.digests``)."""
    known = released_facts(release)
    return None if known is None else known["weights"]


def keep(run: Path, data: Path, release: Path) -> None:
    """Write the facts of ``run`` beside the live version of ``release``, whose networks it trained.

    Raises FactsError when that version is known to be made of other weights.
    """
    if not live_version(release):
        raise FactsError(f"there is no release in {release}: export it first")
    found, known = collect(run, data), released_weights(release)
    if known is not None and known != found["weights"]:
        raise FactsError(
            f"{release.name}-{live_version(release)} was not made of the weights in {run}: export them first"
        )
    _file(release).write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def collect(run: Path, data: Path) -> Facts:
    """The document that the module's docstring shows. Raises FactsError when the training is not complete."""
    note_machine(run)
    networks, start = run / "networks", run / START
    began_with = [name for name in NETWORKS if (start / name).is_dir()]
    optional = [
        CLASSIFIER,
        *(["autoencoder"] if began_with else []),
        *(n for n in PERCEPTION if n in began_with),
    ]
    try:
        made = json.loads((data / "making.json").read_text())
        measured = json.loads((networks / "facts.json").read_text())
        return {
            "machine": json.loads((run / MACHINE).read_text()),
            "rooms": {
                split: {"rooms": len(open_dataset(data, split)), "first_seed": seeds.start}
                for split, seeds in SPLITS.items()
            },
            "restyling_rooms": json.loads((run / "prepared" / "note.json").read_text())["shape"][0],
            "pictures": len(SOURCES) + len(pairs_of(0)),
            "side": made["side"],
            "rays_per_pixel": made["supersample"] ** 2,
            "training": {
                name: _ended(run / name / "log.jsonl")
                for name in (*TRAINED, CLASSIFIER)
                if name not in optional or (run / name / "log.jsonl").is_file()
            },
            **({"began_with": digests(start, began_with)} if began_with else {}),
            "reconstruction": measured["reconstruction"],
            "weights": digests(networks),
        }
    except FileNotFoundError as error:
        raise FactsError(f"the training in {run} is not complete: {error}") from error


def _ended(log: Path) -> Facts:
    record = last_record(log)
    if record is None:
        raise FactsError(f"the training is not complete: {log} is empty")
    return {name: record[name] for name in ("step", "minutes", "loss")}


def _file(release: Path) -> Path:
    return release / "versions" / str(live_version(release)) / "training.json"
