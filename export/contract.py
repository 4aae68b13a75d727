"""The contract of the model repository: every model's tensors, for a bundle's sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from export.sampling import VARIANT
from export.seats import DEFAULT_HINTS, HINTS
from export.spec import Axis, ModelSpec, Tensor

TOKENS = 77

CANNY = (100, 200)
"""Hysteresis thresholds of the model ``edges``, and so of the edges that ControlNets are trained with."""

AREA_TOLERANCE = 0.125
ASPECTS = (1.0, 1.15, 1.3, 1.45, 1.7, 2.0)
"""Width over height of the wide buckets; the tall ones mirror them."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a bundle's networks that its tensors' shapes depend on; see :func:`graph_specs`."""

    native_size: int
    """Pixels: the side of the square pictures that the networks were made for."""
    vae_factor: int
    """Pixels of the picture for each latent, along a side."""
    unet_factor: int
    """Latents for each cell of the UNet's coarsest level, along a side."""
    latent_channels: int
    text_width: int
    objects: int
    max_batch_size: int


TILE = 128
"""Pixels along a side of what an upscaler takes; `restyle` cuts pictures into such squares."""

CUDA_GRAPHS = 32
"""How many shapes of a denoiser's inputs may be recorded as CUDA graphs. It runs many times for each photo, in one
shape. All of a release's shapes are a dozen buckets times the sizes of a batch, with and without guidance; a
machine sees few of them most of the time, and each takes GPU memory for ever."""

COLOUR_HINTS = ("segments",)
"""Hints that are pictures in colour; the others are grey."""


def buckets(sizes: Sizes) -> list[tuple[int, int]]:
    """The (height, width) that photos are fitted to. They are few, because batches and engines are made for one shape.

    Sides are multiples of what every network takes, areas within an eighth of the native one, aspects 1:2 … 2:1, so
    near each other that every photo between two of them is stretched by 12 % at most.
    """
    step, native = sizes.vae_factor * sizes.unet_factor, sizes.native_size**2
    sides = range(step, 2 * sizes.native_size + 1, step)
    wide = [
        (h, w) for h in sides for w in sides if h <= w <= 2 * h and abs(h * w / native - 1) <= AREA_TOLERANCE
    ]
    found = set()
    for aspect in ASPECTS:
        height, width = min(
            wide,
            key=lambda size: (
                round(abs(math.log(size[1] / size[0] / aspect)), 6),
                abs(size[0] * size[1] - native),
            ),
        )
        found |= {(height, width), (width, height)}
    return sorted(found)


