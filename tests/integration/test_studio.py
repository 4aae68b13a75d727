"""The page for people, ``/studio``: what is served, and walks through it in a real browser (tests/studio/walk.mjs)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import io
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pillow_heif
import pytest
import pytest_asyncio
from PIL import Image

from orchestrator.api.routes import studio
from orchestrator.domain.codes import FailureCode, ProblemCode
from orchestrator.domain.keys import Scope
from orchestrator.domain.styles import STYLES
from orchestrator.settings import Settings
from stack.redis import RedisServer
from tests.support import drawing_api, drawing_worker
from tests.support.api_server import Api, running_api
from tests.support.relay import Relay, relaying
from tests.support.servers import free_port
from tests.support.walks import FOLDER, need_browser
from tests.support.walks import walked as run_walks

pytestmark = pytest.mark.asyncio(loop_scope="module")

API, WORKER = Path(drawing_api.__file__), Path(drawing_worker.__file__)
MOST_BYTES = 120_000
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
WALKS = [
    name
    for file in (FOLDER / "walk.mjs", *sorted((FOLDER / "walks").glob("*.mjs")))
    for name in re.findall(r'^  "([^"]+)": (?:async )?\(\) =>', file.read_text(), re.M)
]


def words(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((studio.FOLDER / "words" / f"{language}.json").read_text())
    return found


async def test_browsers_are_led_to_the_page_and_programs_get_json(api: Api) -> None:
    led = await api.http.get("/", headers=BROWSER)
    assert (led.status_code, led.headers["location"]) == (303, "studio")
    for accept in ("*/*", "application/json", "text/htmlish", ""):
        answer = await api.http.get("/", headers={"Accept": accept})
        assert answer.json()["name"] == "reroom", accept
        assert "Accept" in answer.headers["vary"]


async def test_the_page_and_all_that_it_loads_come_from_here(api: Api) -> None:
    page = await api.http.get("/studio")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert (page.headers["cache-control"], "{{" in page.text) == ("private, no-cache", False)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    parts = set(re.findall(r'(?:src|href)="([^"#]+)"', page.text))
    named = {part.removeprefix(f"studio/{studio.version()}/") for part in parts}
    assert named >= {"app.mjs", "style.css", "vendor/preact.mjs", "words/en.json", "icons/180.png"}
    # Views that come later are loaded later.
    assert "room.mjs" not in named
    for part in parts:
        loaded = await api.http.get(f"/{part}")
        assert (loaded.status_code, loaded.headers["cache-control"]) == (200, studio.FOR_EVER), part
        assert loaded.headers["x-content-type-options"] == "nosniff"


async def test_what_is_known_is_not_sent_again_and_head_is_answered(api: Api) -> None:
    for path in ("/studio", f"/studio/{studio.version()}/app.mjs"):
        first = await api.http.get(path)
        assert first.headers["content-encoding"] == "gzip"
        again = await api.http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = await api.http.head(path)
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])
        assert head.headers["content-length"] == first.headers["content-length"]
        plain = await api.http.get(path, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert (plain.headers["etag"] != first.headers["etag"], plain.content) == (True, first.content)


async def test_a_file_of_another_version_is_not_kept(api: Api) -> None:
    older = await api.http.get("/studio/0000/style.css")
    assert (older.status_code, older.headers["cache-control"]) == (200, "private, no-cache")
    for name in (
        "vendor/preact.LICENSE",
        "vendor/README.md",
        "index.html",
        "..%2f..%2fapp.py",
        "%2e%2e/app.py",
        "no.mjs",
    ):
        assert (await api.http.get(f"/studio/{studio.version()}/{name}")).status_code == 404, name


async def test_the_first_view_is_in_the_page_in_the_readers_language(api: Api) -> None:
    for sent, language in (
        ("", "en"), ("de-DE,de;q=0.9,en;q=0.8", "de"), ("fr,en;q=0.3,DE;q=0.5", "de"), ("x;q=a, *", "en")
    ):  # fmt: skip
        page = await api.http.get("/studio", headers={"Accept-Language": sent})
        assert f'<html lang="{language}">' in page.text, sent
        assert f'<h1 tabindex="-1">{words(language)["texts"]["title"]}</h1>' in page.text
        assert f"words/{language}.json" in page.text
        assert "Accept-Language" in page.headers["vary"]


async def test_the_service_worker_is_for_the_page_alone(api: Api) -> None:
    worker = await api.http.get("/studio/worker.js")
    assert worker.headers["content-type"] == "text/javascript; charset=utf-8"
    assert worker.headers["cache-control"] == "private, no-cache"
    assert worker.headers["service-worker-allowed"] == "../studio"
    assert worker.headers["content-security-policy"] == "default-src 'none'; connect-src 'self'"
    assert f'"{studio.version()}"' in worker.text
    kept = set(re.findall(r'NAMES = "([^"]+)"', worker.text)[0].split())
    assert kept > {*studio.modules_of(studio.START), "style.css", "first.js", "words/de.json"}
    for name in kept:
        assert (await api.http.get(f"/studio/{studio.version()}/{name}")).status_code == 200, name


async def test_the_page_can_be_installed(api: Api) -> None:
    at = f"/studio/{studio.version()}/"
    answer = await api.http.get(f"{at}manifest.webmanifest")
    assert answer.headers["content-type"].startswith("application/manifest+json")
    manifest = answer.json()
    for name in ("id", "start_url", "scope"):
        assert urljoin(at, manifest[name]) == "/studio", name
    assert urljoin(at, manifest["share_target"]["action"]) == "/studio/share"
    for icon in manifest["icons"]:
        found = await api.http.get(urljoin(at, icon["src"]))
        assert found.headers["content-type"].split(";")[0] == icon["type"]
        if icon["type"] == "image/png":
            with Image.open(io.BytesIO(found.content)) as picture:
                assert f"{picture.width}x{picture.height}" == icon["sizes"]


async def test_who_needs_a_key_is_told() -> None:
    settings = Settings.model_validate({"signing_key": "a signing key for the tests"})
    assert b'data-open="true"' in studio.page(settings, True)
    closed = studio.page(settings, False)
    assert b'data-open="false"' in closed
    assert b"<form" not in closed
    quoted = settings.model_copy(update={"api_base_url": 'http://a.example/"><script>'})
    assert b"<script>" not in studio.page(quoted, False)


async def test_pictures_of_a_bucket_may_be_shown() -> None:
    bucket = Settings.model_validate({"signing_key": "a signing key for the tests"}).model_copy(
        update={"r2_endpoint_url": "https://id.r2.example/path"}
    )
    assert "img-src 'self' https://id.r2.example blob: data:;" in studio.policy(bucket)


async def test_it_is_small_and_needs_no_one_else() -> None:
    files = {name: file for name, file in studio.files().items() if not name.startswith(studio.APART)}
    sizes = [len(file.small or file.content) for file in files.values()]
    assert sum(sizes) + len(gzip.compress((studio.FOLDER / studio.PAGE).read_bytes())) < MOST_BYTES
    for path in studio.FOLDER.rglob("*"):
        if path.suffix in (".mjs", ".css", ".html") and path.parent.name != "vendor":
            addresses = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text()))
            assert not addresses, path
            assert not re.search(r"innerHTML|eval\(|<script>|\son\w+=\"", path.read_text()), path
    for name in ("preact", "htm"):
        assert (studio.FOLDER / "vendor" / f"{name}.LICENSE").stat().st_size > 1000


async def test_every_text_is_there_in_both_languages() -> None:
    english, german = words("en"), words("de")
    for kind in ("texts", "problems", "warnings", "same", "states"):
        assert english[kind].keys() == german[kind].keys(), kind
    for kind in ("texts", "states"):
        for name, text in english[kind].items():
            assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", german[kind][name])), name
    assert german["styles"].keys() == STYLES.keys()
    code = "".join(path.read_text() for path in studio.FOLDER.glob("*.mjs"))
    assert set(re.findall(r'\bt\("(\w+)"', code)) <= english["texts"].keys()
    filled_in = set(re.findall(r"{{text:(\w+)}}", (studio.FOLDER / studio.PAGE).read_text()))
    for name in english["texts"].keys() - filled_in:
        assert f'"{name}"' in code, f"nothing shows {name}"


@pytest.mark.parametrize("code", sorted({*ProblemCode, *FailureCode}))
async def test_every_code_has_its_words(code: str) -> None:
    for language in ("en", "de"):
        found = words(language)
        title, advice = found["problems"][found["same"].get(code, code)]
        assert title.endswith(".")
        assert advice.endswith(".")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walked(
    redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Any]]:
    """What became of each walk. The browser takes them one after the other, over services of this fixture's own."""
    chromium = need_browser()
    folders = [tmp_path_factory.mktemp(name) for name in ("open", "keyed")]
    photo = folders[0] / "on-its-side.jpg"
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (5000, 4000), (150, 130, 110)).save(photo, exif=turned)
    heic = folders[0] / "of-a-phone.heic"
    pillow_heif.from_pillow(Image.new("RGB", (640, 480), (150, 130, 110))).save(heic)
    async with contextlib.AsyncExitStack() as services:
        relay, renewed = [
            await services.enter_async_context(relaying("http://127.0.0.1:1")) for _ in range(2)
        ]
        origins = f"{relay.url},{renewed.url}"
        running = [
            await services.enter_async_context(
                _service(redis.url, folder, REROOM_OPEN=is_open, ALLOWED_ORIGINS=origins)
            )
            for folder, is_open in zip(folders, ("true", "false"), strict=True)
        ]
        for each in (relay, renewed):
            each.lead_to(running[0].base_url)
        # Compressed, its answers could not be changed on the way.
        renewed.asked = {b"gzip": b"none"}
        everything = [Scope.TRANSFORM, Scope.READ]
        key, other, submitting = [
            await running[1].keys.create("a browser", scopes)
            for scopes in (everything, everything, [Scope.TRANSFORM])
        ]
        given = {
            "chromium": chromium, "base": running[0].base_url, "relay": relay.url, "keyed": running[1].base_url,
            "renewed": renewed.url, "key": key.text, "other": other.text,
            "submitting": submitting.text, "photo": str(photo), "heic": str(heic),
            "only": os.environ.get("STUDIO_WALK"),
        }  # fmt: skip
        acts: dict[str, Callable[[], None]] = {"cut": relay.cut, "renew": functools.partial(_renew, renewed)}
        yield await run_walks("walk.mjs", given, lambda wish: acts[wish]())


