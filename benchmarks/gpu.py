"""How fast is a picture of each quality on a GPU, alone and in batches, beside diffusers with the same weights?

    make bench-gpu                                           # sd15 on an NVIDIA GPU, into results/gpu.json and gpu.md
    make bench-gpu BUNDLE=sd15_random                        # where no model hub can be reached: as fast, of noise
    python -m benchmarks.gpu --device cpu --bundle tiny --out /tmp/gpu.json

Every tier in every batch: our service (the embedded Triton, as ``make up DEVICE=cuda`` runs it), diffusers eager, and
diffusers with UNet, ControlNets and decoder compiled by torch.compile. All have the same weights, type, solver, steps,
guidance, hints and words, and take turns in one run (``benchmarks.sides``, ``benchmarks.versus``). The first pictures
are compared before rounding: if they differ, the times are of no use.

The JSON has, by tier and batch, the seconds of a picture and all that were measured; ours over theirs; the card's
clocks, power, temperature and memory meanwhile, and why it was slowed down; how many samples met in a run of the
denoiser; and ``outside_all_graphs``, the share of a single picture's time in which no model computed. No clock is
locked and nothing is set: for figures that last, let nothing else use the card.

Where something is missing it says what in one sentence, with status 2. The status is 1 when pictures differ or our side
failed. It has not run on a GPU yet; on a CPU it has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import torch

from benchmarks import RESULTS
from benchmarks.gpu_table import markdown, write_pages
from benchmarks.sides import Diffusers, DiffusersNetworks, Kind, Ours, Side
from benchmarks.versus import Cells, measure, together
from export.bundle import BundleError, load_bundle
from measuring import report
from measuring.gpu import Gpu
from measuring.releases import Release, ready_release
from stack.device import chosen_device
from stack.process import StackError
from stack.triton import ENVIRONMENT

MISSING = 2
LARGEST_BATCH = 8
EXACT, ROUNDED = 1.0, 10.0
"""How far pictures may differ anywhere, in levels of 255: where both compute in FP32, and where both round to FP16 or
TF32 (``export.proofs.whole``)."""
SERVING = ("onnxruntime", "onnxruntime-gpu", "nvidia-pytriton")


class Missing(Exception):
    """What a measurement needs is not here. Its text says what to do."""


def check_torch(device: str) -> None:
    """Raises Missing when diffusers cannot run on ``device``."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Missing(
            f"diffusers cannot run on the GPU, since the torch of this environment, {torch.__version__}, finds none: "
            "install one with CUDA, `make .venv TORCH_INDEX=` that index of PyTorch's which fits the driver"
        )


def ready(bundle: str, device: str, precision: str, environment: Path) -> Release:
    """The release to measure. Raises Missing, with what to do, when something is missing."""
    try:
        if device == "cuda":
            chosen_device("cuda", environment)
        check_torch(device)
        return ready_release(bundle, precision)
    except (StackError, BundleError, RuntimeError) as error:
        raise Missing(str(error)) from error


def batches(release: Release, asked: Sequence[int]) -> list[int]:
    """``asked``, or powers of two up to what the release's graphs take."""
    largest = min(LARGEST_BATCH, int(release.facts["sizes"]["max_batch_size"]))
    return list(asked) or [size for size in (1, 2, 4, 8) if size <= largest]


def measured(
    release: Release,
    device: str,
    mode: str,
    kinds: Sequence[Kind],
    sizes: Sequence[int],
    rounds: int,
    apart: bool,
) -> tuple[Cells, list[str]]:
    """Cells, and what ours really ran on; ``kinds``: none = all; ``mode``: of torch.compile, "" = without; ``apart``:
    ours before diffusers, for cards that do not hold both."""
    bundle = load_bundle(release.facts["bundle"])
    gpu = Gpu.found() if device == "cuda" else None
    ours = Ours(release, device)
    networks: list[DiffusersNetworks] = []

    def theirs() -> list[Side]:
        networks.append(DiffusersNetworks(bundle, device, release.facts["precision"]))
        modes = [None, *([mode] if mode else [])]
        return [Diffusers(release, networks[-1], each) for each in modes]

    ran_on: list[str] = []

    def say(line: str) -> None:
        ran_on[:] = ours.devices or ran_on
        print(line, flush=True)

    kinds = kinds or list(bundle.kinds)
    if not apart:
        return measure([ours, *theirs()], kinds, sizes, rounds, gpu, say), ran_on
    first = measure([ours], kinds, sizes, rounds, gpu, say)
    rest = measure(theirs(), kinds, sizes, rounds, gpu, lambda line: print(line, flush=True))
    return together([first, rest]), ran_on


