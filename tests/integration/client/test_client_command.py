"""The command ``reroom`` as a process: what it prints where, and its exit codes."""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_service import CUT, EVENTS, JOB, PICTURE, PNGS, Service, problem

ROOT = Path(__file__).resolve().parents[3]
ANALYZE = ("POST", "/analyze")
SUBMIT = ("POST", "/transform/submit")


def start(service_url: str, *arguments: str | Path, **options: Any) -> subprocess.Popen[Any]:
    env = {
        **os.environ,
        "REROOM_URL": service_url,
        "PYTHONPATH": str(ROOT / "client" / "src"),
        "COLUMNS": "120",
    }
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([sys.executable, "-m", "reroom", *map(str, arguments)], env=env, **options)


def interrupted_at_its_first_step(process: subprocess.Popen[Any]) -> str:
    """What the command says after Ctrl-C in the middle of a job; asserts that it ends as interrupted."""
    assert process.stderr is not None
    for line in process.stderr:
        if "step 1" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    return str(err)


def run(service_url: str, *arguments: str | Path) -> tuple[int, str, str]:
    process = start(service_url, *arguments)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "room.jpg"
    path.write_bytes(b"JPEG-BYTES")
    return path


def test_restyle(service: Service, photo: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jpg"
    service.plans = [(2, CUT)]
    more = [
        "--prompt",
        "a piano",
        "--seed",
        "0",
        "--steps",
        "8",
        "--strength",
        "0.5",
        "--detail",
        "0",
        "--keep-furniture",
    ]
    code, out, err = run(
        service.url,
        "restyle",
        photo,
        "--style",
        "boho",
        "--output",
        output,
        *more,
        "--palette",
        "sage",
        "--palette",
        "oak",
    )
    assert code == 0, err
    assert out == f"{output}\n"
    assert output.read_bytes() == PICTURE
    assert "saw a living room with 1 object" in err
    assert "80%  step 2 of 2" in err
    assert "\x1b" not in err
    sent = service.bodies[0].decode()
    preferences = json.loads(sent.split('name="preferences"\r\n\r\n')[1].split("\r\n")[0])
    assert preferences == {
        "prompt": "a piano", "seed": 0, "steps": 8, "strength": 0.5, "detail": 0, "keep_furniture": True,
        "color_palette": ["sage", "oak"],
    }  # fmt: skip


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


def test_ctrl_c_cancels_the_job_first(service: Service, photo: Path, tmp_path: Path) -> None:
    service.plans = [(4, "wait")]
    process = start(service.url, "restyle", photo, "-o", tmp_path / "out.jpg")
    err = interrupted_at_its_first_step(process)
    assert f"cancelled job {JOB}" in err
    assert service.requests[-1] == ("DELETE", f"/transform/{JOB}")


def test_ctrl_c_when_the_service_is_gone(service: Service, photo: Path, tmp_path: Path) -> None:
    service.plans = [(4, "wait")]
    service.faults[("DELETE", f"/transform/{JOB}")] = [(503, {}, problem(503, "unavailable"))]
    process = start(service.url, "restyle", photo, "-o", tmp_path / "out.jpg")
    err = interrupted_at_its_first_step(process)
    assert f"job {JOB} may go on" in err


def test_ctrl_c_when_the_job_has_just_ended(service: Service, photo: Path, tmp_path: Path) -> None:
    service.plans = [(4, "wait")]
    service.faults[("DELETE", f"/transform/{JOB}")] = [(409, {}, problem(409, "job_finished"))]
    process = start(service.url, "restyle", photo, "-o", tmp_path / "out.jpg")
    err = interrupted_at_its_first_step(process)
    assert f"job {JOB} had ended already" in err
    assert "may go on" not in err


def test_ctrl_c_while_downloading_cancels_nothing(service: Service, photo: Path, tmp_path: Path) -> None:
    download = ("GET", "/files/result.jpg")
    service.faults[download] = [(503, {"retry-after": "8"}, problem(503, "unavailable"))]
    process = start(service.url, "restyle", photo, "-o", tmp_path / "out.jpg")
    end = time.monotonic() + 10
    while download not in service.requests:
        assert time.monotonic() < end, "no download"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert "interrupted" in err
    assert ("DELETE", f"/transform/{JOB}") not in service.requests
    assert not (tmp_path / "out.jpg").exists()


def test_timeout(service: Service, photo: Path, tmp_path: Path) -> None:
    service.plans = [(1, "wait")]
    began = time.monotonic()
    code, _, err = run(service.url, "restyle", photo, "-o", tmp_path / "out.jpg", "--timeout", "0.5")
    assert code == 3
    assert "did not end within 0.5 s" in err
    assert time.monotonic() - began < 10
    assert ("DELETE", f"/transform/{JOB}") not in service.requests, "the job goes on"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["restyle", "PHOTO", "-o", "x.jpg", "--steps", "0"], "--steps"),
        (["restyle", "PHOTO", "-o", "x.jpg", "--strength", "nan"], "--strength"),
        (["restyle", "PHOTO", "-o", "x.jpg", "--timeout", "inf"], "--timeout"),
        (["restyle", "PHOTO", "-o", "x.jpg", "--seed", "-1"], "--seed"),
        (["restyle", "PHOTO", "-o", "no/such/folder/x.jpg"], "no folder"),
        (["restyle", "PHOTO", "-o", "leads-nowhere.jpg"], "no folder"),
        (["download", "x", "-o", "leads-nowhere.jpg"], "no folder"),
        (["restyle", "PHOTO", "-o", "/dev/fd/99"], "not open for writing"),
        (["restyle", "PHOTO", "-o", "x.jpg", "--strength", "0.001"], "0.01<=x<=1"),
        (["restyle", "PHOTO"], "--output"),
        (["analyze", "PHOTO", "-o", "no/such/folder"], "no folder"),
        (["analyze", "PHOTO", "-o", "PHOTO"], "is a file"),
        (["analyze", "no.jpg"], "no.jpg"),
        (["restyle", "no.jpg", "-o", "x.jpg"], "no.jpg"),
        (["status", "x", "--url", "localhost:8000"], "URL of a service"),
        (["dance"], "dance"),
    ],
)
def test_wrong_usage(
    service: Service, photo: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("leads-nowhere.jpg").symlink_to("no/such/folder/x.jpg")
    code, out, err = run(service.url, *(str(photo) if word == "PHOTO" else word for word in arguments))
    assert code == 2
    assert words in err
    assert out == ""
    assert service.requests == []


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
    assert run(service.url, "styles")[:2] == (0, "modern\nboho\n")
    assert json.loads(run(service.url, "styles", "--json")[1]) == {"styles": ["modern", "boho"]}


def test_no_such_job(service: Service) -> None:
    code, out, err = run(service.url, "status", "nobody")
    assert code == 4
    assert out == ""
    assert "about job_not_found" in err


def test_nothing_listens() -> None:
    code, out, err = run("http://127.0.0.1:9", "styles")
    assert code == 3
    assert out == ""
    assert "cannot reach the service" in err


def test_help_tells_the_exit_codes() -> None:
    for arguments in (["--help"], ["restyle", "-h"]):
        code, out, _ = run("http://127.0.0.1:9", *arguments)
        assert code == 0
        assert "no such job" in out
        assert "130" in out
