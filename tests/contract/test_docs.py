"""The pages for people: their links lead somewhere, and their tables name what the service has."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.presenters import FOR_USERS
from orchestrator.commands.settings_page import page
from orchestrator.domain.preferences import PREFERENCES
from orchestrator.settings import Settings
from tests.conftest import ROOT

PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "client/*.md", "docker/*.md", "releases/*/*.md")
    for page in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text()):
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not link.startswith(("http://", "https://")) and not (
            target.exists() and (not heading or heading in headings(target))
        ):
            broken.append(link)
    assert broken == []


def headings(page: Path) -> set[str]:
    """As anchors: in lower case, spaces as hyphens, without punctuation."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_page_on_the_api_names_every_preference_and_every_endpoint() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    (table,) = re.findall(r"^\| preference \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    rows = [row.split(" | ")[0] for row in table.splitlines()[2:]]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(PREFERENCES)
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    pictures = {path for path in paths if path.startswith("/files")}
    assert {path for path in paths if f"{path}`" not in page} <= pictures


def test_the_page_on_errors_has_every_code_of_the_source() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    named = set(re.findall(r"`([a-z_]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL)))
    used = {
        code for file in (ROOT / "orchestrator").rglob("*.py") for code in codes(ast.parse(file.read_text()))
    }
    assert len(used) > 50
    assert named == used | FOR_USERS | OTHER_WORDS


def test_the_page_on_settings_is_what_the_settings_say() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == page()
    missing = [name for name, field in Settings.model_fields.items() if not field.description]
    assert missing == [], "say what they are"


def test_the_page_on_models_has_every_model_and_every_input_of_restyle() -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    configs = [
        *ROOT.glob("model_repository/*/config.pbtxt"),
        *ROOT.glob("releases/tiny/models/*/config.pbtxt"),
    ]
    models = {config.parent.name for config in configs}
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+ \[[^\]]+\]|`|a guided step)", page, re.MULTILINE))
    restyle = (ROOT / "model_repository" / "restyle" / "config.pbtxt").read_text()
    inputs = dict(re.findall(r'^input \[ \{ name: "(\w+)" data_type: TYPE_(\w+)', restyle, re.MULTILINE))
    assert set(rows) == models - {"restyle"} | set(inputs)
    assert {name: rows[name].split(" ")[0] for name in inputs} == inputs


OTHER_WORDS = {"code", "content_type", "detail", "error", "field", "file", "size"}
"""In the form of codes."""


CODE_AT = {
    "Problem": 1,
    "_full": 2,
    "PhotoRejected": 0,
    "Rejected": 0,
    "JobError": 0,
    "InferenceError": 0,
}
"""Which argument is the code of an error, where it is not called ``code``."""


def codes(tree: ast.Module) -> Iterator[Any]:
    """That a module gives to errors."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CODE_AT:
            given = node.args[CODE_AT[node.func.id] :][:1]
            given += [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            yield from (each.value for each in given if isinstance(each, ast.Constant))
