"""Both clients against a real server: requests, answers, errors, retries, downloads."""

from __future__ import annotations

import asyncio
import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import reroom
from reroom import _operations as operations
from reroom._effects import ConnectionLost, Read, Reply, Send, Sleep
from reroom._http import retry_after
from tests.support.client_service import (
    ANALYZE,
    CANCEL,
    CUT,
    DOWNLOAD,
    ERASE,
    JOB,
    PICTURE,
    PNGS,
    QUICK,
    STATUS,
    SUBMIT,
    Driven,
    Service,
    problem,
)

BUSY = (503, {"retry-after": "0"}, problem(503, "unavailable"))


@pytest.fixture(params=[reroom.Client, Driven])
def nowhere(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of a port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = request.param(f"http://127.0.0.1:{port}", retry=QUICK)
    yield client
    client.close()


def test_submit_sends_the_form(client: Any, service: Service, tmp_path: Path) -> None:
    path = tmp_path / "my secret.jpg"
    path.write_bytes(b"JPEG-BYTES")
    preferences = reroom.Preferences(seed=0, color_palette=["sage"], keep_furniture=True)
    job = client.submit(path, "boho", preferences)
    assert (job.job_id, job.estimated_time) == (JOB, 4.0)
    body = service.bodies[0]
    assert b'name="file"' in body
    assert b"JPEG-BYTES" in body
    assert b"secret" not in body
    assert b'name="style"\r\n\r\nboho\r\n' in body
    assert b'{"keep_furniture":true,"color_palette":["sage"],"seed":0}' in body


@pytest.mark.parametrize("photo", [b"JPEG-BYTES", io.BytesIO(b"JPEG-BYTES")])
def test_submit_takes_bytes_and_files(client: Any, service: Service, photo: Any) -> None:
    if not isinstance(photo, bytes):
        photo.seek(0)
    client.submit(photo, preferences={"not_known_yet": 1})
    assert b"JPEG-BYTES" in service.bodies[0]
    assert b'{"not_known_yet":1}' in service.bodies[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_preferences_that_json_cannot_say(value: float) -> None:
    with pytest.raises(ValueError, match="strength must be a finite number"):
        reroom.Preferences(strength=value)


def test_status_is_typed_and_ignores_what_is_new(client: Any) -> None:
    job = client.status(JOB)
    assert (job.status, job.progress, job.finished) == ("transforming", 0.5, False)
    assert job.created_at.isoformat() == "2026-11-22T12:00:00+00:00"


def test_analyze_sends_the_photo_alone(client: Any, service: Service, tmp_path: Path) -> None:
    path = tmp_path / "my secret.jpg"
    path.write_bytes(b"JPEG-BYTES")
    seen = client.analyze(path)
    body = service.bodies[0]
    assert b"JPEG-BYTES" in body
    assert b"secret" not in body
    assert body.count(b"name=") == 2  # the field's and the file's
    assert (seen.width, seen.height, seen.room_type, seen.room_confidence) == (64, 48, "living room", 0.874)
    assert [(each.label, each.score) for each in seen.objects] == [("couch", 0.93), ("potted plant", 0.4)]
    assert seen.objects[0].box == (0.1, 0.5, 0.45, 0.9)
    assert {"depth_png": seen.depth_png, "edges_png": seen.edges_png} == PNGS


def test_a_mask_and_a_reference_go_with_the_photo(client: Any, service: Service, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"MASK-BYTES")
    client.submit(b"JPEG-BYTES", keep_mask=mask, reference=b"OTHER-BYTES")
    client.submit(reroom.Uploaded(key="k"), keep_mask=b"MASK-BYTES", reference=b"OTHER-BYTES")
    for body in service.bodies:
        assert b'name="keep_mask"' in body
        assert b"MASK-BYTES" in body
        assert b'name="reference"' in body
        assert b"OTHER-BYTES" in body


def test_an_analysis_is_saved_whole(client: Any, tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    for _ in range(2):  # into a new folder and over what is there
        paths = client.analyze(b"x").save(folder)
        assert paths == (folder / "depth.png", folder / "edges.png")
        assert [path.read_bytes() for path in paths] == list(PNGS.values())
        assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("fault", [BUSY, (502, {}, problem(502, "model_error")), (CUT, {}, b"")])
def test_analyze_is_repeated(client: Any, service: Service, fault: Any) -> None:
    service.faults[ANALYZE] = [fault, fault]
    assert client.analyze(b"x").room_type == "living room"
    assert service.requests == [ANALYZE] * 3


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [(504, "model_timeout", reroom.ServerError), (415, "unsupported_image", reroom.InvalidRequest)],
)
def test_analyze_is_not_repeated_in_vain(
    client: Any, service: Service, code: int, name: str, kind: type
) -> None:
    service.faults[ANALYZE] = [(code, {}, problem(code, name))]
    with pytest.raises(kind, match=name):
        client.analyze(b"x")
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "wrong", [{"depth_png": "?"}, {"objects": [{"label": "bed"}]}, {"room_confidence": None}]
)
def test_an_analysis_that_is_none(client: Any, service: Service, wrong: dict[str, Any]) -> None:
    service.analysis = wrong
    with pytest.raises(reroom.ProtocolError):
        client.analyze(b"x")


def test_styles_and_health(client: Any) -> None:
    modern, boho = client.styles()
    assert (modern.name, modern.rooms, boho.in_plan) == ("modern", ["bedroom"], False)
    assert modern.picture == reroom.StylePicture(url="http://x/p", made_by="a-1")
    health = client.health()
    assert not health.healthy
    assert health.services["triton"]["status"] == "down"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, reroom.InvalidRequest), (403, reroom.Forbidden), (404, reroom.NotFound), (409, reroom.Conflict),
     (413, reroom.InvalidRequest), (422, reroom.InvalidRequest), (429, reroom.RateLimited),
     (418, reroom.ApiError), (500, reroom.ServerError)],
)  # fmt: skip
def test_errors_are_typed_and_not_retried(client: Any, service: Service, code: int, kind: type) -> None:
    answer = problem(code, "some_code", field="preferences.seed")
    service.faults[SUBMIT] = [(code, {"retry-after": "7"}, answer)]
    with pytest.raises(reroom.ApiError) as caught:
        client.submit(b"x")
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.field) == (code, "some_code", "preferences.seed")
    assert (error.detail, error.retry_after) == ("about some_code", 7.0)
    assert len(service.requests) == 1


