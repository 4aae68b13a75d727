"""The pages for people: they build as a site, links lead somewhere, and tables name what the service has."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest

from orchestrator.commands import errors_page
from orchestrator.commands.settings_page import page
from orchestrator.domain.codes import FailureCode, ProblemCode
from orchestrator.domain.preferences import PREFERENCES
from orchestrator.settings import Settings
from restyle.kept import MEGABYTES, SECONDS, Limits
from tests.conftest import ROOT
from tests.support.programs import ran
from tests.support.triton_configs import read_config, tensor_types

PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "client*/*.md", "docker/*.md", "releases/*/*.md")
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


def test_the_site_builds_and_has_every_page(tmp_path: Path) -> None:
    build = ran(sys.executable, ROOT / "docs" / "site.py", "--out", tmp_path)
    assert build.returncode == 0, build.stderr
    built = {page.relative_to(tmp_path / "pages") for page in (tmp_path / "pages").rglob("*.md")}
    assert {page.relative_to(ROOT) for page in PAGES} == built, "name it in docs/zensical.toml"
    assert (tmp_path / "site" / "index.html").exists()


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


def test_the_page_on_websockets_has_an_example_of_every_message() -> None:
    (block,) = re.findall(
        r"^```jsonl\n(.*?)^```", (ROOT / "docs" / "websocket.md").read_text(), re.MULTILINE | re.DOTALL
    )
    schemas = json.loads((ROOT / "docs" / "openapi.json").read_text())["components"]["schemas"]
    message = {"$ref": "#/components/schemas/Message", "components": {"schemas": schemas}}
    examples = [json.loads(line) for line in block.splitlines()]
    for example in examples:
        jsonschema.validate(example, message)
    assert [example["type"] for example in examples] == list(schemas["Message"]["discriminator"]["mapping"])


def test_the_page_on_errors_is_what_the_codes_say() -> None:
    assert (ROOT / "docs" / "errors.md").read_text() == errors_page.page()


def test_every_code_is_used() -> None:
    def source(*folders: str) -> str:
        return "".join(file.read_text() for folder in folders for file in (ROOT / folder).rglob("*.py"))

    members = source("orchestrator")
    # The decoders and the models give codes as text.
    texts = source("orchestrator/photos/decoder", "model_repository/restyle", "client/src/reroom/triton")
    codes = [*ProblemCode, *FailureCode]
    assert [c for c in codes if f"{type(c).__name__}.{c.name}" not in members and f'"{c}"' not in texts] == []


def test_the_page_on_settings_is_what_the_settings_say() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == page()
    for name, default in ((MEGABYTES, Limits().bytes // 10**6), (SECONDS, int(Limits().unused))):
        assert f"| `{name}` | `{default}` |" in page()
    missing = [name for name, field in Settings.model_fields.items() if not field.description]
    assert missing == [], "describe them"


def test_the_page_on_models_has_every_model_and_every_input_of_restyle() -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    bundles = re.findall(r"^\| `(\w+)` \|", page.partition("| bundle |")[2], re.MULTILINE)
    assert set(bundles) == {file.stem for file in (ROOT / "export" / "bundles").glob("*.toml")}
    configs = [
        *ROOT.glob("model_repository/*/config.pbtxt"),
        *ROOT.glob("releases/tiny/models/*/config.pbtxt"),
    ]
    models = {config.parent.name for config in configs}
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+ \[[^\]]+\]|`|a guided step)", page, re.MULTILINE))
    inputs = tensor_types(read_config(ROOT / "model_repository" / "restyle" / "config.pbtxt").input)
    # No committed release has ControlNets that are shown segments, or an upscaler.
    # A variant's name is its bundle's own.
    models.remove("denoiser_few_step")
    assert set(rows) == models - {"restyle"} | {"segments", "upscaler"} | set(inputs)
    assert {name: rows[name].split(" ")[0] for name in inputs} == inputs


def test_the_page_on_stable_diffusion_names_all_that_is_fetched() -> None:
    """A size that the lock file has not been told yet is only on the page."""
    text = (ROOT / "docs" / "sd15.md").read_text()
    table = {
        repo: float(size)
        for repo, size in re.findall(
            r"^\|[^|]*\| `([^`]+/[^`]+)` \| (?:about )?([\d.]+) GB \|$", text, re.MULTILINE
        )
    }
    locked = json.loads((ROOT / "export" / "bundles" / "sd15.lock.json").read_text())
    assert set(table) == {repo.partition("@")[0] for repo in locked}
    for repo, files in locked.items():
        weights = [each["size"] for file, each in files.items() if file.endswith(".safetensors")]
        if None not in weights:
            assert table[repo.partition("@")[0]] == pytest.approx(sum(weights) / 1e9, abs=0.006), repo
    sizes = {
        size
        for file in ("README.md", "Makefile", "docs/sd15.md", "docs/gpu.md")
        for size in re.findall(r"([\d.]+) GB(?: to load|\)'| are fetched)", (ROOT / file).read_text())
    }
    assert sizes == {f"{sum(table.values()):.1f}"}


def test_the_page_for_contributors_has_the_layers_of_the_linter() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [each["layers"] for each in contracts if "orchestrator.api" in each.get("layers", ())]
    line = " → ".join(layer.replace("orchestrator.", "").replace(" | ", ", ") for layer in layers)
    assert f"    {line}\n" in (ROOT / "CONTRIBUTING.md").read_text()


def test_the_page_on_settings_names_what_the_stack_the_export_and_the_models_read() -> None:
    sources = [
        file.read_text()
        for folder in ("stack", "export", "model_repository")
        for file in (ROOT / folder).rglob("*.py")
    ]
    read = {name for source in sources for name in re.findall(r'"(REROOM_\w+)"', source)}
    # The stack tells its own backend in it where to say what the graphs run on.
    assert {name for name in read - {"REROOM_DEVICES"} if f"`{name}`" not in page()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_to_copy_names_the_python_of_the_environment(page: Path) -> None:
    """What `python` is on the reader's PATH lacks the packages."""
    assert re.findall(r"^(?: {4})?(?:\$ )?python3? .*$", page.read_text(), re.MULTILINE) == []


def test_the_newest_section_of_the_changelog_is_this_version() -> None:
    """Server and client carry the same number."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    newest = re.findall(r"^## (\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$", changelog, re.MULTILINE)[0]
    for folder in (ROOT, ROOT / "client"):
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert project["version"] == newest


def test_every_program_that_a_page_names_is_there() -> None:
    """The changelog names those of older versions too."""
    named = {
        module
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for module in re.findall(r"python3? -m ([\w.]*\w)(?!\{)", page.read_text())
    }
    assert "orchestrator.worker" in named
    assert {module for module in named if find_spec(module) is None} == set()
