"""Requests to tensors, responses to events: names and types of ``restyle`` and ``analyse``, without a connection."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult

from reroom.models import ResultWarning
from reroom.triton.errors import failure
from reroom.triton.messages import (
    Alive,
    Analysis,
    PhotoAnalysis,
    Preview,
    RestyleEvent,
    RestyleRequest,
    Result,
    Stage,
    Step,
)

RESTYLE, ANALYSE = "restyle", "analyse"
"""The two models that answer requests of the service; the others are called by them."""

_TENSORS: tuple[tuple[str, type[np.generic], str], ...] = (
    ("image", np.uint8, "UINT8"),
    ("prompt", np.object_, "BYTES"),
    ("negative_prompt", np.object_, "BYTES"),
    ("palette", np.object_, "BYTES"),
    ("palette_strength", np.float32, "FP32"),
    ("reference", np.uint8, "UINT8"),
    ("reference_strength", np.float32, "FP32"),
    ("quality", np.object_, "BYTES"),
    ("style", np.object_, "BYTES"),
    ("seed", np.int64, "INT64"),
    ("steps", np.int32, "INT32"),
    ("solver", np.object_, "BYTES"),
    ("guidance_scale", np.float32, "FP32"),
    ("strength", np.float32, "FP32"),
    ("max_strength", np.float32, "FP32"),
    ("control_scale", np.float32, "FP32"),
    ("structure", np.float32, "FP32"),
    ("keep_mask", np.uint8, "UINT8"),
    ("keep", np.object_, "BYTES"),
    ("keep_boxes", np.float32, "FP32"),
    ("change", np.object_, "BYTES"),
    ("change_boxes", np.float32, "FP32"),
    ("preview_every", np.int32, "INT32"),
    ("attempts", np.int32, "INT32"),
    ("min_quality", np.float32, "FP32"),
    ("min_openings", np.float32, "FP32"),
    ("min_lines", np.float32, "FP32"),
    ("min_camera", np.float32, "FP32"),
    ("min_planes", np.float32, "FP32"),
    ("detail", np.float32, "FP32"),
    ("size", np.object_, "BYTES"),
    ("latents", np.float32, "FP32"),
    ("photo_id", np.object_, "BYTES"),
    ("release", np.int32, "INT32"),
)
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(RestyleRequest)}


class _Head(msgspec.Struct):
    type: str


class _Result(msgspec.Struct, tag_field="type", tag="result"):
    seed: int
    quality: dict[str, float]
    attempts: int
    prompt_truncated: bool
    timings: dict[str, float]
    release: str
    warnings: list[ResultWarning] = []
    palette: list[str] | None = None
    palette_distance: float | None = None
    reference_distance: float | None = None
    strength: float | None = None
    tier: str | None = None
    selection: dict[str, Any] | None = None
    enlarged_by: str | None = None
    reused: list[str] = []


_head = msgspec.json.Decoder(_Head).decode
_event = msgspec.json.Decoder(Stage | Analysis | Step | Preview | _Result).decode
_KNOWN = frozenset({"stage", "analysis", "step", "preview", "result"})


def wanted() -> list[InferRequestedOutput]:
    """The outputs to ask for. Without them all would come, also the picture before rounding, which is four times as
    large."""
    return [InferRequestedOutput("event"), InferRequestedOutput("image")]


def wanted_from_analyse() -> list[InferRequestedOutput]:
    """All outputs of ``analyse``."""
    return [InferRequestedOutput(name) for name in ("event", "depth", "edges")]


def encode(request: RestyleRequest) -> list[InferInput]:
    """The request's tensors; fields at their default are left out.

    Raises RestyleError (invalid_request) for wrong shapes or dtypes; the server checks the values.
    """
    _check(request)
    return [
        _input(name, value, dtype, datatype)
        for name, dtype, datatype in _TENSORS
        if (value := getattr(request, name)) is not None and not _is_default(name, value)
    ]


def encode_photo(image: NDArray[np.uint8]) -> list[InferInput]:
    """The tensors of a request to ``analyse``; ``image`` is RGB [H, W, 3].

    Raises RestyleError (invalid_request) for a wrong shape or dtype.
    """
    _check_image(image)
    return [_input("image", image, np.uint8, "UINT8")]


def encode_probe(model: str) -> list[InferInput]:
    """The tensors of a request that asks only whether the process of ``restyle`` or ``analyse`` serves."""
    # The models require these, though a probe does not use them.
    required = [_input("image", np.zeros((1, 1, 3), np.uint8), np.uint8, "UINT8")]
    if model == RESTYLE:
        required.append(_input("prompt", "", np.object_, "BYTES"))
    return [*required, _input("probe", True, np.bool_, "BOOL")]


def _check_image(image: NDArray[np.uint8]) -> None:
    _is("image", image, np.uint8, image.ndim == 3 and image.shape[2] == 3 and image.size > 0, "[H, W, 3]")


def _check(request: RestyleRequest) -> None:
    image, mask, latents = request.image, request.keep_mask, request.latents
    _check_image(image)
    if mask is not None:
        _is("keep_mask", mask, np.uint8, mask.shape == image.shape[:2], str(list(image.shape[:2])))
    if (reference := request.reference) is not None:
        _is("reference", reference, np.uint8, reference.ndim == 3 and reference.shape[2] == 3, "[h, w, 3]")
    if latents is not None:
        _is("latents", latents, np.float32, latents.ndim == 3 and latents.shape[0] == 4, "[4, h, w]")
    if request.control_scale is not None and len(request.control_scale) != 2:
        raise failure(
            "invalid_request", f"control_scale must be two numbers, not {len(request.control_scale)}"
        )


def _is(name: str, array: NDArray[Any], dtype: type[np.generic], shape_is_right: bool, shape: str) -> None:
    if array.dtype != dtype or not shape_is_right:
        found = f"{array.dtype.name} {list(array.shape)}"
        raise failure("invalid_request", f"{name} must be {np.dtype(dtype).name} {shape}, not {found}")


def _is_default(name: str, value: Any) -> bool:
    return not isinstance(value, np.ndarray) and bool(value == _DEFAULTS[name])


def _input(name: str, value: Any, dtype: type[np.generic], datatype: str) -> InferInput:
    try:
        whole: Any = value if isinstance(value, np.ndarray | tuple) else (value,)
        if dtype is np.object_:
            whole = [text.encode() for text in whole]
        array = np.asarray(whole, dtype)
    except (OverflowError, ValueError, TypeError) as error:
        raise failure("invalid_request", f"{name}: {error}") from error
    tensor = InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def decode(response: InferResult) -> RestyleEvent | None:
    """The event of a response; None for a type that this version does not know. Unknown fields are ignored.

    Raises RestyleError (model_error) when the response has no valid event.
    """
    event = response.as_numpy("event")
    if event is None or event.size != 1:
        raise failure("model_error", "a response came without an event")
    text = event.reshape(-1)[0]
    try:
        if _head(text).type not in _KNOWN:
            return None
        known = _event(text)
    except msgspec.MsgspecError as error:
        raise failure("model_error", f"an event was not understood: {error}") from error
    return _with_image(known, response) if isinstance(known, _Result) else known


def decode_analysis(response: InferResult) -> PhotoAnalysis | None:
    """The answer of ``analyse``; None for an event of another type. Raises RestyleError (model_error) when it cannot be
    understood."""
    event = decode(response)
    if not isinstance(event, Analysis):
        return None
    depth, edges = response.as_numpy("depth"), response.as_numpy("edges")
    if depth is None or edges is None or event.room_confidence is None:
        raise failure("model_error", "the analysis came without its pictures or its confidence")
    return PhotoAnalysis(
        depth=depth,
        edges=edges,
        objects=event.objects,
        room_type=event.room_type,
        room_confidence=event.room_confidence,
        release=event.release,
    )


def decode_probe(response: InferResult) -> Alive:
    """The answer to a probe. Raises RestyleError (model_error) for another answer."""
    event = response.as_numpy("event")
    try:
        return msgspec.json.decode(event.reshape(-1)[0], type=Alive)
    except (AttributeError, IndexError, msgspec.MsgspecError) as error:
        raise failure("model_error", f"a probe's answer was not understood: {error}") from error


def _with_image(result: _Result, response: InferResult) -> Result:
    image = response.as_numpy("image")
    if image is None:
        raise failure("model_error", "the result came without an image")
    return Result(image=image, **msgspec.structs.asdict(result))
