"""The command ``reroom`` on several photos, its options and outputs, and the commands about a job."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

import reroom
from reroom._cli import main
from tests.conftest import ROOT
from tests.support.client_command import (
    interrupted,
    interrupted_at_its_first_step,
    preferences_sent,
    run,
    start,
    wait_until,
)
from tests.support.client_service import (
    CANCEL,
    ERASE,
    EVENTS,
    JOB,
    PICTURE,
    SUBMIT,
    Service,
    completed,
    problem,
)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("hall.jpg", "kitchen.png", "attic.webp")]
    for path in paths:
        path.write_bytes(f"bytes of {path.name}".encode())
    return paths


def test_several_photos_into_a_folder(service: Service, photos: list[Path], tmp_path: Path) -> None:
    code, out, err = run(service.url, "restyle", *photos, "--style", "boho", "-o", f"{tmp_path}/out/")
    names = ["attic-boho.jpg", "hall-boho.jpg", "kitchen-boho.jpg"]
    assert code == 0, err
    assert sorted(out.splitlines()) == [f"{tmp_path}/out/{name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert all((tmp_path / "out" / name).read_bytes() == PICTURE for name in names)
    for photo in photos:
        assert sum(photo.read_bytes() in body for body in service.bodies) == 1
    assert f"{photos[0]}: step 2 of 2" in err


def test_a_name_with_the_photos_in_it(service: Service, photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    twin = tmp_path / "two" / "hall.jpg"
    twin.write_bytes(b"another")
    out_name = f"{tmp_path}/{{style}}-{{name}}.jpg"
    assert run(service.url, "restyle", photos[0], twin, "-o", out_name)[0] == 0
    assert (tmp_path / "modern-hall.jpg").exists()
    assert (tmp_path / "modern-hall-2.jpg").exists()


def test_one_of_several_fails(service: Service, photos: list[Path], tmp_path: Path) -> None:
    service.faults[SUBMIT] = [(415, {}, problem(415, "unsupported_image"))]
    code, out, err = run(service.url, "restyle", *photos, "-o", tmp_path, "--at-once", "1", "--json")
    answer = json.loads(out)
    assert code == answer["exit_code"] == 2, "all that failed have the same code"
    assert not answer["success"]
    assert [each["success"] for each in answer["results"]] == [False, True, True]
    failed = answer["results"][0]
    assert (failed["photo"], failed["code"]) == (str(photos[0]), "unsupported_image")
    assert answer["results"][1]["output"] == f"{tmp_path}/kitchen-modern.jpg"
    assert f"reroom: {photos[0]}: about unsupported_image" in err
    assert not (tmp_path / "hall-modern.jpg").exists()


def test_failures_of_different_kinds(service: Service, photos: list[Path], tmp_path: Path) -> None:
    faults = ((415, "unsupported_image"), (500, "slow"))
    service.faults[SUBMIT] = [(code, {}, problem(code, name)) for code, name in faults]
    assert run(service.url, "restyle", *photos, "-o", tmp_path, "--at-once", "1")[0] == 1


def test_at_once_is_a_limit_and_ctrl_c_cancels_what_runs(
    service: Service, photos: list[Path], tmp_path: Path
) -> None:
    service.plans = [(4, "wait")] * 3
    process = start(service.url, "restyle", *photos, "-o", tmp_path, "--at-once", "2")
    err = interrupted_at_its_first_step(process, jobs=2)
    assert (service.requests.count(CANCEL), service.requests.count(SUBMIT)) == (2, 2)
    assert err.count(f"cancelled job {JOB}") == 2


def test_ctrl_c_while_the_service_takes_the_photo(
    service: Service, photos: list[Path], tmp_path: Path
) -> None:
    """The job is there, its id is not yet here."""
    service.delays[SUBMIT] = 1.0
    process = start(service.url, "restyle", photos[0], "-o", tmp_path)
    wait_until(lambda: SUBMIT in service.requests)
    assert f"cancelled job {JOB}" in interrupted(process)
    assert service.requests[-1] == CANCEL


def test_every_preference_is_an_option(service: Service, photos: list[Path], tmp_path: Path) -> None:
    sent = {
        "keep_furniture": True, "color_palette": ["sage green", "oak"], "keep": ["sofa", [0.1, 0, 0.5, 1]],
        "change": ["wall"], "prompt": "a piano", "palette_strength": 0.25, "reference_strength": 0.75,
        "room_type": "nursery", "lossless": "png", "size": "photo",
        "negative_prompt": "plants", "seed": 2**63 - 1, "steps": 100, "strength": 0.01, "guidance_scale": 7.5,
        "structure": 0.5, "solver": "euler", "attempts": 2, "detail": 0.0, "preview_every": 1,
        "min_quality": 0.5, "min_openings": 0.25, "min_lines": 0.0, "min_camera": 1.0, "min_planes": 0.75,
    }  # fmt: skip
    names = {field.name for field in msgspec.structs.fields(reroom.Preferences)}
    assert {option.name for option in main.commands["restyle"].params} >= names
    options = ["--keep-furniture", "--palette", "sage green", "--palette", "oak"]
    options += ["--keep", "sofa", "--keep", "0.1,0,0.5,1", "--change", "wall"]
    for name in list(sent)[4:]:
        options += ["--" + name.replace("_", "-"), str(sent[name])]
    code, _, err = run(service.url, "restyle", photos[0], "-o", tmp_path, *options)
    assert code == 0, err
    assert preferences_sent(service) == sent


def test_preferences_are_those_of_the_api() -> None:
    api = json.loads((ROOT / "docs" / "openapi.json").read_text())["components"]["schemas"]["Preferences"]
    ours = msgspec.json.schema(reroom.Preferences)["$defs"]["Preferences"]
    assert knobs(ours) == knobs(api)


def knobs(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name → type, limits and default, without null and descriptions; a missing default is that of an empty value."""
    found = {}
    for name, member in schema["properties"].items():
        first = {**member, **member.get("anyOf", [{}])[0]}
        found[name] = {
            key: first.get(key) for key in ("minimum", "maximum", "maxLength", "maxItems", "items")
        }
        found[name]["values"] = sorted(filter(None, first.get("enum", [])))
        found[name]["default"] = member.get("default") or None
    return found


