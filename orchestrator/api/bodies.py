"""OpenAPI's view of the bodies that Litestar does not see, since we read them ourselves."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec
from litestar.openapi.spec import Operation, RequestBody

from orchestrator.api.preferences import PALETTE_TEXT, PREFERENCES
from orchestrator.domain.job import Preferences
from orchestrator.domain.styles import DEFAULT_STYLE, STYLES

JsonSchema = dict[str, Any]
ContentType = Literal["image/jpeg", "image/png", "image/webp"]
"""What a photo may be."""

BINARY: JsonSchema = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
"""Bytes, as OpenAPI 3.1 says it (contentMediaType) and as generators still look for it (format)."""

PHOTO: JsonSchema = {**BINARY, "description": "A JPEG, PNG or WebP photo of a room"}


_DESCRIPTIONS = {
    "keep_furniture": "Start from the photo rather than from noise, so that furniture keeps its shape; without effect "
    "where the models do so anyway",
    "color_palette": "Colours in words; one string holds them separated by commas. When absent, models that know "
    "palettes take one by the seed",
    "prompt": "Words that go before the style's own",
    "negative_prompt": "What should not be in the picture; without effect at guidance_scale 1 or less",
    "seed": "Repeats a picture; a random one when absent. Whole numbers above 2^53 are exact only in 64-bit integers",
    "steps": "Solver steps, of which the share strength is run; the models' own default when absent",
    "strength": "1 starts from noise, less starts from the photo, in this share of the steps; the models' own default "
    "when absent",
    "guidance_scale": "How closely to follow the words; the models' own default when absent, off at 1 or less",
    "detail": "How much of the photo's own detail the result gets, at the photo's size; 0 = none, at the models' own "
    "size. The models' own default when absent",
    "preview_every": "A preview over the WebSocket every so many steps; 0 = none",
}


def _preferences() -> JsonSchema:
    """Every member with its range and default; each may be null, which is the same as leaving it out."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(Preferences)}
    members = {}
    for name, kind in PREFERENCES.items():
        member = msgspec.json.schema(kind)
        if name == "color_palette":
            member = {"anyOf": [member, {"type": "string", "pattern": PALETTE_TEXT}, {"type": "null"}]}
        else:
            member["type"] = [member["type"], "null"]
        members[name] = member | {"description": _DESCRIPTIONS[name]}
        if isinstance(defaults[name], bool | int | str):
            members[name]["default"] = defaults[name]
    return {
        "type": "object",
        "properties": members,
        "additionalProperties": False,
        "description": "What may be said beside the style; all optional, and null is the same as leaving it out",
    }


def _ref(name: str) -> JsonSchema:
    return {"$ref": f"#/components/schemas/{name}"}


_WISHES: dict[str, JsonSchema] = {
    "style": {"type": "string", "enum": list(STYLES), "default": DEFAULT_STYLE},
    "preferences": _ref("Preferences"),
}
_JSON_PART = {"preferences": {"contentType": "application/json"}}

_COMPONENTS: dict[str, JsonSchema] = {
    "Preferences": _preferences(),
    "SubmitForm": {
        "type": "object",
        "properties": {"file": PHOTO, **_WISHES},
        "required": ["file"],
        "additionalProperties": False,
    },
    "SubmitUpload": {
        "type": "object",
        "properties": {
            "key": {
                "type": "string",
                "maxLength": 100,
                "description": "The key of POST /uploads, once the photo has been put there",
            },
            **_WISHES,
        },
        "required": ["key"],
        "additionalProperties": False,
    },
    "PhotoForm": {
        "type": "object",
        "properties": {"file": PHOTO},
        "required": ["file"],
        "additionalProperties": False,
    },
    "UploadRequest": {
        "type": "object",
        "properties": {
            "content_type": {"type": "string", "enum": list(get_args(ContentType))},
            "size": {"type": "integer", "minimum": 1, "description": "Bytes of the file"},
        },
        "required": ["content_type", "size"],
        "additionalProperties": False,
    },
}


def components(max_upload_bytes: int) -> dict[str, JsonSchema]:
    """The schemas of the bodies, by name."""
    made = copy.deepcopy(_COMPONENTS)
    made["UploadRequest"]["properties"]["size"]["maximum"] = max_upload_bytes
    return made


FORM: JsonSchema = {"multipart/form-data": {"schema": _ref("SubmitForm"), "encoding": _JSON_PART}}
UPLOADED: JsonSchema = {"application/json": {"schema": _ref("SubmitUpload")}}
PHOTO_FORM: JsonSchema = {"multipart/form-data": {"schema": _ref("PhotoForm")}}
UPLOAD_REQUEST: JsonSchema = {"application/json": {"schema": _ref("UploadRequest")}}
PHOTO_FILE: JsonSchema = {kind: {"schema": BINARY} for kind in get_args(ContentType)}


def operation_with(content: dict[str, Any]) -> type[Operation]:
    """A route's ``operation_class``: it takes one of these bodies, by media type."""

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(content=content, required=True)

    return WithBody