def test_an_error_of_a_proxy_has_no_problem_details(client: Any, service: Service) -> None:
    service.faults[STATUS] = [(404, {}, b"<html>")]
    with pytest.raises(reroom.NotFound) as caught:
        client.status(JOB)
    assert caught.value.code == "http_404"


def test_an_answer_that_is_not_reroom(client: Any, service: Service) -> None:
    service.faults[STATUS] = [(200, {}, b"<html>welcome</html>")]
    with pytest.raises(reroom.ProtocolError):
        client.status(JOB)


@pytest.mark.parametrize("fault", [(502, {}, b""), BUSY, (504, {}, b""), (CUT, {}, b"")])
@pytest.mark.parametrize("call", ["status", "cancel"])
def test_what_may_be_repeated_is_repeated(client: Any, service: Service, fault: Any, call: str) -> None:
    key = STATUS if call == "status" else CANCEL
    service.faults[key] = [fault, fault]
    assert getattr(client, call)(JOB).job_id == JOB
    assert service.requests == [key] * 3


def test_repeating_ends(client: Any, service: Service) -> None:
    service.faults[STATUS] = [BUSY] * 9
    with pytest.raises(reroom.ServerError) as caught:
        client.status(JOB)
    assert caught.value.code == "unavailable"
    assert len(service.requests) == QUICK.attempts


def test_retry_after_is_honoured(client: Any, service: Service) -> None:
    service.faults[STATUS] = [(503, {"retry-after": "1"}, b"")]
    began = time.monotonic()
    client.status(JOB)
    assert time.monotonic() - began >= 1.0


def test_a_retry_after_of_an_hour_is_not_waited_for(client: Any, service: Service) -> None:
    service.faults[STATUS] = [(503, {"retry-after": "3600"}, b"")]
    with pytest.raises(reroom.ServerError):
        client.status(JOB)
    assert len(service.requests) == 1


IN_USE = (409, {"retry-after": "0"}, problem(409, "idempotency_key_in_use"))


@pytest.mark.parametrize("fault", [BUSY, (CUT, {}, b""), (503, {}, b"<html>proxy"), (502, {}, b""), IN_USE])
def test_submit_is_repeated_under_the_same_key(client: Any, service: Service, fault: Any) -> None:
    """The service may have taken it; by the key it makes no second job of it."""
    service.faults[SUBMIT] = [fault]
    assert client.submit(b"x").job_id == JOB
    assert len(service.keys) == 2
    assert len(set(service.keys)) == 1
    client.submit(b"x")
    assert len(set(service.keys)) == 2


def test_a_submission_can_be_given_a_deadline(client: Any, service: Service) -> None:
    client.submit(b"x")
    client.submit(b"x", cancel_after=89.2)
    assert service.deadlines == ["90s"]


@pytest.mark.parametrize("code", ["upload_used", "no_such_upload"])
def test_submit_is_not_repeated_when_it_was_refused(client: Any, service: Service, code: str) -> None:
    service.faults[SUBMIT] = [(409, {}, problem(409, code))]
    with pytest.raises(reroom.Conflict):
        client.submit(b"x")
    assert len(service.requests) == 1


