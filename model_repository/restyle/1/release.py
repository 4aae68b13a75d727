"""What the export wrote about the graphs that this model calls: sizes, defaults, words, versions."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from solver import PREDICTIONS, Array, alphas_cumprod


@dataclass(frozen=True)
class Defaults:
    """Where a request is silent."""

    solver: str
    steps: int
    guidance_scale: float
    control_scale: tuple[float, float]


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
    quality_threshold: float
    preview_matrix: NDArray[np.float32]
    """[channels + 1, 3]: RGB in −1..1 from latents, the last row added."""
    labels: list[str]
    tokenizer: Path
    frame: tuple[int, int, int]
    """Token ids that begin, end and pad a prompt."""
    versions: dict[str, int]
    """The version of every graph of this release."""


def load_release() -> Release:
    """The release in the folder that REROOM_RELEASE names. Raises ValueError with one sentence when it is unusable."""
    folder = os.environ.get("REROOM_RELEASE")
    if not folder:
        raise ValueError(
            "REROOM_RELEASE is not set: it must name the folder of a release (with release.json)"
        )
    path = Path(folder) / "release.json"
    try:
        return _parse(json.loads(path.read_text()), path.parent)
    except OSError as error:
        raise ValueError(
            f"cannot read {path}: {error.strerror}; make it with `python -m export BUNDLE`"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a release of this version: {error!r}; export the bundle again"
        ) from error


def _parse(document: dict[str, Any], folder: Path) -> Release:
    defaults, schedule, tokenizer = document["defaults"], document["schedule"], document["tokenizer"]
    depth_scale, edge_scale = defaults["control_scale"]
    return Release(
        name=document["release"],
        buckets=[(height, width) for height, width in document["buckets"]],
        vae_factor=document["sizes"]["vae_factor"],
        latent_channels=document["sizes"]["latent_channels"],
        defaults=Defaults(**{**defaults, "control_scale": (depth_scale, edge_scale)}),
        alphas=alphas_cumprod(schedule["beta_start"], schedule["beta_end"], schedule["train_steps"]),
        prediction=_prediction(schedule),
        quality_threshold=document["quality_threshold"],
        preview_matrix=np.array(document["preview_matrix"], np.float32),
        labels=document["labels"],
        tokenizer=folder / tokenizer["file"],
        frame=(tokenizer["begin"], tokenizer["end"], tokenizer["pad"]),
        versions={name: facts["version"] for name, facts in document["models"].items()},
    )


def _prediction(schedule: dict[str, Any]) -> str:
    prediction: str = schedule.get("prediction", "epsilon")
    if prediction not in PREDICTIONS:
        raise ValueError(f"schedule.prediction is {prediction!r}, not one of {', '.join(PREDICTIONS)}")
    return prediction
