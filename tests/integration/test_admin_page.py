"""The page for administrators, ``/admin``: what is served, and walks through it in a real browser
(tests/studio/admin.mjs) over a service whose past was planted."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.api.routes import admin_page, studio
from orchestrator.domain.codes import FailureCode, ProblemCode
from orchestrator.domain.keys import Scope
from orchestrator.settings import Settings
from stack.redis import RedisServer
from tests.support import planted
from tests.support.api_server import ADMIN_TOKEN, Api, running_api
from tests.support.walks import need_browser, walked, walks_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = studio.FOLDER / "admin"
MOST_BYTES = 120_000
LANGUAGES = ("en", "de")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("admin")
    (folder / "plans.toml").write_text(planted.PLANS)
    settings = planted.ENVIRONMENT | {"REROOM_OPEN": "", "REROOM_KEY_PLANS": str(folder / "plans.toml")}
    async with running_api(redis.url, folder, **settings) as api:
        yield api


async def test_the_page_and_all_that_it_loads_come_from_here(api: Api) -> None:
    page = await api.http.get("/admin")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (page.headers["cache-control"], "{{" in page.text) == ("private, no-cache", False)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    parts = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    assert {Path(part).name for part in parts} >= {
        "app.mjs",
        "style.css",
        "admin.css",
        "preact.mjs",
        "overview.mjs",
    }
    for part in parts:
        loaded = await api.http.get(f"/{part}")
        assert (loaded.status_code, loaded.headers["cache-control"]) == (200, studio.FOR_EVER), part


def loaded_by(start: str, *others: str) -> list[str]:
    return [*studio.modules_of(start), *others]


async def test_it_is_small_and_the_studio_loads_none_of_it() -> None:
    names = loaded_by(admin_page.START, "style.css", "admin/admin.css", "icon.svg")
    for words in ("words", "admin/words"):
        # A reader loads one language.
        names.append(
            max(
                (f"{words}/{each}.json" for each in LANGUAGES),
                key=lambda name: len(studio.files()[name].content),
            )
        )
    sizes = [len(studio.files()[name].small or studio.files()[name].content) for name in names]
    sizes.append(len(gzip.compress((ADMIN / "index.html").read_bytes())))
    assert sum(sizes) < MOST_BYTES
    settings = Settings.model_validate({"signing_key": "a signing key for the tests"})
    assert b"admin/" not in studio.page(settings, True)
    for path in ADMIN.rglob("*"):
        if path.suffix in (".mjs", ".css", ".html"):
            assert not re.search(
                r"https?://|innerHTML|eval\(|<script>|\son\w+=\"|\sstyle=", path.read_text()
            ), path


def words(folder: Path, language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "words" / f"{language}.json").read_text())
    return found


async def test_every_text_is_there_in_both_languages() -> None:
    english, german = (words(ADMIN, language) for language in LANGUAGES)
    assert english.keys() == german.keys()
    for kind in english:
        assert english[kind].keys() == german[kind].keys(), kind
    for name, text in english["texts"].items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", german["texts"][name])), name
    assert english["same"].keys() == english["problems"].keys()
    assert english["problems"].keys() <= {*ProblemCode, *FailureCode}
    code = "".join(path.read_text() for path in ADMIN.glob("*.mjs"))
    shared = words(studio.FOLDER, "en")["texts"]
    assert set(re.findall(r'\bt\("(\w+)"', code)) <= english["texts"].keys() | shared.keys()
    for name in english["texts"].keys() - shared.keys():
        assert re.search(rf'"{name}"|t\(`{name.partition("_")[0]}_\$', code), f"nothing shows {name}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walks(api: Api, redis: RedisServer) -> dict[str, Any]:
    chromium = need_browser()
    past = await planted.plant(redis.url, f"test-{api.base_url.rpartition(':')[2]}:", days=6)
    key = await api.keys.create("no administrator's", [Scope.TRANSFORM, Scope.READ])
    return await walked(
        "admin.mjs",
        {
            "chromium": chromium, "base": api.base_url, "token": ADMIN_TOKEN, "key": key.text,
            "running": past.running, "only": os.environ.get("ADMIN_WALK"),
        },
    )  # fmt: skip


@pytest.mark.parametrize("walk", walks_in("admin.mjs"))
async def test_the_walk(walks: dict[str, Any], walk: str) -> None:
    assert walks[walk]["error"] is None, walks[walk]["error"]
