"""Several pictures in one submission, as the API takes and shows them; the test is the worker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.events import Completed, Failed
from orchestrator.domain.job import JobError, JobResult
from tests.support.api_server import Api, photo, problem
from tests.support.client_command import run

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def submit(api: Api, **data: str) -> dict[str, Any]:
    response = await api.http.post("/transform/submit", files={"file": ("a.jpg", photo())}, data=data)
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def status(api: Api, job_id: str) -> dict[str, Any]:
    data: dict[str, Any] = (await api.http.get(f"/transform/status/{job_id}")).json()["data"]
    return data


async def test_one_picture_is_answered_as_ever(api: Api) -> None:
    for data in (
        {},
        {"variations": "1"},
        {"styles": '["boho"]'},
        {"styles": "boho", "style": "modern"},
    ):
        answer = await submit(api, **data)
        assert set(answer) == {"success", "job_id", "estimated_time", "websocket_url", "status_url"}
        shown = await status(api, answer["job_id"])
        assert shown["style"] == ("boho" if "boho" in data.get("styles", "") else "modern")
        assert not {"children", "parent"} & set(shown)
        await api.http.delete(f"/transform/{answer['job_id']}")


@pytest.mark.parametrize(
    ("data", "status", "code", "field"),
    [
        ({"variations": "5"}, 422, "invalid_body", "variations"),
        ({"variations": "0"}, 422, "invalid_body", "variations"),
        ({"variations": "null"}, 422, "invalid_body", "variations"),
        ({"styles": "null"}, 422, "unknown_style", "styles"),
        ({"variations": "two"}, 422, "invalid_body", "variations"),
        ({"variations": "1.5"}, 422, "invalid_body", "variations"),
        ({"variations": "true"}, 422, "invalid_body", "variations"),
        ({"styles": '["boho", "gothic"]'}, 422, "unknown_style", "styles"),
        ({"styles": "[]"}, 422, "invalid_body", "styles"),
        ({"styles": ",".join(["boho"] * 9)}, 422, "invalid_body", "styles"),
        ({"styles": '{"boho": 1}'}, 422, "unknown_style", "styles"),
        ({"styles": "boho,"}, 422, "unknown_style", "styles"),
    ],
)
async def test_wrong_numbers_and_styles(
    api: Api, data: dict[str, str], status: int, code: str, field: str
) -> None:
    response = await api.http.post("/transform/submit", files={"file": ("a.jpg", photo())}, data=data)
    problem(response, status, code, field)


async def test_variations_without_a_seed_differ_and_begin_with_the_styles_own_colours(api: Api) -> None:
    answer = await submit(api, styles="boho,modern", variations="3")
    seeds = [each["seed"] for each in answer["children"]]
    assert seeds[:3] == seeds[3:] == [seeds[0], seeds[0] + 1, seeds[0] + 2]
    assert seeds[0] % 27_720 == 0, "each number of palettes up to 12 begins with its first"


async def test_a_tree_as_it_is_answered_and_shown(api: Api) -> None:
    answer = await submit(
        api, styles=" Boho, modern,boho", variations="2", preferences=json.dumps({"seed": 7})
    )
    children = answer["children"]
    assert [(each["style"], each["variation"], each["seed"]) for each in children] == [
        ("boho", 1, 7), ("boho", 2, 8), ("modern", 1, 7), ("modern", 2, 8),
    ]  # fmt: skip
    new = await status(api, answer["job_id"])
    assert (new["status"], new["queue_position"], new["style"]) == ("queued", 0, "boho, modern")
    assert [child["status"] for child in new["children"]] == ["queued"] * 4
    first = await status(api, children[0]["job_id"])
    assert (first["parent"], first["queue_position"]) == (answer["job_id"], 0)
    assert new["estimated_time_remaining"] > first["estimated_time_remaining"]

    lease = await api.claim(children[0]["job_id"])
    assert (lease.job.preferences.seed, lease.job.requires) == (7, ["tree"])
    made = JobResult(transformed_key="results/x/1/transformed.jpg", thumbnail_key="t", metadata={"seed": 7})
    await api.store.finish(lease, Completed(result=made))
    for _ in range(3):
        other = await api.store.claim("a-test", 2.0)
        assert other is not None
        failure = JobError(code="model_error", detail="a secret of the model")
        await api.store.finish(other, Failed(error=failure))
    done = await status(api, answer["job_id"])
    assert (done["status"], done["progress"], done["error"], done["result_url"]) == (
        "completed",
        1.0,
        None,
        None,
    )
    one, *failed = done["children"]
    assert one["result_url"] == one["result"]["transformed_url"]
    assert answer["job_id"] in one["result"]["original_url"], "they share the photo"
    assert {each["error"]["code"] for each in failed} == {"model_error"}
    assert "secret" not in json.dumps(done)
    problem(await api.http.delete(f"/transform/{answer['job_id']}"), 409, "job_finished")
    erased = await api.http.delete(f"/transform/{answer['job_id']}/files")
    assert erased.status_code == 200
    assert not [file for file in api.stored() if answer["job_id"] in str(file)]


async def test_the_command_saves_each_picture_and_says_which_is_missing(api: Api, tmp_path: Path) -> None:
    room, folder = tmp_path / "room.jpg", tmp_path / "results"
    room.write_bytes(photo())
    arguments = ("restyle", room, "--style", "Boho, modern", "--variations", "2", "-o", folder)
    command = asyncio.create_task(asyncio.to_thread(run, api.base_url, *arguments))
    for number in range(4):
        async with asyncio.timeout(20):
            while (lease := await api.store.claim("a-test", 1.0)) is None:
                assert not command.done(), command.result()
        if number == 2:
            error = JobError(code="model_error", detail="the model broke")
            await api.store.finish(lease, Failed(error=error))
            continue
        key = f"results/{lease.job.id}/1/transformed.jpg"
        file = api.storage_dir / "objects" / key
        file.parent.mkdir(parents=True)
        file.write_bytes(f"{lease.job.style} {lease.job.variation}".encode())
        made = JobResult(transformed_key=key, thumbnail_key="t", metadata={})
        await api.store.finish(lease, Completed(result=made))
    code, out, err = await command
    found = {file.name: file.read_text() for file in folder.iterdir()}
    assert found == {
        "room-boho-1.jpg": "boho 1",
        "room-boho-2.jpg": "boho 2",
        "room-modern-2.jpg": "modern 2",
    }
    assert sorted(out.split()) == sorted(str(folder / name) for name in found)
    assert code == 1, err
    assert "modern, variation 1: job" in err

    for output, words in (
        ("{name}.jpg", "for several styles the file's name must contain {style}"),
        (str(room), "several pictures need a folder"),
    ):
        code, _, err = await asyncio.to_thread(run, api.base_url, *arguments[:-1], output)
        assert (code, words in " ".join(err.split())) == (2, True), err


async def test_a_submission_may_be_repeated_and_cancelled_as_one(api: Api) -> None:
    key = {"Idempotency-Key": "several"}
    answers = []
    for variations in ("3", "3", "2"):
        answers.append(
            await api.http.post(
                "/transform/submit",
                files={"file": ("a.jpg", photo())},
                data={"variations": variations},
                headers=key,
            )
        )
    one, again, other = answers
    assert one.json() == again.json()
    problem(other, 422, "idempotency_key_reused", "idempotency-key")
    data = (await api.http.delete(f"/transform/{one.json()['job_id']}")).json()["data"]
    assert (data["status"], {child["status"] for child in data["children"]}) == ("cancelled", {"cancelled"})
    assert await api.store.claim("a-test", 0.1) is None
    assert not [file for file in api.stored() if one.json()["job_id"] in str(file)]


async def test_an_uploaded_photo_may_become_several_too(api: Api) -> None:
    body = photo()
    offer = (await api.http.post("/uploads", json={"content_type": "image/jpeg", "size": len(body)})).json()
    await api.http.put(offer["url"], content=body, headers=offer["headers"])
    for wrong in ({"variations": "2"}, {"styles": "boho"}, {"variations": 9}):
        answer = await api.http.post("/transform/submit-upload", json={"key": offer["key"], **wrong})
        assert (answer.status_code, answer.json()["field"]) == (422, next(iter(wrong)))
    asked = {"key": offer["key"], "styles": ["boho", "modern"]}
    answer = await api.http.post("/transform/submit-upload", json=asked)
    assert [child["style"] for child in answer.json()["children"]] == ["boho", "modern"]
    await api.take_back(answer)
