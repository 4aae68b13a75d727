"""Tells OpenAPI about bodies that Litestar does not see, since we read them ourselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

PHOTO = Schema(
    type=OpenAPIType.STRING,
    content_media_type="application/octet-stream",
    description="A JPEG, PNG or WebP photo of a room",
)


def operation_with(
    media_type: str, properties: Mapping[str, Schema], required: Sequence[str] = ()
) -> type[Operation]:
    """A route's ``operation_class``: its body is an object of these properties."""
    schema = Schema(type=OpenAPIType.OBJECT, properties={**properties}, required=list(required) or None)
    body = RequestBody(content={media_type: OpenAPIMediaType(schema=schema)}, required=True)

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            self.request_body = body

    return WithBody
