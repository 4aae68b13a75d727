"""The release: what the export wrote about the graphs that the models call."""

import json
import math
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restyle.pictures.images import Fit
from restyle.solver import DISTILLED, PREDICTIONS, SPACINGS, Array, Table, alphas_cumprod, solver_table

QUALITIES = ("draft", "standard", "best")
"""What a request may ask for: how much work a picture is worth, less first."""

LIVE = "live"
"""The file that has the number of the version that is live, as text."""

PROFILE = "profile.json"
"""Beside release.json; ``python -m benchmarks.profile`` writes it, on any day after the export."""

HINTS = ("depth", "edges", "lines", "segments")
"""What ControlNets can be shown of a photo."""

TINY_DECODER = "tiny_decoder"
"""A graph that some releases have: a small network in place of the VAE's decoder, for drafts and previews."""


@dataclass(frozen=True)
class Defaults:
    """What a request gets for inputs that it leaves out, and how the steps of its quality are taken."""

    solver: str
    steps: int
    guidance_scale: float
    control_scale: tuple[float, float]
    strength: float = 1.0
    """Below 1 the networks were trained to start from the photo."""
    start_noise: float = 1.0
    """The share, 0 … 1, of the first step's noise that is added to the photo at a strength below 1."""
    detail: float = 0.0
    """How much of the photo's own detail a result gets, 0 … 1."""
    guidance_interval: tuple[float, float] = (0.0, math.inf)
    """(low, high): steps that begin at a noise level σ with low < σ ≤ high are guided, the others follow the words
    alone, at half the cost (Kynkäänniemi et al. 2024, arXiv 2404.07724)."""
    spacing: str | None = None
    """A key of SPACINGS in place of the schedule's."""
    grid: tuple[int, ...] = ()
    """Falling timesteps in place of the spacing, for solvers that can be given them."""
    variant: str | None = None
    """Which of the release's denoisers runs the steps; None = the one that every release has."""
    decoder: str = "vae_decoder"
    """The graph that decodes the picture."""
    quality: str | None = None
    """The tier's own name, of QUALITIES; None where the release makes one kind of picture only."""

    @property
    def denoiser(self) -> str:
        """The graph that runs the steps."""
        return f"denoiser_{self.variant}" if self.variant else "denoiser"


@dataclass(frozen=True)
class Release:
    """A published bundle."""

    name: str
    buckets: list[tuple[int, int]]
    """(height, width) that photos are fitted to."""
    vae_factor: int
    """Picture sides over latent sides."""
    latent_channels: int
    defaults: Defaults
    """Of requests that name no quality, or one that the release does not have."""
    alphas: Array
    """ᾱ of the training schedule, FP64 [train_steps]."""
    prediction: str
    """What the denoiser's networks predict, a key of PREDICTIONS."""
    spacing: str
    """How the solvers are spread over the schedule, a key of SPACINGS."""
    solvers: tuple[str, ...]
    """The solvers that a request may name: those that begin where the networks were trained. A tier may take another
    one."""
    palettes: tuple[tuple[str, ...], ...]
    """Colours in words. A request that names none gets one of the palettes: by its seed, the first without one; () =
    the style's own."""
    quality_threshold: float
    preview_matrix: NDArray[np.float32]
    """[channels + 1, 3]: latents → RGB in −1..1, linearly; the last row is a constant."""
    labels: list[str]
    tokenizer: Path
    frame: tuple[int, int, int]
    """Token ids that begin, end and pad a prompt."""
    versions: dict[str, int]
    """The version of every graph of this release."""
    names: dict[str, str] = field(default_factory=dict)
    """By graph, Triton's name of its model where that is another one: an earlier release has other tensors under the
    graph's own."""
    hints: tuple[str, str] = ("depth", "edges")
    """What the two ControlNets are shown, of HINTS, in the order of control_scale: the names of the denoiser's
    inputs."""
    tiers: dict[str, Defaults] = field(default_factory=dict)
    """By quality, of QUALITIES; ``defaults`` is one of them, where there are any."""
    styles: dict[str, str] = field(default_factory=dict)
    """By the name of a style, the variant that draws it."""
    side: int = 0
    """Pixels along a side of the square that the networks were made for."""
    max_batch: int = 1
    """The largest batch of the graphs."""
    profile: dict[str, Any] | None = None
    """How long the graphs take on one device, where that was measured: PROFILE."""

    @property
    def version(self) -> int:
        """Its number: its name is the bundle's and this one."""
        return int(self.name.rpartition("-")[2])

    def model(self, graph: str) -> tuple[str, int]:
        """Triton's model of a graph, and which version of it; -1 = the latest, of models that are code."""
        return self.names.get(graph, graph), self.versions.get(graph, -1)

    def defaults_of(self, quality: str | None) -> Defaults:
        """What a request gets that asks for this quality, or for none."""
        return self.tiers.get(quality, self.defaults) if quality else self.defaults

    def in_style(self, tier: Defaults, style: str) -> Defaults:
        """The tier with the style's own denoiser, where it has one. A tier's own variant, such as one for few steps,
        goes before the style's: their LoRAs are fused into different graphs."""
        own = self.styles.get(style)
        return tier if own is None or tier.variant is not None else replace(tier, variant=own)

    def latent_shape(self, fit: Fit) -> tuple[int, int, int, int]:
        """[1,C,h,w] of the latents of a photo's bucket."""
        height, width = fit.bucket
        return (1, self.latent_channels, height // self.vae_factor, width // self.vae_factor)

    def table(self, solver: str, steps: int, strength: float, tier: Defaults | None = None) -> Table:
        """The table of one of ``solvers`` for these networks and a tier; None = ``defaults``. See
        :func:`solver_table`."""
        tier = tier or self.defaults
        return solver_table(
            solver,
            steps,
            strength,
            self.alphas,
            self.prediction,
            spacing=tier.spacing or self.spacing,
            grid=tier.grid,
            start_noise=tier.start_noise,
        )


def release_folder() -> Path:
    """The folder that REROOM_RELEASE names. Raises ValueError with one sentence."""
    folder = os.environ.get("REROOM_RELEASE")
    if not folder:
        raise ValueError(
            "REROOM_RELEASE is not set: it must name the folder of a release, such as releases/dollhouse"
        )
    return Path(folder)


def load_release() -> Release:
    """The live release in the folder that REROOM_RELEASE names. Raises ValueError with one sentence when it is
    unusable."""
    return load_release_of(release_folder())


def load_release_of(folder: Path) -> Release:
    """The live release in ``folder``. Raises ValueError."""
    return load_version(folder, version_in(folder))


def version_in(folder: Path) -> int:
    """The number of the live version in ``folder``. Raises ValueError."""
    with _explained(folder / LIVE):
        return int((folder / LIVE).read_text())


def load_version(folder: Path, version: int) -> Release:
    """One version of the releases in ``folder``. Raises ValueError."""
    path = folder / "versions" / str(version) / "release.json"
    with _explained(path):
        release = _parse(json.loads(path.read_bytes()), folder)
    return replace(release, profile=_profile(path.with_name(PROFILE)))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever goes wrong with the file is raised as ValueError with one sentence."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"cannot read {path}: {error.strerror}; make it with `python -m export BUNDLE`"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a release that this program knows ({type(error).__name__}: {error}); export the bundle "
            "again"
        ) from error