def test_cancel_after_a_lost_answer(client: Any, service: Service) -> None:
    service.faults[CANCEL] = [(CUT, {}, b""), (409, {}, problem(409, "job_finished"))]
    service.state = "cancelled"
    assert client.cancel(JOB).status == "cancelled"


def test_cancel_of_a_completed_job(client: Any, service: Service) -> None:
    service.faults[CANCEL] = [(409, {}, problem(409, "job_finished"))]
    service.state = "completed"
    with pytest.raises(reroom.Conflict):
        client.cancel(JOB)


@pytest.mark.parametrize("call", ["status", "submit", "analyze", "wait"])
def test_nothing_listens(nowhere: Any, call: str) -> None:
    with pytest.raises(reroom.ConnectionFailed):
        getattr(nowhere, call)(b"x" if call in ("submit", "analyze") else JOB)


def test_styles_of_ones_own(client: Any, service: Service) -> None:
    made = client.create_style("my-x", "X", "some words", colors=["#000000"])
    assert (made.name, made.custom, made.prompt, made.colors) == ("my-x", True, "some words", ["#000000"])
    service.faults["DELETE", "/styles/my-x"] = [(CUT, {}, b""), (404, {}, problem(404, "style_not_found"))]
    client.delete_style("my-x")
    with pytest.raises(reroom.NotFound):
        client.delete_style("my-y")


def test_an_older_service_has_only_names_of_styles(client: Any, service: Service) -> None:
    service.faults["GET", "/styles"] = [(404, {}, problem(404, "not_found"))]
    assert [style.name for style in client.styles()] == ["modern", "boho"]