def _renew(relay: Relay) -> None:
    """From now on the service behind it seems to have another version of the page."""
    now = studio.version().encode()
    other = now[::-1]
    relay.asked |= {other: now, b"If-None-Match": b"If-None-Known"}
    relay.answered[now] = other


@contextlib.asynccontextmanager
async def _service(redis_url: str, folder: Path, **environment: str) -> AsyncIterator[Api]:
    """An API that sees furniture, with a worker that draws."""
    async with running_api(redis_url, folder, program=[str(API)], **environment) as api:
        settings = {
            "REDIS_URL": redis_url, "REROOM_REDIS_PREFIX": f"test-{api.base_url.rpartition(':')[2]}:",
            "REROOM_STORAGE_DIR": str(api.storage_dir), "API_BASE_URL": api.base_url,
            "REROOM_SIGNING_KEY": "a signing key for the tests", "REROOM_TRITON_URL": f"127.0.0.1:{free_port()}",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        log = folder / "worker.log"
        with open(log, "wb") as output:  # noqa: ASYNC230  (the log of a process that is yet to be started)
            worker = await asyncio.create_subprocess_exec(
                sys.executable, WORKER, env=os.environ | settings, stdout=output, stderr=output
            )
        try:
            yield api
        finally:
            if worker.returncode is None:
                worker.send_signal(signal.SIGTERM)
            await asyncio.wait_for(worker.wait(), 30)
        assert "Traceback" not in log.read_text(errors="replace"), log.read_text(errors="replace")


@pytest.mark.parametrize("walk", WALKS)
async def test_the_walk(walked: dict[str, Any], walk: str) -> None:
    assert walked[walk]["error"] is None, walked[walk]["error"]
