"""Marks of results after their download, through both storages, and the page that shows a picture beside its photo."""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.api.routes import shared_page, studio
from orchestrator.domain import events
from orchestrator.domain.job import JobState
from orchestrator.domain.styles import STYLES
from orchestrator.photos.credentials import open_credentials
from orchestrator.photos.marking import Marker
from orchestrator.ports import ObjectNotFound, Storage
from orchestrator.services.running.collage_maker import CollageMaker
from orchestrator.services.running.runner import Runner
from reroom.triton import Preview
from stack.redis import RedisServer
from tests.support.api_server import SIGNING_KEY, Api, photo, problem, running_api
from tests.support.certificates import Signer, a_signer
from tests.support.fakes import FakeInference, Line, a_script
from tests.support.jobs import collect
from tests.support.marks import (
    COMPOSITE,
    DC,
    GENERATED,
    IPTC,
    active,
    as_camera,
    assertion,
    codes,
    manifests_of,
    xmp_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return a_signer(tmp_path_factory.mktemp("signer"))


@dataclass
class House:
    """An API over a storage, and a worker with a scripted model."""

    api: Api
    storage: Storage
    marker: Marker

    async def finished(self, **form: str) -> dict[str, Any]:
        """The status of a job that ran."""
        return await self.run(await self.api.submit(**form))

    async def run(self, job_id: str) -> dict[str, Any]:
        """The status of the job after a worker has run it."""
        lease = await self.api.claim(job_id)
        script: list[Line] = [line for line in a_script() if not isinstance(line, Preview)]
        script.insert(-2, Preview(step=4, jpeg=photo((64, 48)), progress=0.9))
        inference = FakeInference(script)
        runner = Runner(
            self.api.store,
            self.storage,
            inference,
            STYLES,
            lease_seconds=10,
            retry_delay=0,
            marker=self.marker,
        )
        await runner.run(lease, asyncio.Event())
        data: dict[str, Any] = (await self.api.http.get(f"/transform/status/{job_id}")).json()["data"]
        assert data["status"] == JobState.COMPLETED, data["error"]
        return data

    async def collage(self, job_id: str, which: str) -> bytes:
        """A picture of pictures, which a worker makes while the request waits."""
        asking = asyncio.create_task(
            self.api.http.get(f"/transform/{job_id}/picture", params={"which": which})
        )
        maker = CollageMaker(self.api.store, self.storage, self.api.errands, self.marker)
        while not await maker.run_one(0.5):
            assert not asking.done(), (await asking).text
        answer = await asking
        assert answer.status_code == 307, answer.text
        return await self.download(answer.headers["location"])

    async def download(self, url: str) -> bytes:
        answer = await self.api.http.get(url)
        assert answer.status_code == 200, answer.text
        return answer.content


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["local", "s3"])
async def house(
    request: pytest.FixtureRequest,
    redis: RedisServer,
    signer: Signer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("house")
    marker = Marker(open_credentials(signer.chain, signer.key, None), version="1.2.3", provider="Rooms & Co")
    async with AsyncExitStack() as stack:
        settings = {"REROOM_PROVIDER": "Rooms & Co"}
        if request.param == "s3":
            server = request.getfixturevalue("s3")
            bucket = server.bucket()
            settings |= server.environment(bucket)
            storage: Storage = await stack.enter_async_context(server.open(bucket))
        api = await stack.enter_async_context(running_api(redis.url, folder, **settings))
        if request.param == "local":
            storage = LocalStorage(api.storage_dir, UrlSigner(SIGNING_KEY.encode(), api.base_url))
        yield House(api, storage, marker)


async def test_the_marks_of_every_picture_hold_after_its_download(house: House, signer: Signer) -> None:
    data = await house.finished(preferences='{"label": true}')
    result = data["result"]
    for name in ("transformed", "thumbnail", "labelled"):
        picture = await house.download(result[f"{name}_url"])
        state, found = manifests_of(picture, signer.anchor)
        assert state == "Trusted", name
        assert active(found)["ingredients"][0]["relationship"] == "parentOf"
        said = {"job": data["job_id"], "release": "tiny-1", "provider": "Rooms & Co"}
        assert assertion(active(found), "org.reroom.job") == said
        xmp = xmp_of(picture)
        assert xmp[f"{IPTC}DigitalSourceType"] == COMPOSITE
        assert xmp[f"{IPTC}AISystemVersionUsed"] == "1.2.3, models tiny-1"
        assert xmp[f"{DC}identifier"] == data["job_id"]
        with Image.open(io.BytesIO(picture)) as opened:
            corner = np.asarray(opened)[:16, 32:].astype(int)
        # The scripted result is even grey, so that only a badge gives it an edge.
        assert (np.ptp(corner) > 100) == (name != "transformed"), name
        redirect = await house.api.http.get(f"/transform/{data['job_id']}/picture", params={"which": name})
        assert redirect.status_code == 307
        assert await house.download(redirect.headers["location"]) == picture


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return a_signer(tmp_path_factory.mktemp("camera"), name="camera")


async def test_what_a_camera_signed_goes_on(house: House, signer: Signer, camera: Signer) -> None:
    """The photo's manifests are in the result's, checked against the file that the camera wrote."""
    upload = as_camera(photo(), camera)
    answer = await house.api.http.post(
        "/transform/submit",
        files={"file": ("a.jpg", upload)},
        data={"preferences": '{"label": true, "lossless": "png", "preview_every": 1}'},
    )
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["job_id"]
    kept = (await house.api.store.get(job_id)).manifests_key
    assert kept is not None
    result = (await house.run(job_id))["result"]
    for name in ("transformed", "labelled", "lossless", "thumbnail"):
        state, found = manifests_of(await house.download(result[f"{name}_url"]), signer.anchor)
        assert state == "Trusted", name
        (ingredient,) = active(found)["ingredients"]
        assert (ingredient["title"], ingredient["relationship"]) == ("photo.jpg", "parentOf")
        assert {"claimSignature.validated", "assertion.dataHash.match"} < codes(ingredient)
        original = found["manifests"][ingredient["active_manifest"]]
        assert original["claim_generator_info"][0]["name"] == "A camera"
        made = assertion(original, "c2pa.actions")["actions"][0]["digitalSourceType"]
        assert made.endswith("/digitalCapture")
        opened, _ = assertion(active(found), "c2pa.actions")["actions"]
        assert opened["action"] == "c2pa.opened"
    preview = next(
        record.event
        for record in await collect(house.api.store, job_id)
        if isinstance(record.event, events.Preview)
    )
    assert len(manifests_of(base64.b64decode(preview.jpeg))[1]["manifests"]) == 1, "previews stay small"
    await house.api.http.delete(f"/transform/{job_id}/files")
    with pytest.raises(ObjectNotFound):
        await house.storage.get(kept)


@pytest.mark.parametrize("how", ["gone", "garbage"])
async def test_a_job_does_without_manifests_that_are_lost(
    house: House, signer: Signer, camera: Signer, how: str
) -> None:
    answer = await house.api.http.post(
        "/transform/submit", files={"file": ("a.jpg", as_camera(photo(), camera))}
    )
    job_id = answer.json()["job_id"]
    key = (await house.api.store.get(job_id)).manifests_key
    assert key is not None
    if how == "garbage":
        await house.storage.put(key, b"\0\0\0\x20jumb" + bytes(100), "application/c2pa")
    else:
        original = await house.storage.get(key.replace("manifests.c2pa", "original.jpg"))
        await house.storage.delete_prefix(key.removesuffix("manifests.c2pa"))
        await house.storage.put(key.replace("manifests.c2pa", "original.jpg"), original, "image/jpeg")
    result = (await house.run(job_id))["result"]
    state, found = manifests_of(await house.download(result["transformed_url"]), signer.anchor)
    assert (state, len(found["manifests"])) == ("Trusted", 1)


async def test_a_picture_that_ai_made_stays_one(house: House, camera: Signer) -> None:
    upload = as_camera(photo(), camera, source="trainedAlgorithmicMedia")
    answer = await house.api.http.post("/transform/submit", files={"file": ("a.jpg", upload)})
    result = (await house.run(answer.json()["job_id"]))["result"]
    picture = await house.download(result["transformed_url"])
    assert xmp_of(picture)[f"{IPTC}DigitalSourceType"] == GENERATED
    page = (await house.api.http.get(result["page_url"])).text
    assert "The original was made by AI too." in page
    assert "photo" not in re.sub("<img[^>]*>|<a [^>]*>|</?section[^>]*>|Take a photo", "", page).lower()


async def test_previews_are_marked(house: House, signer: Signer) -> None:
    data = await house.finished()
    (preview,) = [
        record.event
        for record in await collect(house.api.store, data["job_id"])
        if isinstance(record.event, events.Preview)
    ]
    picture = base64.b64decode(preview.jpeg)
    assert manifests_of(picture, signer.anchor)[0] == "Trusted"
    assert xmp_of(picture)[f"{IPTC}DigitalSourceType"] == COMPOSITE


async def test_a_picture_without_a_label_has_no_labelled_one(house: House) -> None:
    data = await house.finished()
    assert "labelled_url" not in data["result"]
    answer = await house.api.http.get(f"/transform/{data['job_id']}/picture", params={"which": "labelled"})
    problem(answer, 404, "object_not_found", "which")


async def test_a_kept_mask_is_named_after_download(house: House, signer: Signer) -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :24] = 255
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG")
    answer = await house.api.http.post(
        "/transform/submit",
        files={"file": ("a.jpg", photo()), "keep_mask": ("m.png", out.getvalue())},
    )
    assert answer.status_code == 202, answer.text
    result = (await house.run(answer.json()["job_id"]))["result"]
    assert result["metadata"]["kept"] == pytest.approx(0.25, abs=0.02)
    for name in ("transformed", "thumbnail"):
        picture = await house.download(result[f"{name}_url"])
        state, found = manifests_of(picture, signer.anchor)
        assert state == "Trusted"
        said = "A mask kept 25 % of it as photographed; the AI made the rest."
        assert assertion(active(found), "c2pa.actions")["actions"][1]["description"].endswith(said)
        assert assertion(active(found), "org.reroom.job")["kept"]["source"] == "the ingredient"
        assert active(found)["ingredients"][0]["title"] == "photo.jpg"
        assert xmp_of(picture)[f"{DC}description"].endswith(said)
    page = await house.api.http.get(result["page_url"])
    assert "<dt>Left as it was</dt><dd>25 %</dd>" in page.text