def graph_specs(
    sizes: Sizes,
    hints: Sequence[str] = DEFAULT_HINTS,
    graphs: Iterable[str] = (),
) -> dict[str, ModelSpec]:
    """The models that are ONNX graphs (or TensorRT plans), by name. ``hints``: see ``Bundle.seats``; ``graphs``: the
    names of the release's graphs, of which variants of the denoiser and a second decoder are more than every release
    has."""
    heights, widths = zip(*buckets(sizes), strict=True)

    def side(name: str, of: tuple[int, ...], step: int = 1) -> Axis:
        return Axis(name, sizes.native_size // step, min(of) // step, max(of) // step)

    height, width = side("H", heights), side("W", widths)
    h, w = side("h", heights, sizes.vae_factor), side("w", widths, sizes.vae_factor)
    rows = Axis("K", 2, 1, 2)

    photo = Tensor("image", "UINT8", (height, width, 3))
    latents = (sizes.latent_channels, h, w)
    k = sizes.objects
    models: dict[str, tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = {
        "depth": ((photo,), (Tensor("depth", "UINT8", (height, width)),)),
        "detector": (
            (photo,),
            (
                Tensor("boxes", "FP32", (k, 4)),
                Tensor("scores", "FP32", (k,)),
                Tensor("labels", "INT64", (k,)),
            ),
        ),
        "text_encoder": (
            (Tensor("input_ids", "INT64", (TOKENS,)),),
            (Tensor("hidden_states", "FP32", (TOKENS, sizes.text_width)),),
        ),
        "vae_encoder": (
            (Tensor("image", "FP32", (3, height, width)),),
            (Tensor("latents", "FP32", latents),),
        ),
        "denoiser": (
            (
                Tensor("latents", "FP32", latents),
                Tensor("x0_previous", "FP32", latents),
                Tensor("noise", "FP32", latents),
                Tensor("timestep", "FP32", (1,)),
                Tensor("coefficients", "FP32", (7,)),
                Tensor("text", "FP32", (rows, TOKENS, sizes.text_width)),
                *(
                    Tensor(hint, "UINT8", (height, width, 3) if hint in COLOUR_HINTS else (height, width))
                    for hint in HINTS
                    if hint in hints
                ),
                Tensor("control_scale", "FP32", (2,)),
            ),
            (Tensor("latents_next", "FP32", latents), Tensor("x0", "FP32", latents)),
        ),
        "vae_decoder": (
            (Tensor("latents", "FP32", latents),),
            (Tensor("image", "FP32", (3, height, width)),),
        ),
    }
    for name in graphs:
        if name.startswith(VARIANT):
            models[name] = models["denoiser"]
        elif name == "tiny_decoder":
            models[name] = models["vae_decoder"]
        elif name == "upscaler":
            up, across = (Axis(axis, 2 * TILE) for axis in ("up", "across"))
            models[name] = (
                (Tensor("image", "FP32", (3, TILE, TILE)),),
                (Tensor("enlarged", "FP32", (3, up, across)),),
            )
    if "segments" in hints:
        models["segments"] = ((photo,), (Tensor("segments", "UINT8", (height, width, 3), choice=True),))
    return {
        name: ModelSpec(
            name,
            "onnxruntime",
            inputs,
            outputs,
            max_batch_size=sizes.max_batch_size,
            cuda_graphs=CUDA_GRAPHS if name.startswith("denoiser") else 0,
        )
        for name, (inputs, outputs) in models.items()
    }


def axis_sizes(spec: ModelSpec, sizes: Sizes, bucket: tuple[int, int], rows: int) -> dict[str, int]:
    """The sizes of the axes that ``spec``'s inputs have, by name, for a picture of ``bucket`` (height, width) and
    ``rows`` of text: 1 without guidance, 2 with it."""
    height, width = bucket
    latent = {"h": height // sizes.vae_factor, "w": width // sizes.vae_factor}
    every = {"H": height, "W": width, "K": rows, **latent}
    axes = {dim.name for tensor in spec.inputs for dim in tensor.dims if isinstance(dim, Axis)}
    return {axis: size for axis, size in every.items() if axis in axes}


def _any(name: str) -> Axis:
    return Axis(name, 1)


def python_specs() -> dict[str, ModelSpec]:
    """The models that are code or wiring and the same for every bundle."""
    photo = Tensor("image", "UINT8", (_any("H"), _any("W"), 3))
    edges, lines = (Tensor(name, "UINT8", (_any("H"), _any("W"))) for name in ("edges", "lines"))
    objects = (
        Tensor("boxes", "FP32", (_any("K"), 4)),
        Tensor("scores", "FP32", (_any("K"),)),
        Tensor("labels", "INT64", (_any("K"),)),
    )
    depth = Tensor("depth", "UINT8", (_any("H"), _any("W")))
    probe = Tensor("probe", "BOOL", (1,), optional=True)
    event = Tensor("event", "STRING", (1,))
    return {
        "edges": ModelSpec("edges", "python", (photo,), (edges, lines)),
        # Without the service's own rules: the photo is not fitted to a bucket, the objects are not named.
        "perception": ModelSpec(
            "perception",
            "ensemble",
            (photo,),
            (depth, edges, *objects),
            steps=(
                ("depth", {"image": "image"}, {"depth": "depth"}),
                ("edges", {"image": "image"}, {"edges": "edges"}),
                ("detector", {"image": "image"}, {name: name for name in ("boxes", "scores", "labels")}),
            ),
        ),
        "analyse": ModelSpec(
            "analyse",
            "python",
            (photo, probe),
            (event, depth, edges),
            decoupled=True,
        ),
        "restyle": ModelSpec(
            "restyle",
            "python",
            (
                photo,
                # Prompts come in parts, of which each keeps a share of the text encoder's tokens.
                Tensor("prompt", "STRING", (_any("parts"),)),
                *(
                    Tensor(name, dtype, dims, optional=True)
                    for name, dtype, dims in (
                        ("negative_prompt", "STRING", (_any("negative_parts"),)),
                        ("palette", "STRING", (_any("colours"),)),
                        ("palette_strength", "FP32", (1,)),
                        ("reference", "UINT8", (_any("h"), _any("w"), 3)),
                        ("reference_strength", "FP32", (1,)),
                        ("seed", "INT64", (1,)),
                        ("steps", "INT32", (1,)),
                        ("solver", "STRING", (1,)),
                        ("quality", "STRING", (1,)),
                        ("style", "STRING", (1,)),
                        ("guidance_scale", "FP32", (1,)),
                        ("strength", "FP32", (1,)),
                        ("max_strength", "FP32", (1,)),
                        ("control_scale", "FP32", (2,)),
                        ("structure", "FP32", (1,)),
                        ("keep_mask", "UINT8", (_any("H"), _any("W"))),
                        ("keep", "STRING", (_any("kept"),)),
                        ("keep_boxes", "FP32", (_any("kept_boxes"), 4)),
                        ("change", "STRING", (_any("changed"),)),
                        ("change_boxes", "FP32", (_any("changed_boxes"), 4)),
                        ("preview_every", "INT32", (1,)),
                        ("attempts", "INT32", (1,)),
                        ("min_quality", "FP32", (1,)),
                        ("min_openings", "FP32", (1,)),
                        ("min_lines", "FP32", (1,)),
                        ("min_camera", "FP32", (1,)),
                        ("min_planes", "FP32", (1,)),
                        ("detail", "FP32", (1,)),
                        ("size", "STRING", (1,)),
                        ("latents", "FP32", (_any("C"), _any("h"), _any("w"))),
                        ("photo_id", "STRING", (1,)),
                        ("release", "INT32", (1,)),
                    )
                ),
                probe,
            ),
            (
                event,
                Tensor("image", "UINT8", (_any("H"), _any("W"), 3)),
                # Before rounding, 0..255: for exact comparisons, sent to those who ask for it.
                Tensor("image_exact", "FP32", (_any("H"), _any("W"), 3)),
                # These two come with the analysis.
                depth,
                edges,
            ),
            decoupled=True,
        ),
    }
