"""The command ``reroom`` on one photo: what it prints where, its exit codes, and what Ctrl-C does."""

from __future__ import annotations

import base64
import json
import os
import pty
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_command import interrupted, interrupted_at_its_first_step, run, start, wait_until
from tests.support.client_service import (
    ANALYZE,
    CANCEL,
    CUT,
    DOWNLOAD,
    EVENTS,
    JOB,
    PICTURE,
    PNGS,
    STATUS,
    SUBMIT,
    Service,
    problem,
)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "room.jpg"
    path.write_bytes(b"JPEG-BYTES")
    return path


def test_restyle(service: Service, photo: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jpg"
    service.plans = [(2, CUT)]
    process = start(service.url, "restyle", photo, "--output", output)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, f"{output}\n"), err
    assert output.read_bytes() == PICTURE
    assert "saw a living room with 1 object" in err
    assert "80%  step 2 of 2" in err
    assert "\x1b" not in err


def test_json_is_one_object_on_stdout(service: Service, photo: Path, tmp_path: Path) -> None:
    code, out, _ = run(service.url, "restyle", photo, "-o", tmp_path / "out.jpg", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["success"]
    assert answer["output"] == str(tmp_path / "out.jpg")
    assert answer["data"]["status"] == "completed"
    assert answer["data"]["result"]["metadata"] == {"seed": 0}


def test_a_bar_on_a_terminal(service: Service, photo: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = start(service.url, "restyle", photo, "-o", tmp_path / "out.jpg", stderr=slave)
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:  # the other end was closed
            break
    out, _ = process.communicate(timeout=20)
    os.close(master)
    assert process.returncode == 0
    assert out.endswith("out.jpg\n")
    assert "━" in shown.decode()
    assert b"\x1b[" in shown


@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        (
            {"type": "failed", "error": {"code": "model_error", "detail": "the [bold]denoiser broke"}},
            1,
            "model_error",
        ),
        ({"type": "cancelled"}, 5, "was cancelled"),
    ],
)
def test_bad_ends(service: Service, photo: Path, tmp_path: Path, ending: Any, code: int, words: str) -> None:
    service.events = [EVENTS[0], ending]
    found, out, err = run(service.url, "restyle", photo, "-o", tmp_path / "out.jpg", "--json")
    answer = json.loads(out)
    assert found == code
    assert words in err
    assert not (tmp_path / "out.jpg").exists()
    assert answer["success"] is False
    assert answer["exit_code"] == code
    assert answer["job_id"] == JOB
    assert ending["type"] == "cancelled" or "[bold]" in err


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (None, f"cancelled job {JOB}"),
        ((503, "unavailable"), f"job {JOB} may go on"),
        ((409, "job_finished"), f"job {JOB} had ended already"),
    ],
)
def test_ctrl_c_cancels_the_job_and_reports_how_that_went(
    service: Service, photo: Path, tmp_path: Path, fault: tuple[int, str] | None, words: str
) -> None:
    service.plans = [(4, "wait")]
    service.faults[CANCEL] = [(fault[0], {}, problem(*fault))] if fault else []
    err = interrupted_at_its_first_step(start(service.url, "restyle", photo, "-o", tmp_path / "out.jpg"))
    assert words in err
    assert ("may go on" in err) == ("may go on" in words)
    assert CANCEL in service.requests


def test_ctrl_c_while_downloading_cancels_nothing(service: Service, photo: Path, tmp_path: Path) -> None:
    service.faults[DOWNLOAD] = [(503, {"retry-after": "8"}, problem(503, "unavailable"))]
    process = start(service.url, "restyle", photo, "-o", tmp_path / "out.jpg")
    wait_until(lambda: DOWNLOAD in service.requests)
    assert "interrupted" in interrupted(process)
    assert CANCEL not in service.requests
    assert not (tmp_path / "out.jpg").exists()


def test_timeout(service: Service, photo: Path, tmp_path: Path) -> None:
    service.plans = [(1, "wait")]
    began = time.monotonic()
    code, _, err = run(service.url, "restyle", photo, "-o", tmp_path / "out.jpg", "--timeout", "0.5")
    assert code == 3
    assert "did not end within 0.5 s" in err
    assert time.monotonic() - began < 10
    assert CANCEL not in service.requests, "the job goes on"


