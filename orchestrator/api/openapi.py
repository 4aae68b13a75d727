"""``GET /schema``: the OpenAPI document. Litestar describes the routes; this file adds what it cannot know."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Controller, Litestar, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from orchestrator.api.dependencies import providers
from orchestrator.api.middleware.access import Rule, access, rule_of, takes_ticket
from orchestrator.api.middleware.limiting import UNCOUNTED
from orchestrator.api.middleware.observing import STREAM
from orchestrator.api.requests.bodies import BINARY, JsonSchema, components
from orchestrator.api.requests.once import IDEMPOTENCY_KEY, REPLAYED
from orchestrator.api.requests.prefer import APPLIED, PREFER
from orchestrator.api.responses.errors import MEDIA_TYPE, ProblemDetail
from orchestrator.api.responses.letter_data import LetterAnswer, LetterList
from orchestrator.api.responses.messages import Message
from orchestrator.api.responses.oversight_data import (
    FailuresAnswer,
    FloorAnswer,
    LevelsAnswer,
    PlansAnswer,
    TritonsAnswer,
)
from orchestrator.api.responses.presenters import Status, Submitted
from orchestrator.api.responses.release_data import ReleasesAnswer, RolloutAnswer
from orchestrator.api.responses.webhook_data import (
    DeliveryList,
    NewWebhook,
    SecretRotation,
    WebhookAnswer,
    WebhookChange,
    WebhookDeleted,
    WebhookList,
    WebhookMade,
    WebhookTested,
)
from orchestrator.api.routes.analyze import Analyzed
from orchestrator.api.routes.batch import BatchAnswer
from orchestrator.api.routes.dead_letters import LetterEnded
from orchestrator.api.routes.health import Alive, Health
from orchestrator.api.routes.keys import KeyAnswer, KeyList, KeyMade, NewKey, Rotation
from orchestrator.api.routes.listing import CancelAnswer, JobList
from orchestrator.api.routes.releases import NewCanary
from orchestrator.api.routes.root import Root
from orchestrator.api.routes.styles import NewStyle, StyleAnswer, StyleDeleted, StyleList
from orchestrator.api.routes.tickets import TicketAnswer, TicketRequest
from orchestrator.api.routes.transform import Erased
from orchestrator.api.routes.uploads import UploadOffer
from orchestrator.api.routes.usage import UsageAnswer
from orchestrator.api.routes.websocket import CLOSE_CODES, PATH
from orchestrator.domain.result import ResultMetadata
from orchestrator.ports import QueueStats, StorageStats
from orchestrator.programs.observing import package_version

DESCRIPTION = """Restyles photos of rooms: submit a photo, follow its job, fetch the picture.

Errors are problem details (RFC 9457) with a stable `code` and the offending `field`. HEAD answers wherever GET does,
OPTIONS at every address; 405 lists the methods in `Allow`. A body with `Content-Encoding` is answered 415.

Callers send an API key as `Authorization: Bearer rr_…` or `X-API-Key`. Its scopes say what it may do: `transform`,
`read`, `admin`. Jobs and uploads of other keys do not exist for it (404). A service in open mode needs no key.

A key has the limits of its plan. Answers say what is left of its rate limits (`RateLimit`, `RateLimit-Policy`); 402 and
429 name the limit in `violated-policies`, and `Retry-After` says when it has room again.

Every answer has `X-Request-Id`: that of the request if it has 8 to 64 letters, digits, `.`, `_` and `-`, or else a
new one. Name it when you report a problem.

A job's events come over a WebSocket: see `x-websockets`, and the component `Message` for what it sends."""

_ANSWERS = (
    Alive, Analyzed, BatchAnswer, CancelAnswer, DeliveryList, Erased, FailuresAnswer, FloorAnswer, Health, JobList,
    KeyAnswer, KeyList, KeyMade, LetterAnswer, LetterEnded, LetterList, LevelsAnswer, Message, PlansAnswer,
    ProblemDetail, QueueStats, ReleasesAnswer, ResultMetadata, RolloutAnswer, Root, Status,
    StorageStats, StyleAnswer, StyleDeleted, StyleList,
    Submitted, TicketAnswer, TritonsAnswer, UploadOffer, UsageAnswer,
    WebhookAnswer, WebhookDeleted, WebhookList, WebhookMade, WebhookTested,
)  # fmt: skip
_REQUESTS = (NewCanary, NewKey, NewStyle, NewWebhook, Rotation, SecretRotation, TicketRequest, WebhookChange)

