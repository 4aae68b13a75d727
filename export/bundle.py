"""Bundles: the weights of a service, and how they are to be run. One TOML file each in ``export/bundles/``."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

BUNDLES = Path(__file__).parent / "bundles"

NETWORKS = ("unet", "controlnet_depth", "controlnet_canny", "vae", "text_encoder", "depth", "detector")
PERCEPTION = ("depth", "detector")
"""Networks that analyse photos and can be used alone; the others belong together."""


FLOAT_TOLERANCE = 2e-5
"""The default of ``Bundle.tolerance``."""


class BundleError(ValueError):
    """The bundle cannot be used; the message says which field and why."""


class Weights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one network comes from: the Hub (``repo``, ``revision``, ``subfolder``), a local folder (``path``), or
    random numbers (``config``, the arguments of its configuration class)."""

    repo: str | None = None
    revision: str | None = None
    subfolder: str = ""
    path: str | None = None
    config: dict[str, Any] | None = None
    input_size: tuple[int, int] | None = None
    """Height and width in pixels that photos are scaled to for this network; None = what its configuration says."""
    redraw: float = 0.0
    """For random weights: the standard deviation with which tensors that start at zero are drawn anew."""
    gain: dict[str, float] = {}
    """For random weights: factors on the matrices and kernels under a name prefix ("" = all), so that inputs still
    have an effect at the far end."""

    @property
    def source(self) -> str | None:
        """What ``from_pretrained`` takes; a relative ``path`` starts at the folder of the bundle files."""
        return str(BUNDLES / self.path) if self.path is not None else self.repo


class Defaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Values that `restyle` uses for what a request leaves out. Releases omit the later ones when they have these
    values."""

    solver: str
    steps: int
    guidance_scale: float
    control_scale: tuple[float, float]
    strength: float = 1.0
    """Below 1 for networks that were trained to start from the photo: ``steps · strength`` steps are run."""
    start_noise: float = 1.0
    """When starting from the photo: the share, 0..1, of that noise level's noise with which the networks were
    trained."""
    detail: float = 0.0
    """0..1: how much of the photo's own detail a result gets; 0 = the network's pixels, at their size."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The noise schedule of the training ("scaled linear"), and what the network learnt to predict on it."""

    beta_start: float
    beta_end: float
    train_steps: int
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    """diffusers' names. A release without it means ε."""
    spacing: Literal["diffusers", "trailing"] = "diffusers"
    """How timesteps are spread over the schedule: for each solver as Stable Diffusion configures it in diffusers, or by
    diffusers' timestep_spacing="trailing", with which ddim, euler and dpmpp_2m begin at the same timesteps."""


class Licence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A licence that some of the bundle's weights come under."""

    name: str
    url: str
    """Where its text can be read."""
    networks: list[str]
    """Names of networks, ``tokenizer`` among them."""
    restrictions: str = ""
    """A sentence on what it asks of users and of who serves others."""
    sha256: str | None = None
    """SHA-256 of the text, where it was read."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that training measured: ``key`` of the JSON object in the file ``path``."""

    path: str
    key: str


Matrix = list[list[float]]
Stored = Literal["fp32", "fp16"]


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a bundle's TOML file."""

    name: str
    description: str
    native_size: Annotated[int, Meta(ge=64)]
    """Side in pixels of the square that the networks were made for."""
    max_batch_size: Annotated[int, Meta(ge=2)]
    """At least 2: `restyle` gives the text encoder both prompts at once."""
    objects: Annotated[int, Meta(ge=1)]
    """K: how many boxes the detector returns."""
    object_threshold: Annotated[float, Meta(ge=0.0, le=1.0)]
    quality_threshold: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Below this score a result is tried once more, when the request allows it."""
    networks: dict[str, Weights]
    tokenizer: Weights
    defaults: Defaults
    schedule: Schedule
    solvers: list[str] | None = None
    """Solvers that begin where the networks were trained; others are refused. None = all that the spacing has."""
    palettes: list[list[str]] = []
    """Colours in words, as captions of the training name them; [] among them = the style's own. A request without a
    palette gets one of these, by its seed."""
    preview_matrix: Matrix | Measured
    """RGB in −1..1 from latents: [channels + 1][3], the last row added. :func:`preview_matrix` reads it."""
    stored: Stored = "fp32"
    """How the files hold the weights. With fp16 they are rounded to it when they are loaded; the graphs still compute
    in FP32, so this halves the files and nothing else."""
    made_by: str | None = None
    """The command that makes the local weights; messages name it when they are missing."""
    licences: list[Licence] = []
    """What is shown before the weights are fetched, and recorded in the release."""
    tolerance: float = FLOAT_TOLERANCE
    """By how much a float output of a graph may differ from torch, relative to the largest magnitude (at least 1)."""
    seed: int = 0


def load_bundle(name: str) -> Bundle:
    """Read ``export/bundles/<name>.toml``. Raises BundleError when it is missing or malformed."""
    path = BUNDLES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in BUNDLES.glob("*.toml")))
        raise BundleError(f"there is no bundle {name!r}; there are: {known}")
    try:
        bundle = msgspec.convert(tomllib.loads(path.read_text(), parse_float=_finite), Bundle)
    except (msgspec.ValidationError, ValueError) as error:  # also TOMLDecodeError
        raise BundleError(f"{path.name}: {error}") from error
    if bundle.name != path.stem:
        raise BundleError(f"{path.name}: name is {bundle.name!r}: it must be that of the file, {path.stem!r}")
    for name, weights in (bundle.networks | {"tokenizer": bundle.tokenizer}).items():
        if weights.repo is not None and weights.revision is None:
            raise BundleError(
                f"{path.name}: {name} comes from {weights.repo} at no fixed revision: name its commit"
            )
    for licence in bundle.licences:
        if unknown := [network for network in licence.networks if network not in (*NETWORKS, "tokenizer")]:
            raise BundleError(f"{path.name}: licences: {licence.name}: there is no network {unknown[0]!r}")
    missing = [network for network in NETWORKS if network not in bundle.networks]
    if missing:
        raise BundleError(f"{path.name}: no weights for {', '.join(missing)}")
    return bundle


def _finite(text: str) -> float:
    """A TOML float. Raises ValueError for nan and infinity, which TOML allows."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"every number must be finite, not {text}")
    return number


def local_path(bundle: Bundle, field: str, path: str) -> Path:
    """The file or folder at ``path``, relative to the bundle files. Raises BundleError when it does not exist."""
    found = BUNDLES / path
    if not found.exists():
        advice = f": run `{bundle.made_by}`" if bundle.made_by else ""
        raise BundleError(f"{field}: there is no {found.resolve()}{advice}")
    return found


def preview_matrix(bundle: Bundle) -> Matrix:
    """The bundle's matrix, from the file of the training that measured it if there is one. Raises BundleError."""
    if not isinstance(bundle.preview_matrix, Measured):
        return bundle.preview_matrix
    path = local_path(bundle, "preview_matrix", bundle.preview_matrix.path)
    try:
        return msgspec.convert(json.loads(path.read_text())[bundle.preview_matrix.key], Matrix)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"preview_matrix: {path} has no {bundle.preview_matrix.key}: {error!r}") from error
