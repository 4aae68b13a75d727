"""``/webhooks``: where a key's jobs are told of."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import json_body, operation_with
from orchestrator.api.requests.once import KEY_PARAMETER, answered_once, key_of
from orchestrator.api.requests.small_bodies import MAX_BODY_BYTES, read_json
from orchestrator.api.responses.errors import problems
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
    delivery_data,
    webhook_data,
    webhook_made,
)
from orchestrator.domain.keys import Caller
from orchestrator.domain.webhooks import ENDS
from orchestrator.ports import Begun
from orchestrator.services.notifying.webhooks import WebhookService
from orchestrator.services.submitting.once import Once, fingerprint_of


class WebhooksController(Controller):
    path = "/webhooks"
    tags = ("webhooks",)

    @get(
        "/",
        opt=access(Rule.READ),
        operation_id="list_webhooks",
        summary="Your endpoints, the oldest first",
        responses=problems(503),
    )
    async def index(
        self, caller: NamedDependency[Caller], webhooks: NamedDependency[WebhookService]
    ) -> WebhookList:
        return WebhookList(data=[webhook_data(each) for each in await webhooks.all(caller)])

    @post(
        "/",
        status_code=201,
        opt=access(Rule.TRANSFORM),
        operation_id="create_webhook",
        summary="Make an endpoint that is told what happens to your jobs, and show its secret once",
        operation_class=operation_with(json_body("NewWebhook"), KEY_PARAMETER),
        responses=problems(400, 408, 409, 413, 422, 503),
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def create(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        webhooks: NamedDependency[WebhookService],
        once: NamedDependency[Once],
    ) -> Response[WebhookMade]:
        key, asked = key_of(request), await read_json(request, NewWebhook)
        events = ENDS if asked.events is UNSET else asked.events

        async def made(begun: Begun) -> WebhookMade:
            return webhook_made(await webhooks.create(caller, asked.url, events, asked.description, begun))

        fingerprint = fingerprint_of("webhook", {"url": asked.url, "events": [*events]})
        return await answered_once(once, caller, key, fingerprint, made, WebhookMade)

    @get(
        "/{webhook_id:str}",
        opt=access(Rule.READ),
        operation_id="show_webhook",
        summary="An endpoint",
        responses=problems(400, 404, 503),
    )
    async def show(
        self,
        webhook_id: FromPath[str],
        caller: NamedDependency[Caller],
        webhooks: NamedDependency[WebhookService],
    ) -> WebhookAnswer:
        return WebhookAnswer(data=webhook_data(await webhooks.get(caller, webhook_id)))

    @patch(
        "/{webhook_id:str}",
        opt=access(Rule.TRANSFORM),
        operation_id="change_webhook",
        summary="Change an endpoint, disable it, or enable it again",
        operation_class=operation_with(json_body("WebhookChange")),
        responses=problems(400, 404, 408, 413, 422, 503),
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def change(
        self,
        request: Request[Any, Any, Any],
        webhook_id: FromPath[str],
        caller: NamedDependency[Caller],
        webhooks: NamedDependency[WebhookService],
    ) -> WebhookAnswer:
        asked = msgspec.structs.asdict(await read_json(request, WebhookChange))
        members = {name: value for name, value in asked.items() if value is not UNSET}
        enabled = members.pop("enabled", None)
        return WebhookAnswer(data=webhook_data(await webhooks.change(caller, webhook_id, members, enabled)))

    @delete(
        "/{webhook_id:str}",
        status_code=200,
        opt=access(Rule.TRANSFORM),
        operation_id="delete_webhook",
        summary="Delete an endpoint, and what waits for it",
        responses=problems(400, 404, 503),
    )
    async def delete(
        self,
        webhook_id: FromPath[str],
        caller: NamedDependency[Caller],
        webhooks: NamedDependency[WebhookService],
    ) -> WebhookDeleted:
        await webhooks.delete(caller, webhook_id)
        return WebhookDeleted(id=webhook_id)

    @post(
        "/{webhook_id:str}/rotate",
        status_code=200,
        opt=access(Rule.TRANSFORM),
        operation_id="rotate_webhook_secret",
        summary="Give an endpoint a new secret, shown once; the one before goes on signing for a while",
        operation_class=operation_with(json_body("SecretRotation")),
        responses=problems(400, 404, 408, 413, 422, 503),
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def rotate(
        self,
        request: Request[Any, Any, Any],
        webhook_id: FromPath[str],
        caller: NamedDependency[Caller],
        webhooks: NamedDependency[WebhookService],
    ) -> WebhookMade:
        asked = await read_json(request, SecretRotation)
        return webhook_made(await webhooks.rotate(caller, webhook_id, asked.grace))

    @post(
        "/{webhook_id:str}/test",
        status_code=202,
        opt=access(Rule.TRANSFORM),
        operation_id="test_webhook",
        summary="Send an endpoint an event of the type webhook.test",
        responses=problems(400, 404, 409, 503),
    )
    async def test(
        self,
        webhook_id: FromPath[str],
        caller: NamedDependency[Caller],
        webhooks: NamedDependency[WebhookService],
    ) -> WebhookTested:
        return WebhookTested(event_id=await webhooks.test(caller, webhook_id))

    @get(
        "/{webhook_id:str}/deliveries",
        opt=access(Rule.READ),
        operation_id="list_deliveries",
        summary="What became of an endpoint's events, the newest first",
        responses=problems(400, 404, 503),
    )
    async def deliveries(
        self,
        webhook_id: FromPath[str],
        caller: NamedDependency[Caller],
        webhooks: NamedDependency[WebhookService],
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
    ) -> DeliveryList:
        found = await webhooks.deliveries(caller, webhook_id, limit)
        return DeliveryList(data=[delivery_data(each) for each in found])
