"""Bundles: the weights of a service, and how they are to be run. One TOML file each in ``export/bundles/``."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from export.seats import CONTROLNETS, SEATS, chosen_hints

BUNDLES = Path(__file__).parent / "bundles"

NETWORKS = ("unet", "controlnet_depth", "controlnet_canny", "vae", "text_encoder", "depth", "detector")
"""The networks of a bundle whose ControlNets are shown depth and edges; see ``Bundle.used``."""
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
    redraw: float = 0.0
    """For random weights: the standard deviation with which tensors that start at zero are drawn anew."""
    gain: dict[str, float] = {}
    """For random weights: factors on the matrices and kernels under a name prefix ("" = all), so that inputs still
    have an effect at the far end."""
    input_size: tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]] | None = None
    """Of networks that look at photos: the (height, width) in pixels that a photo is resized to. None = what its
    preprocessor_config.json or config.json says (see ``export.networks.preparation``)."""
    depth_direction: Literal["inverse", "distance"] | None = None
    """Of a depth model: ``inverse`` where its large numbers are near, ``distance`` where they are far. None = as its
    class is known to."""

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
    hints: list[str] | None = None
    """What the two ControlNets are shown, in the order of their seats and of ``control_scale``; other ControlNets are
    left out. None = that of the two that there are."""
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
    tolerance: float = FLOAT_TOLERANCE
    """By how much a float output of a graph may differ from torch, relative to the largest magnitude (at least 1)."""
    seed: int = 0

    @property
    def seats(self) -> tuple[str, str]:
        """The hints of the two seats. Raises BundleError when the ControlNets cannot take them."""
        try:
            return chosen_hints(self.networks, self.hints)
        except ValueError as error:
            raise BundleError(f"{self.name}.toml: {error}") from error

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the networks that a release of this bundle is made of. Raises BundleError."""
        controlnets = [CONTROLNETS[hint] for hint in self.seats]
        others = [name for name in NETWORKS if name not in SEATS]
        further = ["segments"] if "segments" in self.seats else []
        return (others[0], *controlnets, *others[1:], *further)


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
    missing = [network for network in bundle.used if network not in bundle.networks]
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