_RETRY_AFTER: dict[str, JsonSchema] = {
    "Retry-After": {"description": "Seconds until another try", "schema": {"type": "integer", "minimum": 0}}
}
_RATES: dict[str, JsonSchema] = {
    "RateLimit-Policy": {
        "description": 'All rate limits of the caller, such as `"key-minute";q=60;w=60`: quota, window in seconds. '
        "Absent without limits, as are the next four",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'What is left of each, such as `"key-minute";r=59;t=60`, and seconds until it is more',
        "schema": {"type": "string"},
    },
    "X-RateLimit-Limit": {
        "description": "The quota of the limit that will be met first",
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Remaining": {
        "description": "What is left of it",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-RateLimit-Reset": {
        "description": "Seconds until it is more",
        "schema": {"type": "integer", "minimum": 0},
    },
}
_REQUEST_ID: dict[str, JsonSchema] = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
_HEADERS: dict[str, dict[str, JsonSchema]] = {
    "401": {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}},
    "405": {"Allow": {"description": "The methods of this address", "schema": {"type": "string"}}},
    "415": {
        "Accept-Encoding": {
            "description": "With unsupported_encoding: identity",
            "schema": {"type": "string"},
        }
    },
    "402": _RETRY_AFTER,
    "429": _RETRY_AFTER,
    "503": _RETRY_AFTER,
}
_REPLAYABLE: dict[str, dict[str, JsonSchema]] = {
    "2xx": {
        REPLAYED: {
            "description": "true, when this is the answer of an earlier request with the same key",
            "schema": {"type": "string", "enum": ["true"]},
        }
    },
    "409": {
        "Retry-After": {
            "description": "With idempotency_key_in_use: seconds until another try",
            "schema": {"type": "integer", "minimum": 0},
        }
    },
}
"""Of requests that take an idempotency key."""
_PREFERRED: dict[str, JsonSchema] = {
    APPLIED: {
        "description": "What of Prefer was done, such as `wait=30`; absent if nothing was",
        "schema": {"type": "string"},
    }
}
_LOCATION: dict[str, JsonSchema] = {
    "Location": {
        "description": "The job's status_url",
        "schema": {"type": "string", "format": "uri"},
    }
}
_EVERYWHERE = (400, 405, 408, 429, 431, 500, 503)
"""Answers that come from outside the routes: to invalid or slow requests and to connections above the limit
(orchestrator.server.connections), when a handler did not answer in time (api.deadline), and after a bug."""
_WITH_BODY = (413, 415)
_SERVER_EVENT: JsonSchema = {
    "type": "object",
    "description": "An event of the stream",
    "properties": {
        "event": {"type": "string", "description": "The type of the message"},
        "id": {"type": "string", "description": "Its seq"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Message"},
        },
        "retry": {"type": "integer"},
    },
    "required": ["data"],
}
_PROBLEM: JsonSchema = {"schema": {"$ref": "#/components/schemas/ProblemDetail"}}

_SCHEMES: dict[str, JsonSchema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or REROOM_ADMIN_TOKEN"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same"},
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "From POST /tickets, for one request",
    },
}
_FOR_DETAILS: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"apiKey": []}]
"""Of routes that show an administrator more than others."""


def document(handlers: Sequence[ControllerRouterHandler], max_upload_bytes: int) -> dict[str, Any]:
    """The OpenAPI 3.1 document of an API with these route handlers."""
    app = Litestar(
        route_handlers=handlers,
        dependencies=providers(),
        openapi_config=OpenAPIConfig(title="reroom", version=package_version(), description=DESCRIPTION),
        logging_config=None,
    )
    described = app.openapi_schema.to_schema()
    described["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    described["components"] = {
        "schemas": dict(sorted((_answers() | _requests() | components(max_upload_bytes)).items())),
        "headers": {"RequestId": {"description": "The id of the request", "schema": {"type": "string"}}},
        "securitySchemes": _SCHEMES,
    }
    routes = (route for route in app.routes if isinstance(route, HTTPRoute))
    handlers_by_id = {str(each.operation_id): each for route in routes for each in route.route_handlers}
    for path, item in described["paths"].items():
        for operation in item.values():
            _secure(path, operation, handlers_by_id[operation["operationId"]])
            _complete(path, operation, handlers_by_id[operation["operationId"]])
    described["x-websockets"] = {PATH: _websocket()}
    return described


def _secure(path: str, operation: dict[str, Any], handler: HTTPRouteHandler) -> None:
    """Describe what the route's rule asks for, and its refusals."""
    rule = rule_of(handler)
    if rule.scope is not None:
        schemes = ("bearer", "apiKey", "ticket") if takes_ticket(handler) else ("bearer", "apiKey")
        operation["security"] = [{scheme: []} for scheme in schemes]
        operation["x-scope"] = rule.scope
        for status in (401, 403):
            operation["responses"].setdefault(str(status), {"description": HTTPStatus(status).phrase})[
                "content"
            ] = {MEDIA_TYPE: _PROBLEM}
    elif rule is Rule.PUBLIC and path in ("/health", "/health/ready"):
        operation["security"] = _FOR_DETAILS


