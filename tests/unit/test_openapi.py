"""The API's description: complete, and the same as the committed one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from jsonschema import ValidationError

from orchestrator.api.requests.bodies import ContentType
from orchestrator.api.requests.preferences import decode_preferences
from orchestrator.api.responses.errors import Problem
from orchestrator.api.responses.messages import Message
from orchestrator.api.routes.websocket import CLOSE_CODES
from orchestrator.domain.preferences import PREFERENCES, Preferences
from orchestrator.domain.styles import STYLES
from tests.support.api_schema import check, described

DOCS = Path(__file__).resolve().parents[2] / "docs"
PATHS: dict[str, Any] = described()["paths"]
SCHEMAS: dict[str, Any] = described()["components"]["schemas"]


RATES = ["RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
HEADERS = {
    "402": ["Retry-After"],
    "401": ["WWW-Authenticate"],
    "405": ["Allow"],
    "415": ["Accept-Encoding"],
    "429": ["Retry-After"],
    "503": ["Retry-After"],
}
"""The header that a problem of each status has."""


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, each) for path, item in PATHS.items() for method, each in item.items()]


def test_the_committed_description_is_the_served_one() -> None:
    committed = json.loads((DOCS / "openapi.json").read_text())
    assert committed == json.loads(json.dumps(described())), (
        "the API has changed: .venv/bin/python -m orchestrator.commands.openapi > docs/openapi.json"
    )


def test_the_page_on_websockets_names_every_message_and_code() -> None:
    page = (DOCS / "websocket.md").read_text()
    tags = [msgspec.inspect.type_info(each).tag for each in get_args(Message)]  # type: ignore[attr-defined]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == tags
    assert [int(code) for code in re.findall(r"^\| (\d{4}) \|", page, re.MULTILINE)] == list(CLOSE_CODES)


def test_every_problem_is_typed_and_says_what_its_headers_are() -> None:
    for method, path, operation in operations():
        responses = operation["responses"]
        # What connections and the clock of answers refuse, they refuse at every address.
        assert {"400", "405", "408", "429", "431", "500", "503"} <= set(responses), (method, path)
        for status, response in responses.items():
            if int(status) < 400:
                continue
            content = response["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetail"}
            counted = status == "429" and not path.startswith("/health")
            expected = HEADERS.get(status, []) + (RATES if counted else [])
            if status == "409" and any(
                each["name"] == "Idempotency-Key" for each in operation.get("parameters", ())
            ):
                expected = ["Retry-After"]
            assert list(response["headers"]) == [*expected, "X-Request-Id"]


def test_a_service_that_is_not_ready_says_of_which_part() -> None:
    unready = PATHS["/health/ready"]["get"]["responses"]["503"]
    assert unready["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Health"}


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names) > 0
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in names)


def test_photos_are_bytes_to_every_generator() -> None:
    binary = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    for form in ("SubmitForm", "PhotoForm"):
        assert SCHEMAS[form]["properties"]["file"].items() >= binary.items()
    assert set(PATHS["/files/{key}"]["put"]["requestBody"]["content"]) == set(get_args(ContentType))


def test_a_submission_is_typed() -> None:
    content = PATHS["/transform/submit"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert content["schema"] == {"$ref": "#/components/schemas/SubmitForm"}
    assert content["encoding"] == {"preferences": {"contentType": "application/json"}}
    form = SCHEMAS["SubmitForm"]["properties"]
    assert form["preferences"] == {"$ref": "#/components/schemas/Preferences"}
    assert "enum" not in form["style"], "an operator, and each caller, may add styles while the service runs"
    assert form["style"]["examples"] == list(STYLES)
    assert set(SCHEMAS["Preferences"]["properties"]) == set(PREFERENCES)


def test_the_defaults_are_the_jobs_own() -> None:
    for field in msgspec.structs.fields(Preferences):
        shown = SCHEMAS["Preferences"]["properties"][field.name]
        assert shown["description"]
        if isinstance(field.default, bool | int | str):
            assert shown["default"] == field.default


@pytest.mark.parametrize(
    ("preferences", "right"),
    [
        ({}, True),
        ({name: None for name in PREFERENCES}, True),
        ({"seed": 42.0, "steps": 100, "strength": 0.01, "guidance_scale": 30, "preview_every": 0}, True),
        ({"color_palette": "oak, sage"}, True),
        ({"color_palette": ["oak", "sage"]}, True),
        ({"seed": 42.5}, False),
        ({"seed": 2**63}, False),
        ({"strength": 0}, False),
        ({"color_palette": ["x"] * 9}, False),
        ({"color_palette": "x,x,x,x,x,x,x,x,x"}, False),
        ({"prompt": "x" * 1001}, False),
        ({"Seed": 1}, False),
    ],
)
def test_preferences_are_described_as_they_are_checked(preferences: dict[str, Any], right: bool) -> None:
    text = json.dumps(preferences).encode()
    if right:
        check("Preferences", preferences)
        decode_preferences(text)
    else:
        with pytest.raises(ValidationError):
            check("Preferences", preferences)
        with pytest.raises(Problem):
            decode_preferences(text)
