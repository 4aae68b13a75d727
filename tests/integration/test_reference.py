"""The reference for people, ``/docs``: whole, and of this server alone."""

from __future__ import annotations

import re

import pytest

from orchestrator.api.routes.reference import FOLDER, VERSION
from tests.support.api_server import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_page_and_all_that_it_loads_come_from_here(api: Api) -> None:
    page = await api.http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "docs/start.js", "schema"} <= set(parts)
    for part in set(parts) - {"data:,"}:
        assert "//" not in part
        loaded = await api.http.get(f"/{part}")
        assert loaded.status_code == 200, part
        assert loaded.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"@import|url\((?!data:|\"data:)", loaded.text if part.endswith("css") else "")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_no_other_file_is_served(api: Api) -> None:
    for name in ("LICENSE", "..%2Freference.py", "%2e%2e/reference.py", "index.htm"):
        assert (await api.http.get(f"/docs/{name}")).status_code == 404, name


async def test_the_files_are_of_one_version_and_have_their_licence() -> None:
    assert f'PACKAGE_VERSION:"{VERSION}"' in (FOLDER / "swagger-ui-bundle.js").read_text()
    assert (FOLDER / "LICENSE").read_text().lstrip().startswith("Apache License")