def test_a_silent_server_is_a_timeout(client: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with reroom.Client(url, timeout=0.2) as patient, pytest.raises(reroom.Timeout):
            patient.styles()


def test_download_of_a_job_and_of_a_url(client: Any, service: Service, tmp_path: Path) -> None:
    service.state = "completed"
    target = tmp_path / "result.jpg"
    target.write_bytes(b"old")
    assert client.download(JOB, target) == target
    assert target.read_bytes() == PICTURE
    client.download(f"{service.url}/files/result.jpg", tmp_path / "again.jpg")
    assert (tmp_path / "again.jpg").read_bytes() == PICTURE


def test_a_download_that_breaks_is_begun_again(client: Any, service: Service, tmp_path: Path) -> None:
    service.faults[DOWNLOAD] = [(CUT, {}, PICTURE)]
    client.download("/files/result.jpg", tmp_path / "result.jpg")
    assert (tmp_path / "result.jpg").read_bytes() == PICTURE
    assert [path.name for path in tmp_path.iterdir()] == ["result.jpg"]


def test_a_download_that_fails_leaves_everything_as_it_was(
    client: Any, service: Service, tmp_path: Path
) -> None:
    service.faults[DOWNLOAD] = [*2 * [(CUT, {}, PICTURE)], (403, {}, problem(403, "link_expired"))]
    target = tmp_path / "result.jpg"
    target.write_bytes(b"old")
    with pytest.raises(reroom.Forbidden):
        client.download("/files/result.jpg", target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.jpg"]


@pytest.mark.parametrize(
    ("state", "kind"),
    [("queued", reroom.JobNotFinished), ("failed", reroom.JobFailed), ("cancelled", reroom.JobCancelled)],
)
def test_download_without_a_result(
    client: Any, service: Service, tmp_path: Path, state: str, kind: type
) -> None:
    service.state = state
    with pytest.raises(kind):
        client.download(JOB, tmp_path / "result.jpg")


def test_an_erasure_whose_answer_was_lost(client: Any, service: Service) -> None:
    gone: Any = (404, {}, problem(404, "job_not_found"))
    service.faults[ERASE] = [(CUT, {}, b""), gone]
    assert client.erase(JOB) is None
    assert service.requests == [ERASE] * 2
    service.faults[ERASE] = [gone]
    with pytest.raises(reroom.NotFound):
        client.erase(JOB)


def test_a_job_that_runs_cannot_be_erased(client: Any, service: Service) -> None:
    service.faults[ERASE] = [(409, {}, problem(409, "job_not_finished"))]
    with pytest.raises(reroom.Conflict):
        client.erase(JOB)


def test_restyle_is_one_call(client: Any, service: Service, tmp_path: Path) -> None:
    service.plans = [(3, CUT)]
    seen: list[reroom.events.Event] = []
    done = client.restyle(
        b"JPEG-BYTES", "boho", reroom.Preferences(seed=0), out=tmp_path / "out.jpg", on_event=seen.append
    )
    assert (done.job_id, done.status, done.result.warnings) == (JOB, "completed", [])
    assert (tmp_path / "out.jpg").read_bytes() == PICTURE
    assert [type(event).__name__ for event in seen] == [
        "StatusChanged", "Analysis", "Unknown", "Step", "Preview", "Step", "Completed",
    ]  # fmt: skip
    assert b'{"seed":0}' in service.bodies[0]


def test_restyle_without_a_file(client: Any, service: Service) -> None:
    assert client.restyle(reroom.Uploaded(key="k")).result.metadata == {"seed": 0}
    assert DOWNLOAD not in service.requests


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ({"type": "failed", "error": {"code": "model_error", "detail": "it broke"}}, reroom.JobFailed),
        ({"type": "cancelled"}, reroom.JobCancelled),
    ],
)
def test_a_restyle_that_ends_badly(
    client: Any, service: Service, tmp_path: Path, ending: Any, kind: type[Exception]
) -> None:
    service.events = [ending]
    with pytest.raises(kind):
        client.restyle(b"JPEG-BYTES", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_on_event_is_the_callers(client: Any, service: Service) -> None:
    def broken(event: reroom.events.Event) -> None:
        # One that the client itself would take for a lost connection.
        raise httpx2.ReadError("the caller's own")

    with pytest.raises(httpx2.ReadError):
        client.restyle(b"JPEG-BYTES", on_event=broken)


def test_on_event_may_be_a_coroutine_function(service: Service) -> None:
    seen: list[reroom.events.Event] = []

    async def note(event: reroom.events.Event) -> None:
        await asyncio.sleep(0)
        seen.append(event)

    async def watch() -> None:
        async with reroom.AsyncClient(service.url, retry=QUICK) as client:
            await client.wait(JOB, after="0", on_event=note)

    asyncio.run(watch())
    assert isinstance(seen[-1], reroom.events.Completed)


def test_warnings_of_a_result() -> None:
    warning = {"code": "strength_raised", "detail": "one step was run", "invented_later": 1}
    result = reroom.JobResult(transformed_url="u", metadata={"warnings": [warning]})
    assert result.warnings == [reroom.ResultWarning(code="strength_raised", detail="one step was run")]
    assert reroom.JobResult(transformed_url="u", metadata={"warnings": "none"}).warnings == []


def test_a_job_id_cannot_leave_its_route(client: Any, service: Service) -> None:
    with pytest.raises(reroom.NotFound):
        client.status("../../health")
    assert service.requests[0][1].startswith("/transform/status/")


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host", "http://", "", "http://[", "http://host:80000"]
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="URL of a service"):
        reroom.Client(url)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("soon", None), ("", None), ("-1", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after(Reply(503, {"retry-after": header}, b"")) == seconds


def test_an_upload_whose_answer_was_lost_has_succeeded() -> None:
    """A link takes one photo: the second try finds that of the first."""
    operation = operations.upload("room.jpg", QUICK)
    assert isinstance(next(operation), Read)
    assert isinstance(operation.send(b"\xff\xd8\xff"), Send)
    offer = b'{"key": "k", "url": "http://there/k", "headers": {"If-None-Match": "*"}}'
    put = Send("PUT", "http://there/k", b"\xff\xd8\xff", {"If-None-Match": "*"})
    assert operation.send(Reply(201, {}, offer)) == put
    assert isinstance(operation.throw(ConnectionLost("no answer")), Sleep)
    assert operation.send(None) == put
    with pytest.raises(StopIteration) as done:
        operation.send(Reply(412, {}, b""))
    assert done.value.value.key == "k"


KEY = "rr_0123456789abcdef_" + "0" * 64


@pytest.mark.parametrize("kind", [reroom.Client, Driven])
def test_the_key_goes_to_the_service_and_nowhere_else(
    kind: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REROOM_API_KEY", "rr_of_the_environment")
    for given, sent in ((KEY, KEY), (None, "rr_of_the_environment"), ("", None)):
        client = kind(service.url, api_key=given, retry=QUICK)
        service.reset()
        client.status(JOB)
        client.submit(b"JPEG", "boho")
        list(client.events(JOB))
        client.picture(f"{service.url}/files/result.jpg")
        # The same server under another name, as a bucket would be; and another scheme or port is another server too.
        client.picture(f"{service.url}/files/result.jpg".replace("127.0.0.1", "localhost"))
        header = None if sent is None else f"Bearer {sent}"
        assert service.credentials == [header] * 4 + [None]
        assert "rr_" not in repr(vars(client))
        client.close()


@pytest.mark.parametrize("key", ["rr_a b", "rr_ä", "rr_a\r\nX: y"])
def test_what_cannot_be_a_key_is_not_sent(key: str) -> None:
    with pytest.raises(ValueError, match="must be like rr_") as caught:
        reroom.Client("http://127.0.0.1:9", api_key=key)
    assert key not in str(caught.value)
