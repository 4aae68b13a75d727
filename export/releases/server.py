"""One Triton, as the agent beside it uses it: loading, small requests to graphs, and a picture from `restyle`.

::

    ServerError              one sentence
    ├── UnreachableError     Triton does not answer: the same call may succeed later
    └── RefusedError         it answered that it cannot
"""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

Place = tuple[str, int]

CALL_SECONDS = 10.0
"""For calls that compute nothing."""

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of one request or answer."""

SERVING = ("restyle", "analyse")
"""The models that hold releases."""

_READY, _GONE = "READY", ("", "UNAVAILABLE")


class ServerError(Exception):
    """A call failed; the message is one sentence."""


class UnreachableError(ServerError):
    """Triton does not answer."""


class RefusedError(ServerError):
    """Triton, or a model of it, answered with an error."""


@dataclass(frozen=True)
class Alive:
    """What `restyle` or `analyse` says of itself for a release."""

    models: dict[str, int] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    running: dict[int, int] = field(default_factory=dict)
    """Requests by version."""
    releases: list[int] | None = None
    """None: a model of an older version, which holds one release from its start on."""


@dataclass(frozen=True)
class Picture:
    """What `restyle` made, UINT8 [H,W,3], and the members of its ``result`` event."""

    pixels: NDArray[np.uint8]
    exact: NDArray[np.float32]
    """Before rounding, FP32 [H,W,3]."""
    result: dict[str, Any]


class Server:
    """A Triton; ``url`` is host:port of its gRPC endpoint. One thread uses it. Every method raises ServerError."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: InferenceServerClient | None = None

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def states(self) -> dict[Place, str]:
        """By model and version, Triton's state of it: READY, LOADING, UNLOADING, UNAVAILABLE."""
        index = self._call(
            "the list of models",
            lambda client: client.get_model_repository_index(client_timeout=CALL_SECONDS),
        )
        return {
            (entry.name, int(entry.version)): entry.state
            for entry in index.models
            if entry.version.isdecimal()
        }

    def load(self, model: str, seconds: float) -> None:
        """Load what is new in the folder of ``model``, beside what is loaded, and let go of what is gone from it;
        returns when what is new is ready. Versions that are in both serve on meanwhile."""
        self._call(f"loading {model}", lambda client: client.load_model(model, client_timeout=seconds))

    def unload(self, model: str) -> None:
        """Let go of every version of ``model``."""
        self._call(
            f"unloading {model}", lambda client: client.unload_model(model, client_timeout=CALL_SECONDS)
        )

    def run(self, place: Place, inputs: Mapping[str, np.ndarray], seconds: float) -> dict[str, np.ndarray]:
        """Run a graph once; its outputs by name."""
        model, version = place
        tensors = [_tensor(name, array) for name, array in inputs.items()]
        answer: InferResult = self._call(
            f"running {model}",
            lambda client: client.infer(model, tensors, str(version), client_timeout=seconds),
        )
        return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}

    def alive(self, model: str, release: int = 0) -> Alive:
        """What ``model``, of SERVING, says of itself for ``release``; see restyle's input ``release``."""
        inputs = {"image": np.zeros((1, 1, 3), np.uint8), "probe": np.array([True])}
        if model == "restyle":
            inputs["prompt"] = np.array([b""], np.object_)
            if release:
                inputs["release"] = np.array([release], np.int32)
        event, _ = self._stream(model, inputs, ("event",), CALL_SECONDS)
        releases = event.get("releases")
        return Alive(
            models=dict(event.get("models", {})),
            devices=dict(event.get("devices", {})),
            running={int(version): count for version, count in event.get("running", {}).items()},
            releases=None if releases is None else list(releases),
        )

    def restyle(self, inputs: Mapping[str, np.ndarray], seconds: float) -> Picture:
        """The picture of a request to `restyle`."""
        result, answer = self._stream("restyle", inputs, ("event", "image", "image_exact"), seconds)
        pixels, exact = answer.as_numpy("image"), answer.as_numpy("image_exact")
        if result.get("type") != "result" or pixels is None or exact is None:
            raise RefusedError(f"{self.url}: restyle ended without a picture")
        return Picture(pixels, exact, result)

    def _stream(
        self, model: str, inputs: Mapping[str, np.ndarray], outputs: tuple[str, ...], seconds: float
    ) -> tuple[dict[str, Any], InferResult]:
        """The last event of a request to a model that answers with a stream, and the response that it came with."""
        answers: queue.Queue[tuple[InferResult | None, InferenceServerException | None]] = queue.Queue()
        tensors = [_tensor(name, array) for name, array in inputs.items()]

        def ask(_: InferenceServerClient) -> tuple[dict[str, Any], InferResult]:
            # A connection has one stream at a time.
            with InferenceServerClient(self.url, channel_args=_CHANNEL) as client:
                client.start_stream(
                    lambda result, error: answers.put((result, error)), stream_timeout=seconds
                )
                client.async_stream_infer(
                    model,
                    tensors,
                    outputs=[InferRequestedOutput(name) for name in outputs],
                    enable_empty_final_response=True,
                )
                return self._last(model, answers, seconds)

        return self._call(f"asking {model}", ask)

    def _last(
        self,
        model: str,
        answers: queue.Queue[tuple[InferResult | None, InferenceServerException | None]],
        seconds: float,
    ) -> tuple[dict[str, Any], InferResult]:
        found: tuple[dict[str, Any], InferResult] | None = None
        while True:
            try:
                result, error = answers.get(timeout=seconds + CALL_SECONDS)
            except queue.Empty:
                raise UnreachableError(f"{self.url}: {model} did not answer within {seconds:.0f} s") from None
            if error is not None:
                raise error
            assert result is not None
            final = result.get_response().parameters
            event = result.as_numpy("event")
            if event is not None and event.size:
                found = json.loads(event.reshape(-1)[0]), result
            if "triton_final_response" in final and final["triton_final_response"].bool_param:
                if found is None:
                    raise RefusedError(f"{self.url}: {model} ended without an answer")
                return found

    def _call(self, what: str, call: Any) -> Any:
        try:
            if self._client is None:
                self._client = InferenceServerClient(self.url, channel_args=_CHANNEL)
            return call(self._client)
        except InferenceServerException as error:
            status, message = str(error.status() or ""), str(error.message())
            if any(word in status for word in ("UNAVAILABLE", "DEADLINE", "CANCELLED")) and not _answered(
                message
            ):
                self.close()
                raise UnreachableError(f"{self.url}: {what}: {message}") from error
            raise RefusedError(f"{self.url}: {what}: {message}") from error


def _answered(message: str) -> bool:
    """Whether the message is one of Triton's own, which says of models too that they are unavailable."""
    return "unknown model" in message or "not ready" in message


_CHANNEL = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def _tensor(name: str, array: np.ndarray) -> InferInput:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


def is_ready(states: Mapping[Place, str], place: Place) -> bool:
    """Whether Triton serves it."""
    return states.get(place) == _READY


def is_gone(states: Mapping[Place, str], place: Place) -> bool:
    """Whether nothing of it is loaded any more."""
    return states.get(place, "") in _GONE