def test_detach_prints_the_job_and_waits_for_nothing(service: Service, photos: list[Path]) -> None:
    code, out, err = run(service.url, "restyle", photos[0], "--detach")
    assert (code, out, err) == (0, f"{JOB}\n", "")
    assert service.requests == [SUBMIT]
    answer = json.loads(run(service.url, "restyle", photos[0], "--detach", "--json")[1])
    assert (answer["success"], answer["data"]["job_id"]) == (True, JOB)


WARNING = {"code": "negative_prompt_unused", "detail": "negative_prompt has no effect at guidance_scale 1"}


def test_warnings_are_shown(service: Service, photos: list[Path], tmp_path: Path) -> None:
    last = {"type": "completed", "progress": 1.0, "data": completed(warnings=[WARNING])}
    service.events = [*EVENTS[:-1], last]
    code, out, err = run(service.url, "restyle", photos[0], "-o", tmp_path / "out.jpg")
    assert (code, out) == (0, f"{tmp_path}/out.jpg\n")
    assert f"reroom: warning: {WARNING['detail']} [negative_prompt_unused]" in err


@pytest.mark.parametrize("output", ["-", "/dev/stdout"])
def test_the_picture_on_stdout_is_alone_there(service: Service, photos: list[Path], output: str) -> None:
    service.state = "completed"
    for arguments in (["restyle", photos[0]], ["download", JOB]):
        process = start(service.url, *arguments, "-o", output, text=False)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        assert out == PICTURE
    assert Path("/dev/stdout").is_symlink()
    assert not Path("-").exists()


def test_a_picture_is_not_written_to_a_terminal(service: Service, photos: list[Path]) -> None:
    master, slave = pty.openpty()
    process = start(service.url, "restyle", photos[0], "-o", "-", stdout=slave)
    _, err = process.communicate(timeout=20)
    os.close(slave)
    os.close(master)
    assert process.returncode == 2
    assert "cannot be shown in a terminal" in err
    assert service.requests == []


