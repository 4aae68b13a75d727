"""The release: what the export wrote about the graphs that the models call."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restyle.pictures.images import Fit
from restyle.solver import PREDICTIONS, SPACINGS, Array, Table, alphas_cumprod, solver_table

HINTS = ("depth", "edges", "lines", "segments")
"""What ControlNets can be shown of a photo."""


@dataclass(frozen=True)
class Defaults:
    """What a request gets for inputs that it leaves out."""

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
    alphas: Array
    """ᾱ of the training schedule, FP64 [train_steps]."""
    prediction: str
    """What the denoiser's networks predict, a key of PREDICTIONS."""
    spacing: str
    """How the solvers are spread over the schedule, a key of SPACINGS."""
    solvers: tuple[str, ...]
    """The solvers that a request may name: those that begin where the networks were trained."""
    palettes: tuple[tuple[str, ...], ...]
    """Colours in words. A request that names none gets one of the palettes, by its seed; () = the style's own."""
    quality_threshold: float
    preview_matrix: NDArray[np.float32]
    """[channels + 1, 3]: latents → RGB in −1..1, linearly; the last row is a constant."""
    labels: list[str]
    tokenizer: Path
    frame: tuple[int, int, int]
    """Token ids that begin, end and pad a prompt."""
    versions: dict[str, int]
    """The version of every graph of this release."""
    hints: tuple[str, str] = ("depth", "edges")
    """What the two ControlNets are shown, of HINTS, in the order of control_scale: the names of the denoiser's
    inputs."""

    def latent_shape(self, fit: Fit) -> tuple[int, int, int, int]:
        """[1,C,h,w] of the latents of a photo's bucket."""
        height, width = fit.bucket
        return (1, self.latent_channels, height // self.vae_factor, width // self.vae_factor)

    def table(self, solver: str, steps: int, strength: float) -> Table:
        """The table of one of ``solvers`` for these networks; see :func:`solver_table`."""
        return solver_table(
            solver,
            steps,
            strength,
            self.alphas,
            self.prediction,
            spacing=self.spacing,
            start_noise=self.defaults.start_noise,
        )


def load_release() -> Release:
    """The release in the folder that REROOM_RELEASE names. Raises ValueError with one sentence when it is unusable."""
    folder = os.environ.get("REROOM_RELEASE")
    if not folder:
        raise ValueError(
            "REROOM_RELEASE is not set: it must name the folder of a release, such as releases/dollhouse"
        )
    path = Path(folder) / "live"
    try:
        path = Path(folder) / "versions" / str(int(path.read_text())) / "release.json"
        return _parse(json.loads(path.read_text()), Path(folder))
    except OSError as error:
        raise ValueError(
            f"cannot read {path}: {error.strerror}; make it with `python -m export BUNDLE`"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a release that this program knows: {error!r}; export the bundle again"
        ) from error


def _parse(document: dict[str, Any], folder: Path) -> Release:
    defaults, schedule, tokenizer = document["defaults"], document["schedule"], document["tokenizer"]
    first_scale, second_scale = defaults["control_scale"]
    spacing = _one_of("spacing", schedule.get("spacing", "diffusers"), SPACINGS)
    return Release(
        name=document["release"],
        buckets=[(height, width) for height, width in document["buckets"]],
        vae_factor=document["sizes"]["vae_factor"],
        latent_channels=document["sizes"]["latent_channels"],
        defaults=Defaults(**{**defaults, "control_scale": (first_scale, second_scale)}),
        alphas=alphas_cumprod(schedule["beta_start"], schedule["beta_end"], schedule["train_steps"]),
        prediction=_one_of("prediction", schedule.get("prediction", "epsilon"), PREDICTIONS),
        spacing=spacing,
        solvers=tuple(document.get("solvers", SPACINGS[spacing])),
        palettes=tuple(tuple(palette) for palette in document.get("palettes", ())),
        quality_threshold=document["quality_threshold"],
        preview_matrix=np.array(document["preview_matrix"], np.float32),
        labels=document["labels"],
        tokenizer=folder / tokenizer["file"],
        frame=(tokenizer["begin"], tokenizer["end"], tokenizer["pad"]),
        versions={name: facts["version"] for name, facts in document["models"].items()},
        hints=_hints(document.get("hints", HINTS[:2])),
    )


def _hints(names: list[str]) -> tuple[str, str]:
    first, second = names
    if first == second or not {first, second} <= set(HINTS):
        raise ValueError(f"hints are {first} and {second}, not two of {', '.join(HINTS)}")
    return first, second


def _one_of(name: str, value: str, known: Collection[str]) -> str:
    """A member of the schedule."""
    if value not in known:
        raise ValueError(f"schedule.{name} is {value!r}, not one of {', '.join(known)}")
    return value
