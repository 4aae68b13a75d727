"""Failures of a direct request, told by a stable code.

Triton gives a stream's errors as sentences without a status. (Its request header ``triton_grpc_error`` would add
one, but tritonserver 2.51 crashes with it when a model sends the final flag after an error.) Hence the model's own
errors begin with their code, and Triton's are recognised by their wording.
"""

from __future__ import annotations

import re

import grpc

from reroom.errors import ReroomError

FINAL = frozenset({"invalid_request", "cancelled"})
"""Codes for which another try is of no use."""

_MODEL = re.compile(r"(?:.*\bmessage: )?([a-z][a-z0-9_]*): (.+)", re.DOTALL)
_REFUSED = re.compile(r"\[request id: .*?\] (.*\binputs?\b.*)", re.DOTALL)
_NOT_LOADED = re.compile(r"Request for unknown model|is not ready|no available versions|Server is stopping")


class RestyleError(ReroomError):
    """The request failed. ``retryable`` says whether another try may succeed.

    Codes: ``invalid_request``, ``model_error``, ``cancelled`` and what else the model says of itself; ``unavailable``
    when the server or the model cannot be reached, ``deadline_exceeded`` when the time given ran out.
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
        return failure(match[1], match[2])
    if match := _REFUSED.fullmatch(message):
        return failure("invalid_request", match[1])
    return failure("unavailable" if _NOT_LOADED.search(message) else "model_error", message)


def from_transport(error: grpc.aio.AioRpcError) -> RestyleError:
    """The end of a call by gRPC itself."""
    status, detail = error.code(), error.details() or error.code().name
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return failure("deadline_exceeded", "the time given for the request ran out")
    if status is grpc.StatusCode.CANCELLED:
        return failure("cancelled", detail)
    if status in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return failure("invalid_request", detail)
    return failure("unavailable", detail)
