"""What a user sees before and while a bundle's weights are fetched: licences, sizes, an estimate, progress."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from export.bundle import BUNDLES, Bundle
from export.licences import licence_lines
from export.seats import SEATS
from export.sources.fetch_progress import shown
from export.sources.hub import Plan, carry_out, plan_fetch, with_folders
from export.sources.hub_cache import gigabytes
from export.sources.hub_client import Hub
from export.sources.wanted import parts, wanted_files

MINUTES_PER_GB = 4.5
"""Of a release, on two CPU cores: graphs are made, compared with torch and run. Stable Diffusion 1.5 with random
weights, 8.5 GB, took 38 minutes beside other work (benchmarks/results/export.json)."""


def fetch_with_progress(
    bundle: Bundle,
    console: Console | None = None,
    *,
    look: Callable[[Bundle], object] | None = None,
    hub: Hub | None = None,
    folder: Path = BUNDLES,
) -> dict[str, Path]:
    """:func:`export.sources.hub.fetch_bundle`, shown on stderr. Says nothing when the bundle takes nothing from a hub.

    ``look`` is called with the bundle as it is when only its configurations and tokenizer are here: what it raises ends
    the fetch before gigabytes are loaded. Raises BundleError.
    """
    if not wanted_files(bundle):
        return {}
    console = console or Console(stderr=True)
    for line in announcement(bundle):
        _say(console, line)
    plan = plan_fetch(bundle, hub=hub, folder=folder)
    for line in estimate(plan):
        _say(console, line)
    if look is not None and plan.to_load:
        look(with_folders(bundle, carry_out(plan, weights=False)))
    with shown(console) as progress:
        return carry_out(plan, progress)


def announcement(bundle: Bundle) -> list[str]:
    """The licences that the weights come under."""
    lines = licence_lines(bundle)
    return (
        [f"{bundle.name} comes under these licences; fetching it, you agree to them:", *lines]
        if lines
        else []
    )


def estimate(plan: Plan) -> list[str]:
    """What will be loaded, and about how long the export takes and how much disk."""
    size = plan.size + len(plan.bundle.variants) * _denoiser_bytes(plan)
    minutes = max(1, round(size / 1e9 * MINUTES_PER_GB))
    return [
        str(plan),
        f"making a release of it takes about {minutes} min on two CPU cores, {gigabytes(size)} of disk for the "
        "release at most, and as much again while it is made; stopped, both go on at the next call",
    ]


def _denoiser_bytes(plan: Plan) -> int:
    """What the files have of the UNet and the ControlNets, which every variant of the denoiser holds once more."""
    denoiser = {name: weights for name, weights in parts(plan.bundle).items() if name in ("unet", *SEATS)}
    folders = {(weights.repo, weights.subfolder) for weights in denoiser.values()}
    return sum(item.size for item in plan.items if (item.repo.name, item.file.rpartition("/")[0]) in folders)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