def test_a_reader_that_has_enough(service: Service, photos: list[Path], tmp_path: Path) -> None:
    """As in ``reroom … -o - | head -c 10``."""
    service.picture = PICTURE * 50
    read, write = os.pipe()
    process = start(service.url, "restyle", photos[0], "-o", "-", stdout=write)
    os.close(write)
    assert os.read(read, 10) == PICTURE[:10]
    os.close(read)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1, err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["restyle", "hall.jpg", "-o", "x.tiff"], "ends in one of"),
        (["restyle", "hall.jpg", "-o", "hall.jpg"], "is the photo itself"),
        (["restyle", "hall.jpg", "kitchen.png", "-o", "x.jpg"], "need a folder"),
        (["restyle", "hall.jpg", "kitchen.png", "-o", "-"], "need a folder"),
        (["restyle", "hall.jpg", "kitchen.png", "-o", "{style}.jpg"], "{name}"),
        (["restyle", "hall.jpg", "-o", "-", "--json"], "cannot both go to stdout"),
        (["restyle", "hall.jpg", "--detach", "-o", "x.jpg"], "--detach does not wait"),
        (["restyle", "hall.jpg", "-o", "x.jpg", "--guidance-scale", "nan"], "--guidance-scale"),
        (["restyle", "hall.jpg", "-o", "x.jpg", "--guidance-scale", "31"], "0<=x<=30"),
        (["restyle", "hall.jpg", "-o", "x.jpg", "--prompt", 1001 * "x"], "length <= 1000"),
        (["restyle", "hall.jpg", "-o", "x.jpg", *9 * ["--palette", "oak"]], "length <= 8"),
        (["restyle", "hall.jpg", "-o", "x.jpg", "--solver", "heun"], "--solver"),
        (["restyle", "hall.jpg", "-o", "x.jpg", "--steps", "0"], "--steps"),
        (["restyle", "hall.jpg", "-o", "x.jpg", "--strength", "nan"], "--strength"),
        (["restyle", "hall.jpg", "-o", "x.jpg", "--strength", "0.001"], "0.01<=x<=1"),
        (["restyle", "hall.jpg", "-o", "x.jpg", "--timeout", "inf"], "--timeout"),
        (["restyle", "hall.jpg", "-o", "x.jpg", "--seed", "-1"], "--seed"),
        (["restyle", "hall.jpg", "-o", "no/such/folder/x.jpg"], "no folder"),
        (["restyle", "hall.jpg", "-o", "leads-nowhere.jpg"], "no folder"),
        (["restyle", "hall.jpg", "-o", "/dev/fd/99"], "not open for writing"),
        (["restyle", "hall.jpg"], "--output"),
        (["restyle", "no.jpg", "-o", "x.jpg"], "no.jpg"),
        (["restyle"], "PHOTO"),
        (["analyze", "hall.jpg", "-o", "no/such/folder"], "no folder"),
        (["analyze", "hall.jpg", "-o", "hall.jpg"], "is a file"),
        (["analyze", "no.jpg"], "no.jpg"),
        (["download", JOB], "--output"),
        (["download", JOB, "-o", "x.gif"], "ends in one of"),
        (["download", JOB, "-o", "leads-nowhere.jpg"], "no folder"),
        (["status", "x", "--url", "localhost:8000"], "URL of a service"),
        (["dance"], "dance"),
    ],
)
def test_wrong_usage(
    service: Service, photos: list[Path], monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    folder = photos[0].parent
    monkeypatch.chdir(folder)
    Path("leads-nowhere.jpg").symlink_to("no/such/folder/x.jpg")
    before = set(folder.iterdir())
    code, out, err = run(service.url, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert service.requests == []
    assert set(folder.iterdir()) == before


def test_watch(service: Service) -> None:
    code, out, err = run(service.url, "watch", JOB)
    assert code == 0
    assert "step 2 of 2" in err
    assert out.startswith("completed  100%")
    assert json.loads(run(service.url, "watch", JOB, "--json")[1])["status"] == "completed"


def test_ctrl_c_ends_the_watching_not_the_job(service: Service) -> None:
    service.plans = [(4, "wait")]
    process = start(service.url, "watch", JOB)
    err = interrupted_at_its_first_step(process)
    assert f"job {JOB} goes on" in err
    assert CANCEL not in service.requests


def test_download(service: Service, tmp_path: Path) -> None:
    assert run(service.url, "download", JOB, "-o", tmp_path)[0] == 1, "it is not finished"
    service.state = "completed"
    code, out, _ = run(service.url, "download", JOB, "-o", tmp_path)
    assert (code, out) == (0, f"{tmp_path}/{JOB}.jpg\n")
    assert (tmp_path / f"{JOB}.jpg").read_bytes() == PICTURE
    answer = json.loads(run(service.url, "download", JOB, "-o", tmp_path / "x.jpg", "--json")[1])
    assert answer == {"success": True, "job_id": JOB, "output": str(tmp_path / "x.jpg")}


def test_erase(service: Service) -> None:
    assert run(service.url, "erase", JOB)[:2] == (0, f"erased {JOB}\n")
    assert service.requests == [ERASE]
    service.faults[ERASE] = [(409, {}, problem(409, "job_not_finished"))]
    code, out, _ = run(service.url, "erase", JOB, "--json")
    assert (code, json.loads(out)["code"]) == (1, "job_not_finished")


def test_health_says_what_is_down(service: Service) -> None:
    assert run(service.url, "health")[:2] == (3, "degraded\ntriton: down\n")


def test_every_command_has_help() -> None:
    names = ["restyle", "status", "watch", "download", "cancel", "erase", "analyze", "styles", "health"]
    listed = CliRunner().invoke(main, ["--help"]).stdout
    for name in names:
        assert f"\n  {name} " in listed
        answer = CliRunner().invoke(main, [name, "--help"]).stdout
        assert "--url" in answer
        assert "no such job" in answer
        assert "130" in answer