def _profile(file: Path) -> dict[str, Any] | None:
    """None where there is none. Raises ValueError."""
    if not file.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
        return found
    except (OSError, ValueError) as error:
        raise ValueError(
            f"cannot read {file} ({error}): remove it, or measure again with `python -m benchmarks.profile`"
        ) from error


def _parse(document: dict[str, Any], folder: Path) -> Release:
    schedule, tokenizer = document["schedule"], document["tokenizer"]
    spacing = _one_of("schedule.spacing", schedule.get("spacing", "diffusers"), SPACINGS)
    tiers = {
        _one_of("tiers", name, QUALITIES): _defaults(document["defaults"] | tier | {"quality": name})
        for name, tier in document.get("tiers", {}).items()
    }
    quality = _one_of("quality", document["quality"], tiers) if tiers else None
    styles = dict(document.get("styles", {}))
    for style, variant in styles.items():
        _one_of(f"styles.{style}", f"denoiser_{variant}", document["models"])
    return Release(
        name=document["release"],
        buckets=[(height, width) for height, width in document["buckets"]],
        vae_factor=document["sizes"]["vae_factor"],
        latent_channels=document["sizes"]["latent_channels"],
        defaults=tiers[quality] if quality else _defaults(document["defaults"]),
        alphas=alphas_cumprod(schedule["beta_start"], schedule["beta_end"], schedule["train_steps"]),
        prediction=_one_of("schedule.prediction", schedule.get("prediction", "epsilon"), PREDICTIONS),
        spacing=spacing,
        solvers=tuple(document.get("solvers", [name for name in SPACINGS[spacing] if name not in DISTILLED])),
        palettes=tuple(tuple(palette) for palette in document.get("palettes", ())),
        quality_threshold=document["quality_threshold"],
        preview_matrix=np.array(document["preview_matrix"], np.float32),
        labels=document["labels"],
        tokenizer=folder / tokenizer["file"],
        frame=(tokenizer["begin"], tokenizer["end"], tokenizer["pad"]),
        versions={name: facts["version"] for name, facts in document["models"].items()},
        names={name: facts["model"] for name, facts in document["models"].items() if "model" in facts},
        hints=_hints(document.get("hints", HINTS[:2])),
        tiers=tiers,
        styles=styles,
        side=document["sizes"]["native_size"],
        max_batch=document["sizes"]["max_batch_size"],
    )


def _defaults(values: dict[str, Any]) -> Defaults:
    first_scale, second_scale = values["control_scale"]
    given = values | {"control_scale": (first_scale, second_scale)}
    if "guidance_interval" in given:
        low, high = given["guidance_interval"]
        given["guidance_interval"] = (low, high)
    if "grid" in given:
        given["grid"] = tuple(given["grid"])
    return Defaults(**given)


def _hints(names: list[str]) -> tuple[str, str]:
    first, second = names
    if first == second or not {first, second} <= set(HINTS):
        raise ValueError(f"hints are {first} and {second}, not two of {', '.join(HINTS)}")
    return first, second


def _one_of(name: str, value: str, known: Collection[str]) -> str:
    """A member of the release."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}, not one of {', '.join(known)}")
    return value
