"""The service as an app developer meets it: the whole real stack, through the public client."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import InferenceServerClient, InferInput

from orchestrator.photos.decoder.picture import normalise
from reroom import Client, Conflict, JobFailed, JobNotFinished, JobResult, JobStatus, NotFound, events
from reroom.events import Event, seq_key
from tests.support.generated_client import GeneratedClient
from tests.support.releases import read_document
from tests.support.running_stack import RELEASE, SECONDS, RunningStack, photo, running_stack

STEPS = 4
STATES = ["queued", "analyzing", "generating", "transforming", "finalizing"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def client(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.url) as client:
        yield client


def restyled(client: Client, picture: bytes, style: str = "modern", seed: int | None = 0) -> JobStatus:
    job = client.submit(picture, style, {"steps": STEPS, "seed": seed})
    return client.wait(job, timeout=SECONDS)


def result_of(job: JobStatus) -> JobResult:
    assert job.result is not None
    return job.result


def fetched(client: Client, url: str | None, folder: Path) -> bytes:
    assert url is not None
    return client.download(url, folder / "fetched").read_bytes()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(opened(data), np.float32)


def assert_aspect(picture: Image.Image, height: int, width: int) -> None:
    """The same to a pixel."""
    assert abs(picture.width - picture.height * width / height) <= max(1, width / height)


@pytest.mark.parametrize(("height", "width", "format"), [(480, 640, "JPEG"), (500, 310, "PNG")])
def test_a_photo_becomes_a_picture_of_its_shape(
    client: Client, tmp_path: Path, height: int, width: int, format: str
) -> None:
    wishes = {"steps": STEPS, "preview_every": 2}
    submitted = client.submit(photo(height, width, format), "industrial", wishes)
    seen = list(client.events(submitted, after="0", timeout=SECONDS))
    assert_whole_story(seen)
    job = client.wait(submitted, timeout=SECONDS)
    assert (job.status, job.progress, job.style, job.attempts) == ("completed", 1.0, "industrial", 1)
    result = result_of(job)
    assert job.result_url == result.transformed_url
    full, thumbnail, original = (
        opened(fetched(client, url, tmp_path))
        for url in (result.transformed_url, result.thumbnail_url, result.original_url)
    )
    for picture in (full, thumbnail, original):
        assert picture.format == "JPEG"
        assert_aspect(picture, height, width)
    assert full.size == (result.metadata["width"], result.metadata["height"])
    assert original.size == (width, height)
    assert thumbnail.width <= full.width
    assert np.abs(np.asarray(original, np.float32) - pixels(photo(height, width, format))).mean() < 4


def assert_whole_story(seen: list[Event]) -> None:
    assert [event.status for event in seen if isinstance(event, events.StatusChanged)] == STATES
    assert [event.step for event in seen if isinstance(event, events.Step)] == [1, 2, 3, 4]
    assert sum(isinstance(event, events.Analysis) for event in seen) == 1
    for preview in [event for event in seen if isinstance(event, events.Preview)]:
        assert opened(preview.jpeg).format == "JPEG"
        assert len(preview.jpeg) <= 20_000
    assert sum(isinstance(event, events.Preview) for event in seen) >= 1
    assert isinstance(seen[-1], events.Completed)
    moving = events.StatusChanged | events.Analysis | events.Step | events.Preview
    progress = [event.progress for event in seen if isinstance(event, moving)]
    assert progress == sorted(progress)
    order = [seq_key(event.seq) for event in seen]
    assert order == sorted(set(order))


def test_the_metadata_are_measured(client: Client, stack: RunningStack) -> None:
    began = time.monotonic()
    jobs = [restyled(client, photo(480, 640), seed=seed) for seed in (1, 2)]
    jobs.append(restyled(client, photo(400, 400), "boho", seed=None))
    seconds = time.monotonic() - began
    released = read_document(RELEASE)["release"]
    facts = [result_of(job).metadata for job in jobs]
    for job, fact in zip(jobs, facts, strict=True):
        assert set(fact) >= {
            "style", "processing_time", "quality_score", "room_type", "room_confidence", "seed", "release",
        }  # fmt: skip
        assert fact["style"] == job.style
        assert 0 < sum(fact["timings"].values()) <= fact["processing_time"] < seconds
        assert set(fact["timings"]) == {"analyzing", "generating", "transforming", "finalizing", "finishing"}
        assert fact["quality_score"] == fact["quality"]["score"]
        assert all(0 <= value <= 1 for value in fact["quality"].values())
        assert fact["room_type"]
        assert 0 <= fact["room_confidence"] <= 1
        assert fact["release"] == released
        assert fact["attempts"] == 1
    assert [fact["seed"] for fact in facts[:2]] == [1, 2]
    assert facts[2]["seed"] not in (None, 0, 42)
    for name in ("score", "edge_agreement", "depth_agreement", "sharpness"):
        assert len({fact["quality"][name] for fact in facts}) > 1, f"{name} is a constant"


def test_a_photo_is_analysed_by_the_models_that_restyle_and_nothing_is_kept(
    client: Client, stack: RunningStack
) -> None:
    # A bucket's own shape, so that nothing is resampled.
    upload = photo(112, 144, "PNG")
    objects, queued, before = stack.stored(), stack.queue_length(), stack.denoised()
    seen = client.analyze(upload)
    assert (stack.stored(), stack.queue_length(), stack.denoised()) == (objects, queued, before)
    gated = normalise(upload, 1_000_000).jpeg
    with InferenceServerClient(stack.stack.triton_urls["triton"]) as triton:
        image = InferInput("image", [112, 144, 3], "UINT8")
        image.set_data_from_numpy(np.asarray(opened(gated)))
        own = triton.infer("perception", [image])
    assert (seen.width, seen.height) == (144, 112)
    for png, name in ((seen.depth_png, "depth"), (seen.edges_png, "edges")):
        picture = opened(png)
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (144, 112))
        np.testing.assert_array_equal(np.asarray(picture), own.as_numpy(name))
    names = read_document(RELEASE)["labels"]
    assert [each.label for each in seen.objects] == [names[n] for n in own.as_numpy("labels") if n >= 0]
    # A job finds the same in the same photo.
    facts = result_of(restyled(client, upload)).metadata
    assert (facts["room_type"], facts["room_confidence"]) == (seen.room_type, seen.room_confidence)
    assert [each["label"] for each in facts["objects"]] == [each.label for each in seen.objects]


def test_styles_and_seeds_change_the_picture_and_nothing_else_does(client: Client, tmp_path: Path) -> None:
    picture = photo(480, 640)

    def made(style: str, seed: int) -> bytes:
        return fetched(client, result_of(restyled(client, picture, style, seed)).transformed_url, tmp_path)

    first = made("modern", 0)
    np.testing.assert_array_equal(pixels(made("modern", 0)), pixels(first))
    for other in (made("modern", 1), made("industrial", 0)):
        assert np.abs(pixels(other) - pixels(first)).mean() > 1


def test_what_a_mask_keeps_is_the_photos(client: Client, tmp_path: Path) -> None:
    """Over every hop: form, gate, storage, worker, model. Colours survive two JPEGs within a few levels."""
    upload, mask = photo(480, 640, "JPEG"), io.BytesIO()
    Image.fromarray(np.repeat(np.repeat([[255, 0]], 240, 0), 160, 1).astype(np.uint8)).save(mask, "PNG")
    done = client.restyle(upload, "boho", {"steps": 2}, keep_mask=mask.getvalue(), timeout=SECONDS)
    result = pixels(client.picture(done))
    change = np.abs(result - np.asarray(opened(upload).resize(result.shape[1::-1]), np.float32)).mean((0, 2))
    middle = result.shape[1] // 2
    assert change[: middle - 16].mean() < 6
    assert change[middle + 16 :].mean() > 20


def test_an_object_of_an_analysis_can_be_kept_by_its_name(client: Client, tmp_path: Path) -> None:
    """Over every hop: an analysis names what it sees, a job keeps one of it, and its metadata says so."""
    upload = photo(480, 640, "JPEG")
    seen = client.analyze(upload).objects[0]
    assert seen.name == f"{seen.label}#1"
    facts = result_of(
        client.restyle(upload, "boho", {"steps": 2, "keep": [seen.name]}, timeout=SECONDS)
    ).metadata
    assert facts["selection"]["kept"] == [{"name": seen.name, "by": "box"}]
    left, top, right, bottom = seen.box
    assert facts["selection"]["share"] == pytest.approx((right - left) * (bottom - top), abs=0.02)
    assert facts["objects"][0]["name"] == seen.name

    # In the file without loss, a kept object is the photo itself.
    wishes = {"steps": 2, "keep": [seen.name], "detail": 1, "lossless": "png"}
    done = client.restyle(upload, "boho", wishes, out=tmp_path / "kept.png", timeout=SECONDS)
    result, original = (
        opened((tmp_path / "kept.png").read_bytes()),
        opened(fetched(client, result_of(done).original_url, tmp_path)),
    )
    assert (result.format, result.size) == ("PNG", original.size)
    same = (np.asarray(result) == np.asarray(original)).all(-1)
    inner = np.s_[int(top * 480) + 1 : int(bottom * 480) - 1, int(left * 640) + 1 : int(right * 640) - 1]
    assert same[inner].all()
    assert same.mean() < facts["selection"]["share"] + 0.1
    link = result_of(client.status(done)).lossless_url
    assert opened(fetched(client, link, tmp_path)).format == "PNG"

    with pytest.raises(JobFailed, match="'unicorn' is nothing that these models know"):
        client.restyle(upload, "boho", {"steps": 2, "keep": ["unicorn"]}, timeout=SECONDS)


def test_colours_come_from_words_and_from_another_picture(client: Client) -> None:
    """Over every hop; the result says how near it came, and takes the user's word for the room."""
    upload, warm = photo(480, 640, "JPEG"), io.BytesIO()
    Image.new("RGB", (900, 700), (200, 120, 60)).save(warm, "JPEG")

    def made(**wishes: object) -> dict[str, object]:
        reference = warm.getvalue() if wishes.pop("lent", False) else None
        preferences = {"steps": 2, "seed": 1, "room_type": "nursery", **wishes}
        done = client.restyle(upload, "boho", preferences, reference=reference, timeout=SECONDS)
        return result_of(done).metadata

    words, moved = (made(color_palette=["navy", "#9caf94"], palette_strength=each) for each in (0, 1))
    assert float(str(moved["palette_distance"])) < 0.9 * float(str(words["palette_distance"]))
    assert (moved["room_type"], moved["room_confidence"]) == ("nursery", 1)
    named, lent = (made(lent=True, reference_strength=each) for each in (0, 1))
    assert float(str(lent["reference_distance"])) < 0.6 * float(str(named["reference_distance"]))
    assert named["palette"] == lent["palette"] == ["orange"]
    assert "reference_distance" not in moved


