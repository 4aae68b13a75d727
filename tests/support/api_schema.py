"""Checks what the API sends against its description."""

from __future__ import annotations

import copy
import functools
from typing import Any

from jsonschema import Draft202012Validator

from orchestrator.api.openapi import document
from orchestrator.app import ROUTES
from orchestrator.settings import Settings

OPEN = {"ResultMetadata"}
"""What other releases may add members to."""


@functools.cache
def described() -> dict[str, Any]:
    return document(ROUTES, Settings.model_fields["max_upload_bytes"].default)


@functools.cache
def _validator(component: str) -> Any:
    components = copy.deepcopy(described()["components"])
    for name, schema in components["schemas"].items():
        if schema.get("type") == "object" and name not in OPEN:
            schema.setdefault("additionalProperties", False)
    whole = {"$ref": f"#/components/schemas/{component}", "components": components}
    return Draft202012Validator(whole)


def check(component: str, value: Any) -> None:
    """Asserts that ``value`` fits the description, and has no member that it does not name."""
    _validator(component).validate(value)
