"""Inputs for perf_analyzer: one JSON file for every model, made from the specs that config.pbtxt is made from.

A file holds one request, without the batch axis, as perf_analyzer's --input-data takes it: small tensors as
numbers, others as base64 of their bytes, each with its shape. Values make sense for a bundle: the demo's photo, its
edges, a prompt, a step of the default solver. ``REQUESTS`` has each model's request; a model that is not there
is an error.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import table_of
from export.contract import CANNY, TOKENS, python_specs
from export.releases.specs import release_specs
from export.sampling import VARIANT, Defaults, Schedule
from export.seats import DEFAULT_HINTS
from export.spec import DTYPES, Axis, ModelSpec, Tensor
from measuring.releases import Release
from measuring.sample import STYLE, sample_noise, sample_photo
from orchestrator.domain.styles import STYLES
from restyle.pictures.images import to_signal
from restyle.prompt import Prompts

Inputs = dict[str, NDArray[Any]]

READABLE = 16
"""Tensors of at most this size are written as numbers."""


class UnfitInputs(ValueError):
    """Inputs are not what the spec asks for; the message names model, tensor and difference."""


def specs(release: Release) -> dict[str, ModelSpec]:
    """Every model that a server of this release has, by name."""
    return {**python_specs(), **release_specs(release.facts)}


def _text(words: str) -> NDArray[Any]:
    return np.array([words.encode()], np.object_)


def _photo(release: Release) -> Inputs:
    return {"image": sample_photo(release.side)}


def _hints(release: Release) -> Inputs:
    """What the release's ControlNets are shown: a floor that comes nearer, the photo's own edges (which do for lines
    too), its colours."""
    side = release.side
    rows = np.linspace(0, 255, side).astype(np.uint8)[:, None]
    photo: Any = sample_photo(side)
    edges = np.asarray(cv2.Canny(photo, *CANNY), np.uint8)
    every = {"depth": np.repeat(rows, side, axis=1), "edges": edges, "lines": edges, "segments": photo}
    return {name: every[name] for name in release.facts.get("hints", DEFAULT_HINTS)}


def _guided_step(release: Release) -> Inputs:
    """The step in the middle of the default solver's."""
    facts, latents = release.facts, sample_noise(release)
    defaults, schedule = (
        msgspec.convert(facts["defaults"], Defaults),
        msgspec.convert(facts["schedule"], Schedule),
    )
    table = table_of(defaults, schedule)
    middle, guidance = len(table) // 2, defaults.guidance_scale
    rows = 2 if guidance > 1.0 else 1
    words = np.random.default_rng(1).standard_normal((rows, TOKENS, facts["sizes"]["text_width"]))
    return {
        "latents": latents,
        "x0_previous": sample_noise(release, seed=1),
        "noise": np.zeros_like(latents),
        "timestep": np.array([table.timesteps[middle]], np.float32),
        "coefficients": np.array([*table.rows[middle], guidance], np.float32),
        "text": words.astype(np.float32),
        **_hints(release),
        "control_scale": np.array(defaults.control_scale, np.float32),
    }


def _token_ids(release: Release) -> Inputs:
    facts = release.facts["tokenizer"]
    prompts = Prompts(release.folder / facts["file"], (facts["begin"], facts["end"], facts["pad"]))
    return {"input_ids": prompts.encode(STYLES[STYLE].prompt)[0]}


def _restyle(release: Release) -> Inputs:
    """What a worker asks; the rest is left to the bundle's defaults."""
    return {
        **_photo(release),
        "prompt": _text(STYLES[STYLE].prompt),
        "negative_prompt": _text(STYLES[STYLE].negative_prompt),
        "seed": np.array([0], np.int64),
    }


REQUESTS: Mapping[str, Callable[[Release], Inputs]] = MappingProxyType(
    {
        "analyse": _photo,
        "perception": _photo,
        "edges": _photo,
        "depth": _photo,
        "segments": _photo,
        "detector": _photo,
        "text_encoder": _token_ids,
        "vae_encoder": lambda release: {"image": to_signal(sample_photo(release.side))[0]},
        "denoiser": _guided_step,
        "vae_decoder": lambda release: {"latents": sample_noise(release)},
        "tiny_decoder": lambda release: {"latents": sample_noise(release)},
        "restyle": _restyle,
    }
)
"""By model: its inputs, without the batch axis."""


def inputs_of(spec: ModelSpec, release: Release) -> Inputs:
    """One request for a model. Raises UnfitInputs when there is none, or it does not fit the spec."""
    # All denoisers of a release take the same tensors.
    known = "denoiser" if spec.name.startswith(VARIANT) else spec.name
    if known not in REQUESTS:
        raise UnfitInputs(f"{spec.name}: no request is known; add one to benchmarks/perf_inputs.py")
    inputs = REQUESTS[known](release)
    check(spec, inputs)
    return inputs


def check(spec: ModelSpec, inputs: Inputs) -> None:
    """Raises UnfitInputs unless ``inputs`` are a request that the spec allows."""
    known = {tensor.name: tensor for tensor in spec.inputs}
    if unknown := inputs.keys() - known.keys():
        raise UnfitInputs(f"{spec.name}: there is no input {', '.join(sorted(unknown))}")
    axes: dict[str, int] = {}
    for name, tensor in known.items():
        if name in inputs:
            _check_tensor(spec.name, tensor, inputs[name], axes)
        elif not tensor.optional:
            raise UnfitInputs(f"{spec.name}: the input {name} is missing")


def _check_tensor(model: str, tensor: Tensor, array: NDArray[Any], axes: dict[str, int]) -> None:
    if array.dtype != DTYPES[tensor.dtype]:
        raise UnfitInputs(f"{model}: {tensor.name} is {array.dtype}, not {tensor.dtype}")
    sizes = [dim if isinstance(dim, int) else axes.get(dim.name) for dim in tensor.dims]
    wanted = [size if size is not None else -1 for size in sizes]
    fits = array.ndim == len(wanted) and all(
        want in (-1, have) for want, have in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        raise UnfitInputs(f"{model}: {tensor.name} is {list(array.shape)}, not {wanted}")
    axes |= {
        dim.name: size for dim, size in zip(tensor.dims, array.shape, strict=True) if isinstance(dim, Axis)
    }


def document(inputs: Inputs) -> dict[str, Any]:
    """As perf_analyzer reads it."""
    return {
        "data": [
            {name: {"content": _content(array), "shape": list(array.shape)} for name, array in inputs.items()}
        ]
    }


def _content(array: NDArray[Any]) -> Any:
    if array.dtype == np.object_:
        return [text.decode() for text in array.ravel()]
    if array.size <= READABLE:
        return array.ravel().tolist()
    return {"b64": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()}


def write_inputs(release: Release, folder: Path) -> dict[str, Path]:
    """A file for every model of the release, ``folder``/<model>.json; returns them by model. Raises UnfitInputs."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, spec in specs(release).items():
        files[name] = folder / f"{name}.json"
        files[name].write_text(json.dumps(document(inputs_of(spec, release))) + "\n")
    return files
