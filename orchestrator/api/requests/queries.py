"""The query parameters that say which jobs are meant, with one clear sentence for each that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.spec import Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.job import JobState
from orchestrator.ports import Wanted

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_TEXT = Schema(type=OpenAPIType.STRING)
_TIME = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME)


def query_parameter(name: str, description: str, schema: Schema) -> Parameter:
    return Parameter(name=name, param_in="query", description=description, schema=schema)


def which_parameters(states: Sequence[JobState]) -> list[Parameter]:
    """Those that :func:`wanted` reads."""
    state = Schema(type=OpenAPIType.STRING, enum=list(states))
    return [
        query_parameter(
            "status", "Those in one of these states", Schema(type=OpenAPIType.ARRAY, items=state)
        ),
        query_parameter("style", "Those of this style", _TEXT),
        query_parameter("favourite", "true: favourites; false: all others", Schema(type=OpenAPIType.BOOLEAN)),
        query_parameter("created_after", "Those that were submitted then or later", _TIME),
        query_parameter("created_before", "Those that were submitted earlier", _TIME),
    ]


def wanted(request: Request[Any, Any, Any], states: Sequence[JobState]) -> Wanted:
    """Which jobs the query means; ``states`` are those that it may name. Raises Problem."""
    query = request.query_params
    given = [text for text in query.getall("status", [])]
    for text in given:
        if text not in states:
            raise bad("status", f"status must be one of {', '.join(states)}; name it again for several")
    favourite = query.get("favourite")
    if favourite is not None and favourite not in _BOOLEANS:
        raise bad("favourite", "favourite must be true or false")
    return Wanted(
        states=frozenset(map(JobState, given)) if given else None,
        style=query.get("style"),
        favourite=None if favourite is None else _BOOLEANS[favourite],
        created_from=_unix(request, "created_after"),
        created_until=_unix(request, "created_before"),
    )


def whole_number(request: Request[Any, Any, Any], name: str, least: int, most: int, default: int) -> int:
    """Raises Problem."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
        raise bad(name, f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _unix(request: Request[Any, Any, Any], name: str) -> float | None:
    """UNIX seconds; a time without a zone is UTC. Raises Problem."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        time = msgspec.convert(text, datetime)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (msgspec.ValidationError, OverflowError, ValueError):
        raise bad(name, f"{name} must be a time such as 2026-11-26T12:00:00Z (with %2B for a +)") from None


def bad(field: str, detail: str) -> Problem:
    return Problem(ProblemCode.BAD_REQUEST, detail, field=field)