def test_one_call_restyles_and_warns(client: Client, tmp_path: Path) -> None:
    seen: list[Event] = []
    wishes = {"steps": 2, "prompt": "a tall window " * 60, "negative_prompt": "dark", "guidance_scale": 1}
    done = client.restyle(
        photo(96, 128), "boho", wishes, out=tmp_path / "out.png", timeout=SECONDS, on_event=seen.append
    )
    assert opened((tmp_path / "out.png").read_bytes()).format == "PNG"
    warned = [warning.code for warning in result_of(done).warnings]
    assert warned == ["prompt_truncated", "negative_prompt_unused"]
    assert isinstance(seen[-1], events.Completed)
    assert [warning.code for warning in result_of(seen[-1].data).warnings] == warned


def test_several_pictures_of_one_photo(client: Client, stack: RunningStack, tmp_path: Path) -> None:
    seen: list[Event] = []
    styles, wishes = ("industrial", "boho"), {"steps": STEPS, "seed": 2**63 - 1}
    done = client.restyle(
        photo(), styles=styles, variations=2, preferences=wishes, out=f"{tmp_path}/out/", on_event=seen.append
    )
    assert (done.status, done.progress, done.result, done.style) == (
        "completed",
        1.0,
        None,
        "industrial, boho",
    )
    made = [(child.style, child.variation, child.seed) for child in done.children]
    assert made == [(style, number, seed) for style in styles for number, seed in ((1, 2**63 - 1), (2, 0))]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        f"{style}-{number}.jpg" for style in styles for number in (1, 2)
    }
    assert len({file.read_bytes() for file in (tmp_path / "out").iterdir()}) == 4
    for child in done.children[1:]:
        assert child.result is not None
        assert {"depth", "edges"} <= {*child.result.metadata["reused"]}
    ends = [
        event.event for event in seen
        if isinstance(event, events.ChildChanged) and isinstance(event.event, events.Completed)
    ]  # fmt: skip
    assert ends[0].job_id == done.children[0].job_id, "the first goes ahead"
    assert {end.job_id for end in ends} == {child.job_id for child in done.children}
    assert all(end.data.result is not None and end.data.parent == done.job_id for end in ends)
    progress = [event.progress for event in seen if isinstance(event, events.ChildChanged)]
    assert progress == sorted(progress)
    assert isinstance(seen[-1], events.Completed)

    sheet = opened(client.picture(done, "contact_sheet"))
    assert sheet.width > sheet.height, "five pictures in three columns"
    pair = opened(client.picture(done.children[0].job_id, "before_after"))
    assert pair.width > 2 * 640
    for job, which in ((done, "before_after"), (done, "original"), (ends[0].data, "contact_sheet")):
        with pytest.raises(Conflict):
            client.picture(job, which)
    with pytest.raises(JobNotFinished):
        client.picture(done)
    keys = [key for key in stack.stored() if done.job_id in key]
    assert [key.split("/")[2].split("-")[0] for key in keys] == ["contact_sheet", "original.jpg"]
    client.erase(done.children[3].job_id)
    assert len(client.status(done).children) == 3
    assert len([key for key in stack.stored() if done.job_id in key]) == 1, "the sheet showed it"
    client.erase(done)
    ids = {done.job_id, *(child.job_id for child in done.children)}
    assert not [key for key in stack.stored() if key.split("/")[1] in ids]
    for child in done.children:
        with pytest.raises(NotFound):
            client.status(child.job_id)


