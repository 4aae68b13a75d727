"""``/styles``: the list and its pictures, a file that changes, and the styles that callers make for themselves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from orchestrator.domain.job import STYLE_WORDS, Job
from orchestrator.domain.keys import Scope
from orchestrator.domain.styles import STYLES
from stack.redis import RedisServer
from tests.support.api_schema import check
from tests.support.api_server import ADMIN_TOKEN, Api, photo, problem, running_api

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAKE = {
    "name": "my-lake-house",
    "title": "Lake house",
    "prompt": "lake house, pale pine, blue linen",
    "negative_prompt": "dark",
    "rooms": ["bedroom"],
    "colors": ["#0a141e"],
}
FILE = """
[ryokan]
title = "Ryokan"
prompt = "ryokan, tatami mats"

[boho]
offered = false

[coastal]
prompt = "our own coast"
"""
PLANS = """
[narrow]
styles = ["ryokan"]

[custom]
styles = ["custom"]
custom_styles = 2

[none]
custom_styles = 0
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("styles")
    (made / "styles.toml").write_text(FILE)
    (made / "plans.toml").write_text(PLANS)
    pictures = made / "style_pictures"
    pictures.mkdir()
    (pictures / "ryokan.png").write_bytes(photo(format="PNG"))
    (pictures / "made_by.toml").write_text('ryokan = "sd15-1"\n')
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, folder: Path) -> AsyncIterator[Api]:
    files = {
        "REROOM_STYLES_FILE": str(folder / "styles.toml"),
        "REROOM_KEY_PLANS": str(folder / "plans.toml"),
    }
    async with running_api(redis.url, folder, **files) as api:
        yield api


async def key(api: Api, plan: str = "default") -> dict[str, str]:
    """The headers of a new key."""
    made = await api.keys.create("a key", [Scope.TRANSFORM, Scope.READ], plan=plan)
    return {"X-API-Key": made.text}