def test_bad_input_names_the_field(service: Service, photo: Path, tmp_path: Path) -> None:
    service.faults[SUBMIT] = [(422, {}, problem(422, "unknown_style", field="style"))]
    code, out, err = run(
        service.url, "restyle", photo, "-o", tmp_path / "out.jpg", "--style", "rococo", "--json"
    )
    assert code == 2
    assert "style: about unknown_style" in err
    assert json.loads(out)["code"] == "unknown_style"
    assert json.loads(out)["field"] == "style"


def test_analyze(service: Service, photo: Path, tmp_path: Path) -> None:
    code, out, err = run(service.url, "analyze", photo)
    assert (code, err) == (0, "")
    assert out == (
        "living room, 87% sure\n"
        "couch          93%  10–45 % across, 50–90 % down\n"
        "potted plant   40%  0–100 % across, 0–100 % down\n"
    )
    assert list(tmp_path.iterdir()) == [photo]


def test_analyze_with_pictures(service: Service, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    code, out, _ = run(service.url, "analyze", photo, "--output", folder)
    assert code == 0
    assert out.endswith(f"{folder / 'depth.png'}\n{folder / 'edges.png'}\n")
    assert (folder / "edges.png").read_bytes() == PNGS["edges_png"]


def test_analyze_json(service: Service, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    code, out, _ = run(service.url, "analyze", photo, "--json")
    answer = json.loads(out)
    assert (code, answer["success"], answer["data"]["room_confidence"]) == (0, True, 0.874)
    assert answer["data"]["objects"][0] == {"label": "couch", "score": 0.93, "box": [0.1, 0.5, 0.45, 0.9]}
    assert base64.b64decode(answer["data"]["depth_png"]) == PNGS["depth_png"]
    code, out, _ = run(service.url, "analyze", photo, "--json", "-o", folder)
    data = json.loads(out)["data"]
    assert (data["depth_png"], data["edges_png"]) == (str(folder / "depth.png"), str(folder / "edges.png"))


def test_analyze_of_nothing(service: Service, photo: Path) -> None:
    service.analysis = {"objects": [], "room_type": "unknown", "room_confidence": 0.0}
    assert run(service.url, "analyze", photo)[:2] == (0, "no kind of room in particular\n")


@pytest.mark.parametrize(
    ("fault", "code", "name"),
    [
        (415, 2, "unsupported_image"),
        (503, 3, "unavailable"),
        (504, 3, "model_timeout"),
        (500, 1, "internal_error"),
    ],
)
def test_analyze_that_fails_leaves_nothing(
    service: Service, photo: Path, tmp_path: Path, fault: int, code: int, name: str
) -> None:
    service.faults[ANALYZE] = [(fault, {"retry-after": "60"}, problem(fault, name))]
    found, out, err = run(service.url, "analyze", photo, "-o", tmp_path / "seen", "--json")
    assert found == code
    assert f"about {name}" in err
    assert json.loads(out)["code"] == name
    assert list(tmp_path.iterdir()) == [photo]


def test_status_cancel_and_styles(service: Service) -> None:
    assert run(service.url, "status", JOB)[:2] == (0, "transforming  50%\n")
    assert json.loads(run(service.url, "status", JOB, "--json")[1])["job_id"] == JOB
    assert run(service.url, "cancel", JOB)[:2] == (0, "cancelled  50%\n")
    assert run(service.url, "styles")[:2] == (0, "modern  Modern  (bedroom)\n"), "boho is not in the plan"
    shown = json.loads(run(service.url, "styles", "--json")[1])["styles"]
    assert [each["name"] for each in shown] == ["modern", "boho"]


def test_no_such_job(service: Service) -> None:
    code, out, err = run(service.url, "status", "none")
    assert code == 4
    assert out == ""
    assert "about job_not_found" in err


def test_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    code, out, err = run("http://127.0.0.1:9", "styles")
    assert code == 3
    assert out == ""
    assert "cannot reach the service" in err


def test_a_key(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(service.url, "status", JOB, "--api-key", "rr_option")[0] == 0
    monkeypatch.setenv("REROOM_API_KEY", "rr_variable")
    assert run(service.url, "status", JOB)[0] == 0
    assert service.credentials == ["Bearer rr_option", "Bearer rr_variable"]
    service.faults[STATUS] = [(401, {}, problem(401, "unauthorized"))]
    code, _, err = run(service.url, "status", JOB)
    assert (code, "REROOM_API_KEY or --api-key" in err, "rr_variable" in err) == (1, True, False)