def test_an_erased_job_leaves_neither_record_nor_picture(
    client: Client, stack: RunningStack, tmp_path: Path
) -> None:
    job = restyled(client, photo())
    assert len(stack.results(job.job_id)) == 2
    assert httpx2.delete(f"{stack.url}/transform/{job.job_id}/files").status_code < 300
    with pytest.raises(NotFound, match="job_not_found"):
        client.status(job)
    with pytest.raises(NotFound, match="object_not_found"):
        client.download(result_of(job).transformed_url, tmp_path / "erased.jpg")
    assert not [path for path in stack.objects_folder.rglob("*") if job.job_id in str(path)]


def test_what_was_found_in_a_photo_is_reused_until_a_job_of_it_is_erased(
    client: Client, stack: RunningStack
) -> None:
    upload = photo(210, 330)

    def reused(style: str) -> tuple[JobStatus, list[str]]:
        job = restyled(client, upload, style)
        return job, result_of(job).metadata["reused"]

    (first, begun), (_, again) = reused("modern"), reused("boho")
    assert begun == []
    assert {"depth", "edges", "objects"} <= set(again)
    assert httpx2.delete(f"{stack.url}/transform/{first.job_id}/files").status_code < 300
    assert reused("boho")[1] == [], "not even the words of the other job"
    assert "depth" in reused("industrial")[1]