async def listed(api: Api, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The styles by name."""
    answer = await api.http.get("/styles", headers=headers or {})
    assert answer.status_code == 200, answer.text
    check("StyleList", answer.json())
    return {each["name"]: each for each in answer.json()["data"]}


async def submitted(api: Api, style: str, headers: dict[str, str]) -> httpx2.Response:
    files = {"file": ("a.jpg", photo())}
    return await api.http.post("/transform/submit", files=files, data={"style": style}, headers=headers)


async def taken(api: Api, answer: httpx2.Response, headers: dict[str, str]) -> Job:
    """The job of a submission, which must have been accepted; it is cancelled."""
    assert answer.status_code == 202, answer.text
    job = await api.store.get(answer.json()["job_id"])
    assert (await api.http.delete(f"/transform/{job.id}", headers=headers)).status_code == 200
    return job


async def test_the_list_has_this_versions_styles_and_those_of_the_file(api: Api) -> None:
    answer = await api.http.get("/styles", headers={"X-API-Key": "rr_nonsense"})
    assert answer.headers["cache-control"] == "public, max-age=60"
    shown = {each["name"]: each for each in answer.json()["data"]}
    assert list(shown) == [*(name for name in STYLES if name != "boho"), "ryokan"]
    assert answer.json()["default"] == "modern"
    assert shown["coastal"]["title"] == STYLES["coastal"].title
    assert shown["japandi"]["rooms"] == STYLES["japandi"].rooms
    assert not any("prompt" in each and each["prompt"] for each in shown.values())
    assert (await api.http.get("/")).json()["supported_styles"] == list(shown)


async def test_a_list_that_the_client_has_is_not_sent_again(api: Api) -> None:
    headers = await key(api)
    for sent in ({"X-API-Key": "rr_nonsense"}, headers):
        first = await api.http.get("/styles", headers=sent)
        tag = first.headers["etag"]
        for known in (tag, f'"x", W/{tag}', "*"):
            again = await api.http.get("/styles", headers={**sent, "If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        other = await api.http.get("/styles", headers={**sent, "If-None-Match": '"x"'})
        assert other.status_code == 200
        assert "X-API-Key" in other.headers["vary"]
    assert first.headers["cache-control"] == "private, no-cache"


async def test_every_picture_is_served_without_a_key(api: Api) -> None:
    for name, each in (await listed(api)).items():
        answer = await api.http.get(each["picture"]["url"])
        assert answer.status_code == 200
        assert answer.headers["content-type"] == ("image/png" if name == "ryokan" else "image/webp")
        assert "public" in answer.headers["cache-control"]
        assert answer.content[:4] in (b"RIFF", b"\x89PNG")
    assert each["picture"]["made_by"] == "sd15-1"
    tag = answer.headers["etag"]
    assert (await api.http.get(each["picture"]["url"], headers={"If-None-Match": tag})).status_code == 304
    for missing in ("boho", "my-own", "..%5Cstyles"):
        problem(await api.http.get(f"/styles/{missing}/picture"), 404, "style_not_found")
    problem(await api.http.get("/styles/..%2Fstyles/picture"), 404, "not_found")


async def test_a_job_takes_the_words_along_that_its_style_has_now(api: Api, folder: Path) -> None:
    headers = await key(api)
    ryokan = await taken(api, await submitted(api, " Ryokan ", headers), headers)
    assert ryokan.style_words is not None
    assert (ryokan.style, ryokan.style_words.prompt) == ("ryokan", "ryokan, tatami mats")
    assert ryokan.requires == [STYLE_WORDS]
    changed = await taken(api, await submitted(api, "coastal", headers), headers)
    assert changed.style_words is not None
    assert changed.style_words.prompt == "our own coast"
    assert changed.style_words.negative_prompt == STYLES["coastal"].negative_prompt
    assert changed.requires == [STYLE_WORDS], "an older worker has other words of that name"
    usual = await taken(api, await submitted(api, "industrial", headers), headers)
    assert (usual.style_words, usual.requires) == (STYLES["industrial"].words, [])
    problem(await submitted(api, "boho", headers), 422, "unknown_style", "style")


async def test_a_changed_file_is_read_without_a_restart(api: Api, folder: Path) -> None:
    file = folder / "styles.toml"

    async def until(names: set[str]) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while not names <= {*(found := await listed(api))}:  # noqa: ASYNC110  (the file is looked at when asked)
                await asyncio.sleep(0.1)
        return found

    def write(text: str) -> None:
        file.with_suffix(".new").write_text(text)
        os.replace(file.with_suffix(".new"), file)

    headers = await key(api)
    answer = await submitted(api, "ryokan", headers)
    write(FILE.replace("[ryokan]", "[lagom]") + '\n[tuscan]\ntitle = "Tuscan"\nprompt = "tuscan villa"\n')
    try:
        found = await until({"tuscan", "lagom"})
        assert "ryokan" not in found
        problem(await submitted(api, "ryokan", headers), 422, "unknown_style", "style")
        waiting = await taken(api, answer, headers)
        assert waiting.style_words is not None
        assert waiting.style_words.prompt == "ryokan, tatami mats", "a job that waits keeps its words"
        # A wrong file changes nothing, and the log says why.
        write('[tuscan]\ntitle = "Tuscan"\nprompt = 7\n')
        async with asyncio.timeout(30):
            while "the styles stay as they were" not in api.log.read_text():
                await listed(api)
                await asyncio.sleep(0.1)
        assert "tuscan.prompt: Expected `str`, got `int`" in api.log.read_text()
        assert {"tuscan", "lagom"} <= {*await listed(api)}
    finally:
        write(FILE)
        await until({"ryokan"})


async def test_a_style_of_ones_own(api: Api) -> None:
    headers = await key(api)
    made = await api.http.post("/styles", json=LAKE, headers=headers)
    assert made.status_code == 201, made.text
    check("StyleAnswer", made.json())
    assert (await listed(api, headers))["my-lake-house"] == made.json()["data"]
    assert made.json()["data"].items() >= {**LAKE, "custom": True, "picture": None}.items()
    answer = await submitted(api, "my-lake-house", headers)
    replaced = await api.http.post("/styles", json={**LAKE, "prompt": "other words"}, headers=headers)
    assert replaced.status_code == 201
    status = await api.http.get(f"/transform/status/{answer.json()['job_id']}", headers=headers)
    assert status.json()["data"]["style"] == "my-lake-house"
    job = await api.store.get(answer.json()["job_id"])
    assert job.style_words is not None
    assert (job.style_words.prompt, job.style_words.negative_prompt) == (LAKE["prompt"], "dark")
    assert job.requires == [STYLE_WORDS]
    await api.http.delete(f"/transform/{job.id}", headers=headers)
    counts = [each for each in await api.store.counts() if each.style.startswith(("my-", "custom"))]
    assert {each.style for each in counts} == {"custom"}, "metrics have few labels, whatever the names are"
    gone = await api.http.delete("/styles/my-lake-house", headers=headers)
    assert gone.json() == {"success": True, "name": "my-lake-house"}
    problem(await api.http.delete("/styles/my-lake-house", headers=headers), 404, "style_not_found")
    problem(await submitted(api, "my-lake-house", headers), 422, "unknown_style", "style")
    problem(await api.http.delete("/styles/modern", headers=headers), 404, "style_not_found")


async def test_nobody_sees_or_uses_the_styles_of_others(api: Api) -> None:
    mine, foreign = await key(api), await key(api)
    await api.http.post("/styles", json=LAKE, headers=mine)
    for headers in (foreign, {"X-API-Key": ADMIN_TOKEN}, {}):
        assert "my-lake-house" not in await listed(api, headers)
        problem(await submitted(api, "my-lake-house", headers), 422, "unknown_style", "style")
        problem(await api.http.delete("/styles/my-lake-house", headers=headers), 404, "style_not_found")
    # The same name is free for everybody.
    theirs = {**LAKE, "prompt": "theirs"}
    assert (await api.http.post("/styles", json=theirs, headers=foreign)).status_code == 201
    assert (await listed(api, mine))["my-lake-house"]["prompt"] == LAKE["prompt"]
    only_reads = await api.keys.create("reads", [Scope.READ])
    answer = await api.http.post("/styles", json=LAKE, headers={"X-API-Key": only_reads.text})
    problem(answer, 403, "missing_scope")


async def test_styles_go_with_their_key(api: Api) -> None:
    made = await api.keys.create("a key", [Scope.TRANSFORM])
    await api.http.post("/styles", json=LAKE, headers={"X-API-Key": made.text})
    before = await api.styles.all(made.key.id)
    await api.keys.revoke(made.key.id)
    assert (list(before), await api.styles.all(made.key.id)) == (["my-lake-house"], {})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "lake-house"}, "name"),
        ({"name": "my-"}, "name"),
        ({"name": "my-Lake"}, "name"),
        ({"name": "my-" + "x" * 38}, "name"),
        ({"name": "my-x\n"}, "body"),
        ({"title": ""}, "title"),
        ({"title": " "}, "title"),
        ({"prompt": "x" * 601}, "prompt"),
        ({"rooms": ["garage"]}, "rooms"),
        ({"colors": ["red"]}, "colors"),
        ({"colors": ["#000000"] * 9}, "colors"),
        ({"picture": "x"}, "picture"),
    ],
)
async def test_wrong_styles(api: Api, change: dict[str, Any], field: str) -> None:
    answer = await api.http.post("/styles", json=LAKE | change)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["code"], answer.json()["field"].partition(".")[0]) == ("invalid_body", field)


async def test_plans_limit_styles(api: Api) -> None:
    narrow, own, none = [await key(api, plan) for plan in ("narrow", "custom", "none")]
    assert [name for name, each in (await listed(api, narrow)).items() if each["in_plan"]] == ["ryokan"]
    problem(await api.http.post("/styles", json=LAKE, headers=narrow), 403, "not_in_plan", "name")
    problem(await api.http.post("/styles", json=LAKE, headers=none), 403, "not_in_plan", "name")
    for name in ("my-one", "my-two", "my-two"):
        answer = await api.http.post("/styles", json={**LAKE, "name": name}, headers=own)
        assert answer.status_code == 201
    problem(await api.http.post("/styles", json=LAKE, headers=own), 409, "too_many_styles")
    await taken(api, await submitted(api, "my-two", own), own)
    problem(await submitted(api, "modern", own), 403, "not_in_plan", "style")
