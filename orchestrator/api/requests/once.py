"""The headers ``Idempotency-Key`` and ``Cancel-After``, and answers that may be replayed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.openapi.spec import Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType

from orchestrator.api.responses.errors import IDEMPOTENCY_FIELD, Problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import Caller
from orchestrator.ports import ANEW, Begun
from orchestrator.services.submitting.once import Once

IDEMPOTENCY_KEY, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
CANCEL_AFTER = "Cancel-After"

_KEY = r'^("[ !#-~]{1,255}"|[!-~]{1,255})$'
"""Bare, or quoted as a string of structured fields."""
_TIME = (
    r"^(([1-9][0-9]{0,4}|[1-5][0-9]{5}|60[0-3][0-9]{3}|604[0-7][0-9]{2}|604800)s?"
    r"|([1-9][0-9]{0,3}|100[0-7][0-9]|10080)m|([1-9][0-9]?|1[0-5][0-9]|16[0-8])h|[1-7]d)$"
)
"""A second to seven days."""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

T = TypeVar("T", bound=msgspec.Struct)

KEY_PARAMETER = Parameter(
    name=IDEMPOTENCY_KEY,
    param_in="header",
    description="A name for this request, such as a UUID. For a day, the same request with the same key is not done "
    f"again: it gets the first one's answer, with {REPLAYED}",
    schema=Schema(type=OpenAPIType.STRING, pattern=_KEY),
)
CANCEL_PARAMETER = Parameter(
    name=CANCEL_AFTER,
    param_in="header",
    description="A job that has not ended by then is cancelled: seconds from now, or a time such as 90s, 10m, 2h",
    schema=Schema(type=OpenAPIType.STRING, pattern=_TIME),
)


def key_of(request: Request[Any, Any, Any]) -> str | None:
    """The request's key without quotes; None when it has none. Raises Problem."""
    text = request.headers.get(IDEMPOTENCY_KEY)
    if text is None:
        return None
    if not re.fullmatch(_KEY, text.strip()):
        detail = "a key has 1 to 255 printable ASCII characters, such as a UUID"
        raise Problem(ProblemCode.INVALID_IDEMPOTENCY_KEY, detail, field=IDEMPOTENCY_FIELD)
    quoted = re.fullmatch(r'"(.+)"', text.strip())
    return quoted[1] if quoted else text.strip()


def cancel_after(request: Request[Any, Any, Any]) -> float | None:
    """The seconds that the job may take, waiting included; None = any. Raises Problem."""
    text = request.headers.get(CANCEL_AFTER)
    if text is None:
        return None
    text = text.strip().lower()
    if re.fullmatch(_TIME, text):
        number = text.rstrip("smhd")
        return float(int(number) * _UNITS[text[len(number) :]])
    detail = "it must be a time such as 90s, 10m or 2h, of at least a second and at most 7 days"
    raise Problem(ProblemCode.INVALID_CANCEL_AFTER, detail, field=CANCEL_AFTER.lower())


async def answered_once(
    once: Once,
    caller: Caller,
    key: str | None,
    fingerprint: str,
    run: Callable[[Begun], Awaitable[T]],
    kind: type[T],
) -> Response[T]:
    """The answer of ``run``, which is called unless the caller's request with this key was done before. Raises what
    :meth:`Once.do` raises."""
    if key is None:
        return Response(await run(ANEW))

    async def encoded(begun: Begun) -> str:
        return msgspec.json.encode(await run(begun)).decode()

    text, replayed = await once.do(caller.owner, key, fingerprint, encoded)
    return Response(msgspec.json.decode(text, type=kind), headers={REPLAYED: "true"} if replayed else {})