def test_health_names_the_part_that_is_down_and_jobs_wait_for_it(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack, Client(stack.url) as client:
        wait_until(lambda: client.health().healthy)
        assert_health(client, stack, down=set())
        # A worker that has not met Triton yet would not log that it is gone.
        restyled(client, photo())
        logged = stack.log("worker-1").count("takes no jobs")
        stack.kill("triton")
        # A look for jobs that began before the kill may still take one.
        wait_until(lambda: stack.log("worker-1").count("takes no jobs") > logged)
        assert_health(client, stack, down={"triton"})
        job = client.submit(photo(), "modern", {"steps": STEPS})
        assert client.status(job).status == "queued"
        with stack.supervised():
            assert client.wait(job, timeout=SECONDS).attempts == 1
            # The API's own connection to Triton takes a moment to come back.
            wait_until(lambda: client.health().healthy)
            assert_health(client, stack, down=set())


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def assert_health(client: Client, stack: RunningStack, down: set[str]) -> None:
    health = client.health()
    assert health.status == ("degraded" if down else "healthy")
    assert set(health.services) == {"redis", "triton", "storage", "websocket", "workers"}
    assert {name for name, part in health.services.items() if part["status"] != "up"} == down
    assert httpx2.get(f"{stack.url}/health/ready").status_code == (503 if down else 200)
    assert httpx2.get(f"{stack.url}/health/live").status_code == 200


def test_a_generated_client_restyles_a_photo(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    generated = GeneratedClient(tmp_path)
    wishes = {"steps": STEPS, "seed": 7, "color_palette": ["oak"]}
    status = generated.restyle(stack.url, photo(), "boho", wishes, seconds=SECONDS)
    metadata = status.result.metadata
    assert (status.style, metadata.style, metadata.seed) == ("boho", "boho", 7)
    assert 0 <= metadata.quality.score <= 1
    # Every member that a result has is described.
    assert metadata.additional_properties == {}
    with opened(httpx2.get(status.result_url).content) as picture:
        assert picture.size == (metadata.width, metadata.height)
    refused = generated.submit(stack.url, b"no photo", "boho", {})
    assert (refused.status, refused.code, refused.field) == (415, "unsupported_image", "file")
