"""``/admin/keys``: what ``python -m orchestrator keys`` does, over HTTP."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import json_body, operation_with
from orchestrator.api.requests.small_bodies import MAX_BODY_BYTES, read_json
from orchestrator.api.responses.errors import Problem, problems
from orchestrator.api.responses.key_data import KeyData, key_data
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import DEFAULT_PLAN, PLAN, Scope
from orchestrator.domain.plans import Plans
from orchestrator.services.keys import GRACE_SECONDS, KeyService, MadeKey

YEARS = 100 * 366 * 86400
"""The most seconds that a key may last, or a replaced secret."""


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /admin/keys``."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=3)]
    plan: Annotated[str, Meta(pattern=PLAN)] = DEFAULT_PLAN
    expires_in: Annotated[int, Meta(ge=1, le=YEARS)] | None = None

    def __post_init__(self) -> None:
        # In Python, unlike JSON Schema, "$" also matches before a line break at the end.
        if not re.fullmatch(PLAN, self.plan):
            raise ValueError("plan must have 1 to 40 of a-z, 0-9, _ and -")


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /admin/keys/{id}/rotate``."""

    grace: Annotated[int, Meta(ge=0, le=YEARS)] = int(GRACE_SECONDS)


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: KeyData


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: list[KeyData]


class KeyMade(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    key: str
    """``rr_<id>_<secret>``. It is shown this once."""
    data: KeyData


class KeysController(Controller):
    path = "/admin/keys"
    tags = ("admin",)
    opt = access(Rule.ADMIN)

    @get(
        "/",
        operation_id="list_keys",
        summary="All API keys, also those that were revoked or have expired",
        responses=problems(503),
    )
    async def index(self, keys: NamedDependency[KeyService]) -> KeyList:
        return KeyList(data=[key_data(key) for key in await keys.all()])

    @post(
        "/",
        status_code=201,
        operation_id="create_key",
        summary="Make an API key, and show it once",
        operation_class=operation_with(json_body("NewKey")),
        responses=problems(400, 408, 409, 413, 422, 503),
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def create(
        self,
        request: Request[Any, Any, Any],
        keys: NamedDependency[KeyService],
        plans: NamedDependency[Plans],
    ) -> KeyMade:
        asked = await read_json(request, NewKey)
        if asked.plan not in plans.by_name:
            raise Problem(
                ProblemCode.UNKNOWN_PLAN, f"there are these plans: {', '.join(plans.by_name)}", field="plan"
            )
        expires = None if asked.expires_in is None else time.time() + asked.expires_in
        return _made(await keys.create(asked.name, asked.scopes, plan=asked.plan, expires=expires))

    @get(
        "/{key_id:str}",
        operation_id="show_key",
        summary="An API key",
        responses=problems(400, 404, 503),
    )
    async def show(self, key_id: FromPath[str], keys: NamedDependency[KeyService]) -> KeyAnswer:
        return KeyAnswer(data=key_data(await keys.get(key_id)))

    @post(
        "/{key_id:str}/rotate",
        status_code=200,
        operation_id="rotate_key",
        summary="Give an API key a new secret, shown once; the one before lives on for a while",
        operation_class=operation_with(json_body("Rotation")),
        responses=problems(400, 404, 408, 413, 422, 503),
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def rotate(
        self, request: Request[Any, Any, Any], key_id: FromPath[str], keys: NamedDependency[KeyService]
    ) -> KeyMade:
        asked = await read_json(request, Rotation)
        return _made(await keys.rotate(key_id, asked.grace))

    @post(
        "/{key_id:str}/revoke",
        status_code=200,
        operation_id="revoke_key",
        summary="Revoke an API key: it is refused from now on, and stays in the list",
        responses=problems(400, 404, 503),
    )
    async def revoke(self, key_id: FromPath[str], keys: NamedDependency[KeyService]) -> KeyAnswer:
        return KeyAnswer(data=key_data(await keys.revoke(key_id)))


def _made(made: MadeKey) -> KeyMade:
    return KeyMade(key=made.text, data=key_data(made.key))
