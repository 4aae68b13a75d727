"""OpenAPI schemas of request bodies. Litestar cannot derive them, because the handlers read the bodies themselves."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec
from litestar.openapi.spec import Operation, Parameter, RequestBody

from orchestrator.api.requests.preferences import PALETTE_TEXT
from orchestrator.domain.job import MAX_STYLES, MAX_VARIATIONS
from orchestrator.domain.preferences import PREFERENCES, Preferences
from orchestrator.domain.styles import DEFAULT_STYLE, STYLES
from orchestrator.egress.urls import MAX_URL

JsonSchema = dict[str, Any]
ContentType = Literal["image/jpeg", "image/png", "image/webp", "image/heic", "image/heif", "image/avif"]
"""The media types of photos that are accepted."""

MOST_SUBMITTED = 20
"""How many submissions a batch has, at most."""

BINARY: JsonSchema = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
"""Bytes, in OpenAPI 3.1's notation (contentMediaType) and in the older one that generators expect (format)."""

PHOTO: JsonSchema = {**BINARY, "description": "A JPEG, PNG, WebP, HEIC or AVIF photo of a room"}


def _preferences() -> JsonSchema:
    """Each preference with its range and default. Each may be null, which is the same as leaving it out."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(Preferences)}
    members = {}
    for name, kind in PREFERENCES.items():
        member = msgspec.json.schema(kind)
        if name == "color_palette":
            text = {"type": "string", "pattern": PALETTE_TEXT}
            member = {"anyOf": [member, text, {"type": "null"}], "description": member.pop("description")}
        else:
            member["type"] = [member.get("type", "string"), "null"]
        if "enum" in member:
            member["enum"] = [*member["enum"], None]
        members[name] = member
        if isinstance(defaults[name], bool | int | str):
            members[name]["default"] = defaults[name]
    return {
        "type": "object",
        "properties": members,
        "additionalProperties": False,
        "description": "What a user may set beside the style; all optional, and null is the same as leaving it out",
    }


def _ref(name: str) -> JsonSchema:
    return {"$ref": f"#/components/schemas/{name}"}


_MASK_TEXT = (
    "A picture of the photo's shape: what is light in it stays as photographed, what is dark is restyled"
)
KEEP_MASK: JsonSchema = {**BINARY, "description": _MASK_TEXT}
_ENCODED_MASK: JsonSchema = {
    "type": ["string", "null"],
    "format": "byte",
    "contentEncoding": "base64",
    "description": f"{_MASK_TEXT}. A JPEG, PNG, WebP, HEIC or AVIF in base64",
}
_IMAGE_URL: JsonSchema = {
    "type": "string",
    "format": "uri",
    "maxLength": MAX_URL,
    "description": "Where the photo is, on the internet. It is fetched now; at most 3 redirects are followed",
}
_REFERENCE_TEXT = "A picture whose colours and contrasts are wanted: any room, fabric or painting"
REFERENCE: JsonSchema = {**BINARY, "description": _REFERENCE_TEXT}
_ENCODED_REFERENCE: JsonSchema = {
    **_ENCODED_MASK,
    "description": f"{_REFERENCE_TEXT}. A JPEG, PNG or WebP in base64",
}
_STYLE_AND_PREFERENCES: dict[str, JsonSchema] = {
    "style": {
        "type": "string",
        "format": "style",
        "default": DEFAULT_STYLE,
        "examples": list(STYLES),
        "description": "A name from GET /styles, which may change while the service runs. Case does not matter",
    },
    "styles": {
        "type": "array",
        "items": {"type": "string", "format": "style"},
        "minItems": 1,
        "maxItems": MAX_STYLES,
        "description": "Several, in place of style: the job is the parent of a child for each picture",
    },
    "variations": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_VARIATIONS,
        "default": 1,
        "description": "Pictures of each style. The seed that was asked for is the first one's, the next number the "
        "second one's, and so on. More than 1: the job is the parent of a child for each picture",
    },
    "preferences": _ref("Preferences"),
}
_JSON_PART = {"preferences": {"contentType": "application/json"}}

_COMPONENTS: dict[str, JsonSchema] = {
    "Preferences": _preferences(),
    "SubmitForm": {
        "type": "object",
        "properties": {
            "file": PHOTO,
            **_STYLE_AND_PREFERENCES,
            # A form's arrays are repeated fields for some tools, and JSON for others.
            "styles": {"type": "string", "format": "style", "description": "Several, separated by commas"},
            "keep_mask": KEEP_MASK,
            "reference": REFERENCE,
        },
        "required": ["file"],
        "additionalProperties": False,
    },
    "SubmitUpload": {
        "type": "object",
        "properties": {
            "key": {
                "type": "string",
                "maxLength": 100,
                "description": "The key from POST /uploads, once the photo has been put by its link",
            },
            "image_url": _IMAGE_URL,
            **_STYLE_AND_PREFERENCES,
            "keep_mask": _ENCODED_MASK,
            "reference": _ENCODED_REFERENCE,
        },
        "oneOf": [{"required": ["key"]}, {"required": ["image_url"]}],
        "additionalProperties": False,
    },
    "SubmitBatch": {
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "items": _ref("SubmitUpload"),
                "minItems": 1,
                "maxItems": MOST_SUBMITTED,
            }
        },
        "required": ["items"],
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
PHOTO_FORM: JsonSchema = {"multipart/form-data": {"schema": _ref("PhotoForm")}}
PHOTO_FILE: JsonSchema = {kind: {"schema": BINARY} for kind in get_args(ContentType)}


def json_body(component: str) -> JsonSchema:
    """A body that is the JSON of this component."""
    return {"application/json": {"schema": _ref(component)}}


UPLOADED = json_body("SubmitUpload")
UPLOAD_REQUEST = json_body("UploadRequest")


def operation_with(content: dict[str, Any], *headers: Parameter) -> type[Operation]:
    """The ``operation_class`` of a route whose body is one of ``content``, by media type, and which reads these
    headers."""

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(content=content, required=True)
            if headers:
                self.parameters = [*(self.parameters or ()), *headers]

    return WithBody


def operation_reading(*parameters: Parameter) -> type[Operation]:
    """The ``operation_class`` of a route without a body that reads these parameters from the request itself."""

    @dataclass
    class Reading(Operation):
        def __post_init__(self) -> None:
            self.parameters = [*(self.parameters or ()), *parameters]

    return Reading
