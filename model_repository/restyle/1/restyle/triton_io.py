"""Triton: tensors in, calls of other models, responses out. ``pb_utils``, which only Triton has, is a parameter."""

import json
from typing import Any

import numpy as np

from restyle.models import ModelFailed
from restyle.release import Release
from restyle.request import Values


def read_values(pb_utils: Any, request: Any) -> Values:
    """The request's tensors by name; strings as a tuple of str (bytes that are not UTF-8 are replaced)."""
    values: Values = {}
    for tensor in request.inputs():
        array = tensor.as_numpy()
        values[tensor.name()] = (
            tuple(text.decode("utf-8", "replace") for text in array.ravel())
            if array.dtype == np.object_
            else array
        )
    return values


class TritonModels:
    """Calls the models of this server, each at the release's version."""

    def __init__(self, pb_utils: Any, release: Release) -> None:
        self._pb_utils, self._release = pb_utils, release

    async def __call__(self, model: str, outputs: tuple[str, ...], **tensors: np.ndarray) -> list[np.ndarray]:
        """Run ``model``; returns ``outputs`` in that order. Raises ModelFailed."""
        pb_utils = self._pb_utils
        name, version = self._release.model(model)
        call = pb_utils.InferenceRequest(
            model_name=name,
            model_version=version,
            requested_output_names=list(outputs),
            inputs=[pb_utils.Tensor(name, array) for name, array in tensors.items()],
            # A model on a GPU would answer in GPU memory, which numpy cannot read.
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = await call.async_exec()
        if response.has_error():
            raise ModelFailed(f"{model}: {response.error().message()}")
        found = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
        return [found[name] for name in outputs]


class Responses:
    """The stream of responses to one request. It must be ended by one of :meth:`close` and :meth:`fail`: otherwise the
    client waits for ever and the server cannot shut down."""

    def __init__(self, pb_utils: Any, request: Any) -> None:
        self._pb_utils = pb_utils
        self._sender = request.get_response_sender()
        self.wanted = set(request.requested_output_names())

    @property
    def cancelled(self) -> bool:
        return bool(self._sender.is_cancelled())

    def send(self, event: dict[str, Any], **tensors: np.ndarray) -> None:
        """One response: the event as JSON, and those of ``tensors`` that the client asked for."""
        content = {"event": np.array([json.dumps(event).encode()], np.object_), **tensors}
        self._sender.send(
            self._pb_utils.InferenceResponse(
                [self._pb_utils.Tensor(name, array) for name, array in content.items() if name in self.wanted]
            )
        )

    def close(self) -> None:
        self._sender.send(flags=self._pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def fail(self, code: str, sentence: str) -> None:
        """End the stream with a Triton error, ``code: sentence``."""
        error = self._pb_utils.TritonError(f"{code}: {sentence}")
        self._sender.send(
            self._pb_utils.InferenceResponse(error=error),
            flags=self._pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
        )
