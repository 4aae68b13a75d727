"""``make dollhouse``: what it runs, in which order, for how long, and what it reports."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dollhouse import __main__ as command
from dollhouse import stages as planning
from dollhouse.data import dataset as data
from dollhouse.train import perception, presets, restyling, weights
from dollhouse.train.processes import Part
from dollhouse.train.progress import last_steps
from dollhouse.train.workers import ALONE, Workers
from stack.terminal import only_one
from tests.support.releases import write_document
from tests.support.small_networks import weights_file, write_networks

TWO_CORES, ONE_GPU = planning.Machine(gpu=False, cores=2), planning.Machine(gpu=True, cores=8)


def order(run: Path, **changes: Any) -> planning.TrainingOptions:
    return replace(planning.TrainingOptions(run, run / "data", 512, 64, None, True), **changes)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What the parts' modules were asked for when their own ``main`` read their options."""
    calls: list[tuple[str, dict[str, Any]]] = []
    threads = torch.get_num_threads()

    def make_dataset(folder: Path, split: str, rooms: int, making: data.RenderSettings, *rest: Any) -> None:
        calls.append((split, {"folder": folder, "rooms": rooms, "side": making.side, "processes": rest[1]}))

    def open_dataset(folder: Path, split: str, rooms: int | None = None) -> tuple[Path, str, int | None]:
        return folder, split, rooms

    def restyler(name: str) -> Callable[..., None]:
        def train(
            rooms: Any, run: Path, preset: presets.Preset, device: Any, start: Any, workers: Workers = ALONE
        ) -> None:
            asked = {
                "rooms": rooms,
                "run": run,
                "minutes": getattr(preset, f"{name}_minutes"),
                "start": start,
            }
            calls.append((name, asked | {"threads": torch.get_num_threads(), "workers": workers.count}))

        return train

    def trainer(name: str) -> Callable[..., None]:
        def train(run: Path, preset: perception.Preset, rooms: Any, *rest: Any) -> None:
            calls.append((name, {"rooms": rooms, "run": run, "minutes": preset.minutes[name]}))

        return train

    monkeypatch.setattr(data, "make_dataset", make_dataset)
    monkeypatch.setattr(restyling, "open_dataset", open_dataset)
    for name in restyling.PARTS:
        monkeypatch.setattr(restyling, f"{name}_part", restyler(name))
    monkeypatch.setattr(restyling, "start_others", lambda *arguments: [])
    monkeypatch.setattr(restyling, "join", lambda rank, count, meeting: Workers(rank, count))
    monkeypatch.setattr(perception, "open_dataset", open_dataset)
    trainers = {name: (split, trainer(name)) for name, (split, _) in perception.TRAINERS.items()}
    monkeypatch.setattr(perception, "TRAINERS", trainers)
    yield calls
    torch.set_num_threads(threads)


def run_here(monkeypatch: pytest.MonkeyPatch, parts: Sequence[Part]) -> None:
    """The parts' commands, in this process."""
    for each in parts:
        python, flag, module, *options = each.command
        assert (python, flag) == (sys.executable, "-m")
        monkeypatch.setattr(sys, "argv", [module, *options])
        importlib.import_module(module).main()