def versions(environment: Path) -> dict[str, str]:
    """Of what both sides run on."""
    packages = environment.glob("lib/python3*/site-packages")
    serving = {
        each.name.lower(): each.version
        for each in distributions(path=[str(folder) for folder in packages])
        if each.name.lower() in SERVING
    }
    cudnn: Any = torch.backends.cudnn
    torches = {"CUDA of torch": torch.version.cuda, "cuDNN": cudnn.version()}
    return {
        **{name: version(name) for name in ("torch", "diffusers", "transformers")},
        **{name: str(value) for name, value in torches.items() if value},
        **serving,
    }


def wrong(document: Mapping[str, Any]) -> list[str]:
    """What makes the times useless, as sentences."""
    exact = document["device"] == "cpu" and document["precision"] == "fp32"
    allowed = EXACT if exact else ROUNDED
    found = []
    for cell in document["cells"]:
        name = f"{cell['quality'] or 'usual'}, batch {cell['batch']}"
        if why := cell.get("failed", {}).get("ours"):
            found.append(f"{name}: ours failed: {why}")
        found += [
            f"{name}: our picture differs from diffusers' ({side}) by {apart:.1f} levels of 255, more than {allowed:g}"
            for side, apart in cell.get("max_difference", {}).items()
            if apart > allowed
        ]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="sd15", help="a name in export/bundles (sd15)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(cuda)")
    parser.add_argument(
        "--precision", choices=("fp16", "fp32"), help="of both sides (fp16 on cuda, fp32 on cpu)"
    )
    parser.add_argument("--quality", action="append", default=[], help="may be repeated (all of the bundle)")
    parser.add_argument(
        "--batch",
        type=int,
        action="append",
        default=[],
        help="pictures at once; may be repeated (1, 2, 4, 8)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side in each cell (5)")
    parser.add_argument(
        "--compile", default="default", metavar="MODE", help="torch.compile's mode, or off (default)"
    )
    parser.add_argument(
        "--apart", action="store_true", help="first ours, then diffusers, if the card does not hold both"
    )
    parser.add_argument(
        "--environment", type=Path, default=ENVIRONMENT, help="with onnxruntime-gpu (.triton)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json", help="and .md beside it")
    parser.add_argument(
        "--pages", action="store_true", help="show the table in README.md and docs/gpu.md too"
    )
    given = parser.parse_args()
    precision = given.precision or ("fp16" if given.device == "cuda" else "fp32")
    mode = "" if given.compile == "off" else given.compile
    around = report.circumstances()
    try:
        release = ready(given.bundle, given.device, precision, given.environment)
        sizes = batches(release, given.batch)
        cells, ran_on = measured(release, given.device, mode, given.quality, sizes, given.rounds, given.apart)
    except (Missing, BundleError, StackError) as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return MISSING
    gpu = Gpu.found() if given.device == "cuda" else None
    document = {
        **around,
        "device": given.device,
        "ours_ran_on": ran_on,
        "gpu": {} if gpu is None else gpu.described,
        "versions": versions(given.environment),
        "precision": release.facts["precision"],
        **release.described,
        "compile_mode": mode,
        "apart": given.apart,
        "rounds": given.rounds,
        "cells": [{"quality": quality, "batch": batch, **cell} for (quality, batch), cell in cells.items()],
    }
    report.write(given.out, document)
    given.out.with_suffix(".md").write_text(markdown(document))
    if given.pages:
        write_pages(document)
    print(markdown(document))
    print(f"wrote {given.out} and {given.out.with_suffix('.md')}")
    faults = wrong(document)
    print(*faults, sep="\n", end="\n" if faults else "")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
