"""How a bundle's pictures are made: the schedule of its training, the steps, and tiers of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Spacing = Literal["diffusers", "trailing"]
Quality = Literal["draft", "standard", "best"]
"""What users may ask for: how much work a picture is worth."""

VARIANT = "denoiser_"
"""Before the name of a variant: its graph."""


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
    guidance_interval: tuple[Annotated[float, Meta(ge=0.0)], Annotated[float, Meta(gt=0.0)]] | None = None
    """(low, high): only steps that begin at a noise level σ with low < σ ≤ high are guided; the others cost half.
    None = all steps."""
    spacing: Spacing | None = None
    """In place of the schedule's."""
    grid: list[Annotated[int, Meta(ge=0)]] = []
    """Falling timesteps in place of the spacing, for euler and dpmpp_2m. Another number of steps runs along them."""
    variant: str | None = None
    """The denoiser that runs the steps, of the bundle's ``variants``; None = the bundle's UNet as it is."""
    decoder: Literal["vae_decoder", "tiny_decoder"] = "vae_decoder"
    """What decodes the picture: the VAE, or the network ``tiny_decoder``."""

    @property
    def denoiser(self) -> str:
        """The graph that runs the steps."""
        return f"{VARIANT}{self.variant}" if self.variant else "denoiser"


_OPTIONAL = [(field.name, field.type | UnsetType, UNSET) for field in msgspec.structs.fields(Defaults)]
Tier: Any = msgspec.defstruct(
    "Tier", _OPTIONAL, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
)
"""What a tier changes of the bundle's ``defaults``: any of their members."""


def tier_problems(
    tiers: Mapping[str, Any], quality: str | None, variants: Mapping[str, Any], networks: Mapping[str, Any]
) -> Iterator[str]:
    """What does not fit together of a bundle's tables, as sentences."""
    if tiers and quality not in tiers:
        yield (
            f"quality is {quality!r}: name the tier of requests that ask for none, one of {', '.join(tiers)}"
        )
    for name, tier in tiers.items():
        variant = tier.get("variant") if isinstance(tier, dict) else None
        if variant is not None and variant not in variants:
            known = ", ".join(variants) or "there are none"
            yield f"tiers.{name}: there is no variant {variant!r}; variants: {known}"
        decoder = tier.get("decoder") if isinstance(tier, dict) else None
        if decoder == "tiny_decoder" and decoder not in networks:
            yield f"tiers.{name}: decoder is {decoder!r}, and there are no weights for that network"


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The noise schedule of the training ("scaled linear"), and what the network learnt to predict on it."""

    beta_start: float
    beta_end: float
    train_steps: int
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    """diffusers' names. A release without it means ε."""
    spacing: Spacing = "diffusers"
    """How timesteps are spread over the schedule: for each solver as Stable Diffusion configures it in diffusers, or by
    diffusers' timestep_spacing="trailing", with which ddim, euler and dpmpp_2m begin at the same timesteps."""
