"""What the chart for Kubernetes must agree on with the rest, read as text; tests/contract/test_helm.py renders it."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import yaml  # type: ignore[import-untyped]
from jsonschema import Draft7Validator

from orchestrator.settings import Settings
from tests.conftest import ROOT

CHART = ROOT / "deploy" / "helm" / "reroom"
TEMPLATES = "".join(file.read_text() for file in sorted((CHART / "templates").iterdir()))
NOT_OURS = {"REDIS_PASSWORD", "REDISCLI_AUTH"}
"""Variables of the chart itself and of redis-cli."""
OF_AGENT = {"REROOM_FOLLOW", "REROOM_SERVED", "POD_NAME"}
OF_TRITON = {"REROOM_PARTS_MB", "REROOM_PARTS_SECONDS", "REROOM_RELEASE", *OF_AGENT}


def settings() -> set[str]:
    return {str(field.validation_alias) for field in Settings.model_fields.values()}


def test_the_version_is_the_package_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project["version"]


def test_files_of_others_are_links() -> None:
    files = {file.name: file.resolve() for file in (CHART / "files").iterdir()}
    assert files == {
        "redis.conf": ROOT / "stack" / "redis.conf",
        "rules.yml": ROOT / "docker" / "monitoring" / "rules.yml",
        "settings.md": ROOT / "docs" / "settings.md",
    }
    assert all(file.is_symlink() for file in (CHART / "files").iterdir())
    read = set(re.findall(r'\.Files\.Get "files/([^"]+)"', TEMPLATES))
    assert read == set(files)


def test_every_variable_is_one_that_its_program_reads() -> None:
    named = set(re.findall(r"^ *- name: ([A-Z][A-Z0-9_]+)$", TEMPLATES, re.MULTILINE))
    named |= set(re.findall(r'"reroom\.secretEnv" \(list (?:\.|\$) "([A-Z0-9_]+)"', TEMPLATES))
    assert len(named) > 20
    assert named - settings() == NOT_OURS | OF_TRITON
    needed = {str(each.validation_alias) for each in Settings.model_fields.values() if each.is_required()}
    assert needed < named


def test_what_the_chart_sets_is_refused_among_the_settings() -> None:
    (own,) = re.findall(r"\$own := dict (.*) -}}", TEMPLATES)
    refused = dict(re.findall(r'"([A-Z0-9_]+)" "([^"]+)"', own))
    named = set(re.findall(r"^ *- name: ([A-Z][A-Z0-9_]+)$", TEMPLATES, re.MULTILINE))
    named |= set(re.findall(r'"reroom\.secretEnv" \(list (?:\.|\$) "([A-Z0-9_]+)"', TEMPLATES))
    assert set(refused) == named - NOT_OURS - {"REROOM_SANDBOX", *OF_AGENT, "REROOM_RELEASE"}
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for places in refused.values():
        for place in places.split(" and "):
            if place != "the chart itself":
                found: Any = values
                for name in place.split("."):
                    found = found[name]


def test_the_schema_has_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    Draft7Validator.check_schema(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    Draft7Validator(schema).validate(values)

    def compare(part: dict[str, Any], given: Any, place: str) -> None:
        if "$ref" in part:
            part = schema["definitions"][part["$ref"].removeprefix("#/definitions/")]
        if "allOf" in part:
            compare(part["allOf"][0], given, place)
        elif "properties" in part:
            assert part["additionalProperties"] is False, place
            assert set(part["properties"]) == set(given), place
            for name, inner in part["properties"].items():
                compare(inner, given[name], f"{place}.{name}")

    schema["properties"].pop("global")
    schema["definitions"]["image"]["properties"].setdefault("digest", {})
    # One without requests or limits is none.
    schema["definitions"]["resources"].pop("properties")
    compare(schema, values, "values")


def test_examples_of_values_are_whole() -> None:
    """A file in ci/ that no longer fits is found without Helm."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    files = sorted((CHART / "ci").glob("*-values.yaml"))
    assert len(files) == 4
    for file in files:
        Draft7Validator(schema).validate(yaml.safe_load(file.read_text()))