async def test_the_before_and_after_names_both_of_its_parts(
    house: House, signer: Signer, camera: Signer
) -> None:
    answer = await house.api.http.post(
        "/transform/submit",
        files={"file": ("a.jpg", as_camera(photo(), camera))},
        data={"preferences": '{"label": true}'},
    )
    data = await house.run(answer.json()["job_id"])
    picture = await house.collage(data["job_id"], "before_after")
    state, found = manifests_of(picture, signer.anchor)
    assert state == "Trusted"
    parts = active(found)["ingredients"]
    assert {each["title"] for each in parts} == {"photo.jpg", "result.jpg"}
    assert {each["relationship"] for each in parts} == {"componentOf"}
    actions = assertion(active(found), "c2pa.actions")["actions"]
    assert [each["action"] for each in actions] == ["c2pa.created", "c2pa.placed", "c2pa.placed"]
    by_title = {each["title"]: found["manifests"][each["active_manifest"]] for each in parts}
    assert by_title["photo.jpg"]["claim_generator_info"][0]["name"] == "A camera"
    assert assertion(by_title["result.jpg"], "org.reroom.job")["job"] == data["job_id"]
    assert xmp_of(picture)[f"{IPTC}DigitalSourceType"] == COMPOSITE
    assert xmp_of(picture)[f"{DC}description"] == "A photo of a room, beside what AI made of it."
    with Image.open(io.BytesIO(picture)) as opened:
        after = np.asarray(opened)[:, opened.width // 2 :].astype(int)
    # The scripted result is even grey, and so is nothing of a badge.
    assert (after[16:40, -60:-16].min(axis=2) < 40).any(), "the label that was asked for"


async def test_a_contact_sheet_names_every_picture_on_it(
    house: House, signer: Signer, camera: Signer
) -> None:
    answer = await house.api.http.post(
        "/transform/submit",
        files={"file": ("a.jpg", as_camera(photo(), camera))},
        data={"style": "boho", "variations": "3"},
    )
    assert answer.status_code == 202, answer.text
    parent, children = answer.json()["job_id"], [each["job_id"] for each in answer.json()["children"]]
    for child in children:
        await house.run(child)
    picture = await house.collage(parent, "contact_sheet")
    state, found = manifests_of(picture, signer.anchor)
    assert state == "Trusted"
    titles = sorted(each["title"] for each in active(found)["ingredients"])
    assert titles == ["Boho 1.jpg", "Boho 2.jpg", "Boho 3.jpg", "photo.jpg"]
    assert len(found["manifests"]) == 1 + 3 + 1, "the camera's is there once"
    again = await house.api.http.get(f"/transform/{parent}/picture", params={"which": "contact_sheet"})
    assert await house.download(again.headers["location"]) == picture, "it is made once"
    await house.api.http.delete(f"/transform/{children[1]}/files")
    fewer = manifests_of(await house.collage(parent, "contact_sheet"), signer.anchor)[1]
    titles = sorted(each["title"] for each in active(fewer)["ingredients"])
    assert titles == ["Boho 1.jpg", "Boho 3.jpg", "photo.jpg"]


async def test_a_collage_without_its_photo_is_refused_by_its_worker(house: House) -> None:
    data = await house.finished()
    await house.storage.delete_prefix(f"uploads/{data['job_id']}/")
    with pytest.raises(AssertionError, match="was deleted"):
        await house.collage(data["job_id"], "before_after")


class _Page(HTMLParser):
    """What a browser would load, by the name of the tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[dict[str, str | None]]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.setdefault(tag, []).append(dict(attrs))


async def test_the_page_shows_the_picture_and_its_photo(house: House) -> None:
    data = await house.finished(style="boho", preferences='{"label": true}')
    url = data["result"]["page_url"]
    assert (
        url
        == (await house.api.http.get(f"/transform/status/{data['job_id']}")).json()["data"]["result"][
            "page_url"
        ]
    )
    answer = await house.api.http.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>A room in Boho</h1>" in answer.text
    assert "<strong>Changed by AI.</strong>" in answer.text
    assert "<dt>Run by</dt><dd>Rooms &amp; Co</dd>" in answer.text
    assert f'<dt>Here until</dt><dd><time datetime="{data["expires_at"][:10]}">' in answer.text
    assert data["job_id"] in answer.text
    page = _Page(answer.text)
    shown = [str(each["src"]) for each in page.found["img"]]
    assert all(each["alt"] for each in page.found["img"])
    labelled, original = [await house.download(each) for each in shown]
    assert labelled == await house.download(data["result"]["labelled_url"])
    assert original == await house.download(data["result"]["original_url"])
    assert not {"iframe", "form", "style"} & page.found.keys()
    own = [str(each["href"]) for each in page.found["link"]] + [
        str(each["src"]) for each in page.found["script"]
    ]
    for each in own:
        assert each.startswith("../studio/")
        assert (await house.api.http.get(urljoin(url, each))).status_code == 200
    links = {urljoin(url, str(each["href"])) for each in page.found["a"]}
    assert links == {urljoin(url, "/studio"), data["result"]["original_url"]}
    # What messengers copy for a preview would outlast the picture's erasure.
    told = {
        str(each.get("property")): str(each["content"]) for each in page.found["meta"] if "property" in each
    }
    assert told["og:title"] == "A room in Boho"
    assert told["og:image"].startswith(f"{house.api.base_url}/studio/")
    assert (await house.api.http.get(told["og:image"])).headers["content-type"] == "image/png"
    assert not [each for each in told.values() if "signature=" in each]
    assert answer.headers["x-robots-tag"].startswith("noindex")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert set(policy["img-src"].split()) == {
        "'self'",
        *("{0.scheme}://{0.netloc}".format(urlsplit(each)) for each in shown),
    }
    assert policy["script-src"] == policy["style-src"] == "'self'"


async def test_the_page_speaks_the_readers_language(house: House) -> None:
    data = await house.finished(style="french-country")
    german = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
    page = await house.api.http.get(data["result"]["page_url"], headers=german)
    assert '<html lang="de"' in page.text
    assert "<h1>Ein Zimmer: Französischer Landhausstil</h1>" in page.text
    assert "<strong>Von KI verändert.</strong>" in page.text
    refused = await house.api.http.get(data["result"]["page_url"][:-1], headers=german)
    assert "Dieser Link ist nicht vollständig" in refused.text


async def test_the_pages_texts_are_there_in_both_languages() -> None:
    english, german = (studio.words(language, "shared/words")["texts"] for language in ("en", "de"))
    assert english.keys() == german.keys()
    for name, text in english.items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", german[name])), name
    code = inspect.getsource(shared_page) + shared_page.template()
    refusals = {name for why in shared_page.REFUSALS for name in (why, f"{why}Text")}
    for name in english.keys() - refusals:
        assert f'"{name}"' in code or f"'{name}'" in code or f"text:{name}}}" in code, f"nothing shows {name}"
    assert len(english["months"].split()) == len(german["months"].split()) == 12


@pytest.mark.parametrize(
    ("name", "title", "language", "shown"),
    [
        ("boho", "Boho", "en", "Boho"),
        ("scandinavian", "Scandinavian", "de", "Skandinavisch"),
        ("loft", "Our loft", "de", "Our loft"),
        ("my-old-barn", "my-old-barn", "en", "Old barn"),
    ],
)
async def test_a_style_is_called_by_its_title(name: str, title: str, language: str, shown: str) -> None:
    assert shared_page.style_title(name, title, language) == shown


async def test_the_page_is_erased_with_its_job(house: House) -> None:
    data = await house.finished()
    url = data["result"]["page_url"]
    assert (await house.api.http.get(url)).status_code == 200
    await house.api.http.delete(f"/transform/{data['job_id']}/files")
    gone = await house.api.http.get(url)
    assert (gone.status_code, "were erased" in gone.text) == (404, True)
    assert 'href="../studio"' in gone.text
    assert "<img" not in gone.text


async def test_only_its_own_link_opens_a_page(house: House) -> None:
    mine, other = await house.finished(), await house.finished()
    url = mine["result"]["page_url"]
    end = int(urlsplit(url).query.split("expires=")[1].split("&")[0])
    assert 6 * 86400 < end - time.time() < 8 * 86400, "it lasts as long as the pictures are kept"
    links = UrlSigner(SIGNING_KEY.encode(), house.api.base_url)
    expired = links.page_url(mine["job_id"], int(time.time()) - 1)
    picture = links.url(f"results/{mine['job_id']}/1/transformed.jpg", 60)
    wrong = [
        url.replace(mine["job_id"], other["job_id"]),
        url.replace(str(end), str(end + 1)),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.split("?")[0],
        f"{url.split('?')[0]}?{picture.split('?')[1]}",
    ]
    for each in wrong:
        answer = await house.api.http.get(each)
        assert (answer.status_code, "not complete" in answer.text, "<img" in answer.text) == (
            403,
            True,
            False,
        )
    answer = await house.api.http.get(expired)
    assert (answer.status_code, "expired" in answer.text) == (403, True)
    # A page's signature opens no file, and tells nothing apart.
    as_file = await house.api.http.get(f"/files/PAGE%0A{mine['job_id']}?{urlsplit(url).query}")
    if isinstance(house.storage, LocalStorage):
        problem(as_file, 403, "bad_signature")
    else:
        assert as_file.status_code == 404
