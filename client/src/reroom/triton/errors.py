"""Errors of direct requests, each with a stable code.

Triton gives a stream's errors as sentences without a status. (Its request header ``triton_grpc_error`` would add
one, but tritonserver 2.51 crashes with it when a model sends the final flag after an error.) Hence the model's own
errors begin with their code, and Triton's are recognised by their wording.
"""

from __future__ import annotations

import re

import grpc
from tritonclient.utils import InferenceServerException

from reroom.errors import ReroomError

FINAL = frozenset({"invalid_request", "cancelled", "structure_lost"})
"""Codes after which a retry does not help."""

_MODEL = re.compile(r"(?:.*\bmessage: )?([a-z][a-z0-9_]*): (.+)", re.DOTALL)
_REFUSED = re.compile(
    r"\[request id: .*?\] (.*\binputs?\b.*)|((?:unexpected inference (?:in|out)put|expected \d+ inputs) .*)",
    re.DOTALL,
)
_NOT_LOADED = re.compile(r"Request for unknown model|is not ready|no available versions|Server is stopping")
_DEAD = re.compile(r"\b[Ss]tub process\b.*(is not healthy|is unhealthy|exited|restart)", re.DOTALL)
"""Triton's messages about a Python model whose own process has died, or has not responded for a second."""


class RestyleError(ReroomError):
    """The request failed. ``retryable`` says whether a retry may succeed.

    Codes: ``invalid_request``, ``structure_lost`` (no picture met ``min_quality``), ``model_error``, ``cancelled`` and
    others from the model; ``unavailable`` when the server or the model cannot be reached, or a model's process has
    died; ``deadline_exceeded`` after the deadline.
    """

    def __init__(self, code: str, detail: str, *, retryable: bool) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.retryable = code, detail, retryable


def failure(code: str, detail: str) -> RestyleError:
    """The error of that code, retryable according to :data:`FINAL`."""
    return RestyleError(code, detail.strip(), retryable=code not in FINAL)


def from_message(message: str) -> RestyleError:
    """An error response of the stream: the model's (``code: sentence``) or one of Triton's own."""
    if match := _MODEL.fullmatch(message):
        # `restyle` reports a dead model that it called as model_error. Other codes may quote what users wrote.
        gone = match[1] == "model_error" and _DEAD.search(match[2])
        return failure("unavailable" if gone else match[1], match[2])
    if match := _REFUSED.fullmatch(message):
        return failure("invalid_request", match[1] or match[2])
    gone = _NOT_LOADED.search(message) or _DEAD.search(message)
    return failure("unavailable" if gone else "model_error", message)


def from_call(error: InferenceServerException) -> RestyleError:
    """The error of a call that is not a stream: from gRPC itself, or the server's message."""
    status, message = str(error.status() or ""), str(error.message())
    if status.endswith("DEADLINE_EXCEEDED") or message == "Deadline Exceeded":
        return failure("deadline_exceeded", "the time given for the request ran out")
    if status.endswith(("UNAVAILABLE", "CANCELLED")):
        return failure("unavailable", message)
    return from_message(message)


def from_transport(error: grpc.aio.AioRpcError) -> RestyleError:
    """The error of a stream that gRPC itself ended."""
    status, detail = error.code(), error.details() or error.code().name
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return failure("deadline_exceeded", "the time given for the request ran out")
    if status is grpc.StatusCode.CANCELLED:
        return failure("cancelled", detail)
    if status in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return failure("invalid_request", detail)
    return failure("unavailable", detail)