def _complete(path: str, operation: dict[str, Any], handler: HTTPRouteHandler) -> None:
    operation.pop("deprecated", None)
    responses = operation["responses"]
    names = {each["name"] for each in operation.get("parameters", ())}
    replayable = IDEMPOTENCY_KEY in names
    for status in (*_EVERYWHERE, *(_WITH_BODY if "requestBody" in operation else ())):
        response = responses.setdefault(str(status), {"description": HTTPStatus(status).phrase})
        response.setdefault("content", {})[MEDIA_TYPE] = _PROBLEM
    for status, response in responses.items():
        headers = _HEADERS.get(status, {}) if MEDIA_TYPE in response.get("content", {}) else {}
        if replayable:
            headers = _REPLAYABLE.get(status[0] + "xx", _REPLAYABLE.get(status, headers))
        if PREFER in names and status[0] == "2":
            headers = headers | _PREFERRED | (_LOCATION if status == "202" else {})
        if not handler.opt.get(UNCOUNTED) and (status[0] in "23" or status == "429"):
            headers = headers | _RATES
        response["headers"] = headers | _REQUEST_ID
    operation["responses"] = dict(sorted(responses.items()))
    if STREAM in responses.get("200", {}).get("content", {}):
        responses["200"]["content"][STREAM]["schema"] = _SERVER_EVENT
    if path == "/files/{key}" and "image/jpeg" in responses["200"].get("content", {}):
        responses["200"]["content"]["image/jpeg"]["schema"] = BINARY
    for parameter in operation.get("parameters", ()):
        for default in ("deprecated", "allowEmptyValue", "allowReserved"):
            parameter.pop(default, None)


def _requests() -> dict[str, JsonSchema]:
    _, found = msgspec.json.schema_components(_REQUESTS, ref_template="#/components/schemas/{name}")
    typed: dict[str, JsonSchema] = _typed(found)
    return typed


def _answers() -> dict[str, JsonSchema]:
    whole, answers = msgspec.json.schema_components(_ANSWERS, ref_template="#/components/schemas/{name}")
    message = whole[_ANSWERS.index(Message)]
    answers["Message"] = {
        "oneOf": message.pop("anyOf"),
        **message,
        "description": "What the WebSocket sends",
    }
    answers["ResultMetadata"]["additionalProperties"] = True
    _always_sent(answers)
    typed: dict[str, JsonSchema] = _typed(answers)
    return typed


def _always_sent(answers: dict[str, JsonSchema]) -> None:
    """Mark members that have a default as required: the API sends them always, so that readers can rely on them."""
    for component in answers.values():
        for name, member in component.get("properties", {}).items():
            if member.pop("default", None) is not None:
                component["required"] = [*component.get("required", ()), name]


def _typed(schema: Any) -> Any:
    """The schema with a type beside each enum, which generators need and msgspec leaves out."""
    if isinstance(schema, list):
        return [_typed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    typed = {name: _typed(each) for name, each in schema.items()}
    choices = schema.get("enum")
    if isinstance(choices, list) and all(isinstance(choice, str) for choice in choices):
        typed = {"type": "string"} | typed
    return typed


def _websocket() -> JsonSchema:
    return {
        "summary": "A job's events as they happen, each once and in order",
        "parameters": [
            {
                "name": "after",
                "in": "query",
                "required": False,
                "description": "Events after this seq; 0 = from the first; without it those from now on",
                "schema": {"type": "string", "pattern": "^[0-9]{1,18}(-[0-9]{1,18})?$"},
            }
        ],
        "security": [{scheme: []} for scheme in _SCHEMES],
        "x-scope": Rule.READ.scope,
        "messages": {"$ref": "#/components/schemas/Message"},
        "closeCodes": {str(code): meaning for code, meaning in CLOSE_CODES.items()},
    }


def schema_controller(handlers: Sequence[ControllerRouterHandler], max_upload_bytes: int) -> type[Controller]:
    """A controller that serves the OpenAPI document of ``handlers`` at /schema."""

    @functools.cache
    def encoded() -> bytes:
        return msgspec.json.encode(document(handlers, max_upload_bytes))

    class SchemaController(Controller):
        path = "/schema"
        include_in_schema = False
        opt = access(Rule.PUBLIC)

        @get(["/", "/openapi.json"])
        async def schema(self) -> Response[bytes]:
            return Response(encoded(), media_type="application/vnd.oai.openapi+json")

    return SchemaController