def test_every_split_is_rendered(
    ran: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_here(monkeypatch, planning.render_parts(order(tmp_path), TWO_CORES))
    common = {"folder": tmp_path / "data", "side": 64, "processes": 2}
    assert ran == [
        ("held_out", {"rooms": 256, **common}),
        ("classifier", {"rooms": 256, **common}),
        ("train", {"rooms": 512, **common}),
    ]
    few = planning.render_parts(order(tmp_path, rooms=100), ONE_GPU)
    assert all("--rooms 100 " in " ".join(each.command) for each in few)
    assert all("--processes 1" in " ".join(each.command) for each in few)


@pytest.mark.parametrize(("minutes", "share"), [(None, 1.0), (1.5, 0.01)])
def test_two_cores_train_two_networks_at_once_and_what_restyles_on_both(
    ran: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    minutes: float | None,
    share: float,
) -> None:
    stages = planning.training_stages(order(tmp_path, minutes=minutes), TWO_CORES)
    names = [[[each.name for each in lane] for lane in lanes] for lanes in stages]
    assert names == [[["autoencoder"], ["depth", "detector", "classifier"]], [["diffusion"]]]
    run_here(monkeypatch, [each for lanes in stages for lane in lanes for each in lane])
    asked = dict(ran)
    assert asked["autoencoder"]["threads"] == 1
    assert (asked["diffusion"]["threads"], asked["diffusion"]["workers"]) == (1, 2)
    assert asked["diffusion"]["start"] is None
    assert asked["diffusion"]["rooms"] == (tmp_path / "data", "train", 512)
    assert asked["classifier"]["rooms"] == (tmp_path / "data", "classifier", None)
    assert {name: values["run"] for name, values in asked.items()} == dict.fromkeys(asked, tmp_path)
    usual = {
        "autoencoder": presets.CPU.autoencoder_minutes,
        "diffusion": presets.CPU.diffusion_minutes,
        **perception.CPU.minutes,
    }
    for name, values in asked.items():
        assert values["minutes"] == pytest.approx(share * usual[name], rel=1e-3), name


def test_a_gpu_trains_one_network_after_the_other_within_its_time(tmp_path: Path) -> None:
    (first,), (second,) = planning.training_stages(order(tmp_path), ONE_GPU)
    lane = [*first, *second]
    assert [each.name for each in lane] == ["autoencoder", "depth", "detector", "classifier", "diffusion"]
    minutes = [float(each.command[each.command.index("--minutes") + 1]) for each in lane]
    assert sum(minutes) == pytest.approx(planning.GPU_MINUTES, abs=0.01)
    assert minutes[-1] / minutes[1] == pytest.approx(
        presets.CUDA.diffusion_minutes / perception.CUDA.minutes["depth"], rel=0.01
    )
    asked = planning.training_stages(order(tmp_path, minutes=5.0), ONE_GPU)
    shorter = [float(each.command[each.command.index("--minutes") + 1]) for (lane,) in asked for each in lane]
    assert sum(shorter) == pytest.approx(5.0, abs=0.01)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Names of the parts, by stage, that ``make`` would have run."""
    stages: list[list[str]] = []

    def run(lanes: Sequence[Sequence[Part]], environment: Mapping[str, str], say: object) -> None:
        stages.append([each.name for lane in lanes for each in lane])

    monkeypatch.setattr(command, "run_lanes", run)
    return stages


RENDER = ["render-held_out", "render-classifier", "render-train"]
TRAIN = [["autoencoder", "depth", "detector", "classifier"], ["diffusion"]]


def test_everything_is_made_in_order(
    stages: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "RELEASE", tmp_path / "release")
    write_networks(tmp_path / "networks")
    command.make(order(tmp_path, export=False), lambda line: None)
    assert stages == [RENDER, *TRAIN]
    stages.clear()
    command.make(order(tmp_path), lambda line: None)
    assert stages == [RENDER, *TRAIN, ["keep"], ["export"], ["pack"], ["card"]]
    assert json.loads((tmp_path / "machine.json").read_text())["cores"] >= 1


def test_weights_that_are_published_are_not_published_again(
    stages: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    monkeypatch.setattr(command, "RELEASE", release)
    networks = write_networks(tmp_path / "networks")
    write_document(release, {"release": "dollhouse-3"}, 3)
    (release / "versions" / "3" / "training.json").write_text(
        json.dumps({"weights": weights.digests(networks)})
    )
    command.make(order(tmp_path), lambda line: None)
    assert stages == [RENDER, *TRAIN, ["keep"], ["pack"], ["card"]]
    write_networks(networks, 0.2)
    lines: list[str] = []
    command.make(order(tmp_path), lines.append)
    assert stages[6:] == [RENDER, *TRAIN, ["keep"], ["export"], ["pack"], ["card"]]
    assert lines[-1].startswith("dollhouse-4 is in")


def test_the_rooms_lie_in_the_runs_folder(tmp_path: Path) -> None:
    assert command.parse(["--run", str(tmp_path)]).data == tmp_path / "data"
    assert command.parse([]).run == command.RUN


def test_a_start_without_networks_is_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    networks = write_networks(tmp_path / "networks")
    assert command.parse(["--start", str(networks)]).start == networks
    (networks / "vae" / "config.json").unlink()
    with pytest.raises(SystemExit, match="2"):
        command.parse(["--start", str(networks)])
    assert f"--start: there is no network in {networks / 'vae'}" in capsys.readouterr().err


def test_from_a_start_only_what_restyles_and_the_classifier_are_trained(
    stages: list[list[str]], tmp_path: Path
) -> None:
    run, start = tmp_path / "run", write_networks(tmp_path / "networks")
    command.make(order(run, export=False, start=start), lambda line: None)
    assert stages == [RENDER, ["autoencoder", "classifier"], ["diffusion"]]
    for name in ("depth", "detector"):
        assert weights_file(run / "networks", name).is_file()
    # And so it is when it goes on, whether or not the start is named again.
    command.make(order(run, export=False), lambda line: None)
    assert stages[3:] == [RENDER, ["autoencoder", "classifier"], ["diffusion"]]


def test_a_run_that_has_checkpoints_goes_on_with_them(stages: list[list[str]], tmp_path: Path) -> None:
    run, start = tmp_path / "run", write_networks(tmp_path / "networks")
    (run / "autoencoder").mkdir(parents=True)
    (run / "autoencoder" / "checkpoint.pt").touch()
    lines: list[str] = []
    command.make(order(run, export=False, start=start), lines.append)
    assert stages == [RENDER, *TRAIN]
    assert lines[0] == f"{run} began without --start and goes on without it"


def test_a_start_is_passed_on_with_all_of_the_time(
    ran: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, networks = tmp_path / "run", write_networks(tmp_path / "networks")
    asked = order(run, start=weights.begin(run, networks))
    stages = planning.training_stages(asked, TWO_CORES, ["depth", "detector"])
    run_here(monkeypatch, [each for lanes in stages for lane in lanes for each in lane])
    assert [name for name, _ in ran] == ["autoencoder", "classifier", "diffusion"]
    assert ran[0][1]["start"] == ran[2][1]["start"] == run / "start"
    assert ran[0][1]["minutes"] == 0
    whole = presets.CPU.autoencoder_minutes + presets.CPU.diffusion_minutes
    assert ran[2][1]["minutes"] == pytest.approx(whole)


def test_two_trainings_do_not_share_a_folder(
    stages: list[list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--run", str(tmp_path), "--skip-export"]
    with only_one(tmp_path, "never"):
        assert command.main(arguments) == 1
    assert f"another training runs in {tmp_path}" in capsys.readouterr().out
    assert stages == []
    assert command.main(arguments) == 0


def test_progress_is_that_of_the_network_trained_last(tmp_path: Path) -> None:
    minutes = {"autoencoder": 35.0, "diffusion": 95.0}
    assert last_steps(tmp_path, minutes) == "has just begun"
    written = {
        "autoencoder/log.jsonl": (
            '{"step": 7, "minutes": 1.0, "loss": 2.0}\n{"step": 9, "minutes": 2.25, "loss": 0.5}\n{"st',
            "autoencoder, step 9, 2.2 of 35.0 minutes, loss 0.5000",
        ),
        "prepared/note.json": ('{"shape": [512, 7, 64, 64], "done": 50}', "depth of 50 of 512 rooms"),
        "diffusion/log.jsonl": ("", "diffusion has just begun"),
    }
    for number, (name, (text, expected)) in enumerate(written.items()):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (number, number))
        assert last_steps(tmp_path, minutes) == expected
