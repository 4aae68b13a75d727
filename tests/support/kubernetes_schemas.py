"""The schemas of Kubernetes, KEDA and Prometheus' operator, from packages that took them from these projects."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

Schema = dict[str, Any]
OPERATORS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}
"""Modules with a pydantic model for each kind, generated from the project's CustomResourceDefinitions."""


def faults(document: dict[str, Any], version: str) -> list[str]:
    """Why a cluster of that version (such as ``1.34``) would refuse it; unknown fields count."""
    found = validator(document["apiVersion"], document["kind"], version).iter_errors(document)
    return [f"{'.'.join(map(str, fault.absolute_path))}: {fault.message}" for fault in found]


@cache
def validator(api_version: str, kind: str, version: str) -> Draft202012Validator:
    if module := OPERATORS.get(api_version):
        model = getattr(import_module(module), kind)
        return Draft202012Validator(strict(model.model_json_schema(by_alias=True)))
    group = re.sub(r"^([^./]*)[^/]*/", r"\1-", api_version)
    return Draft202012Validator(
        kubernetes(version, f"{kind.lower()}-{group}.json"), registry=definitions(version)
    )


@cache
def definitions(version: str) -> Registry[Any]:
    resource = Resource.from_contents(kubernetes(version, "_definitions.json"))
    registry: Registry[Any] = resource @ Registry()
    return registry


def kubernetes(version: str, name: str) -> Schema:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    schema: Schema = json.loads((folder / name).read_text())
    return schema


def strict(schema: Schema) -> Schema:
    """With ``additionalProperties: false`` wherever properties are listed: a cluster would drop those silently."""
    for each in (schema, *schema.get("$defs", {}).values()):
        if "properties" in each:
            each.setdefault("additionalProperties", False)
    return schema
