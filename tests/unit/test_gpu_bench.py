"""The benchmark for those who have a GPU: what it reads of a card, its arithmetic, its table, and what it says when
something is missing. A small one runs for real on the CPU, in ``tests/integration/test_gpu_bench.py``."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import RESULTS, gpu, gpu_table, tiers
from benchmarks.sides import Kind
from benchmarks.tier_quality import distance, kinds_of, losses
from benchmarks.versus import Cells, cell, differences, measure, ratios, together
from measuring import report
from measuring.gpu import Gpu, Reading, summary, watched
from measuring.releases import find_release
from stack.device import CUDA_PROVIDER


class PretendNvml:
    """The module pynvml on a machine with a T4, whose memory clock cannot be read."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
    nvmlClocksThrottleReasonSwPowerCap = 4
    nvmlClocksThrottleReasonSwThermalSlowdown = 32
    nvmlClocksThrottleReasonHwThermalSlowdown = 64
    nvmlClocksThrottleReasonHwPowerBrakeSlowdown = 128

    def __init__(self) -> None:
        self.readings = 0
        self.read_twice = threading.Event()

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"card {index}"

    def nvmlDeviceGetName(self, card: str) -> str:
        return "Tesla T4"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "590.48"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 13010

    def nvmlDeviceGetMemoryInfo(self, card: str) -> Any:
        return SimpleNamespace(total=16_000_000_000, used=4_000_000_000)

    def nvmlDeviceGetEnforcedPowerLimit(self, card: str) -> int:
        return 70_000

    def nvmlDeviceGetPowerUsage(self, card: str) -> int:
        self.readings += 1
        if self.readings == 2:
            self.read_twice.set()
        return 60_000 + 1000 * self.readings

    def nvmlDeviceGetMaxClockInfo(self, card: str, clock: int) -> int:
        return self.nvmlDeviceGetClockInfo(card, clock) + 600

    def nvmlDeviceGetClockInfo(self, card: str, clock: int) -> int:
        if clock == self.NVML_CLOCK_MEM:
            raise self.NVMLError("Not Supported")
        return 990

    def nvmlDeviceGetTemperature(self, card: str, sensor: int) -> int:
        return 71

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, card: str) -> int:
        return self.nvmlClocksThrottleReasonSwPowerCap | 1


def test_a_card_is_described_and_read_and_what_it_does_not_tell_is_left_out() -> None:
    nvml = PretendNvml()
    card = Gpu(nvml)
    assert card.described == {
        "name": "Tesla T4",
        "driver": "590.48",
        "cuda_of_driver": "13.1",
        "memory_mb": 16_000.0,
        "power_limit_watts": 70.0,
        "sm_mhz_at_most": 1590,
        "memory_mhz_at_most": None,
    }
    readings: list[Reading] = []
    with watched(card, readings):
        assert nvml.read_twice.wait(10)
    assert len(readings) >= 2
    told = summary(readings[:2])
    assert (told["watts"], told["watts_at_most"]) == (61.5, 62.0)
    assert (told["sm_mhz"], told["celsius"], told["memory_mb"]) == (990, 71, 4000.0)
    assert told["slowed_by"] == ["power"]
    assert "memory_mhz" not in told


def test_pretended_questions_are_those_of_the_real_library() -> None:
    import pynvml

    questions = [name for name in vars(PretendNvml) if name.startswith(("nvml", "NVML"))]
    assert len(questions) > 15
    assert [name for name in questions if not hasattr(pynvml, name)] == []


def test_without_a_card_nothing_is_read() -> None:
    nvml = PretendNvml()

    def nothing() -> None:
        raise nvml.NVMLError("Driver Not Loaded")

    nvml.nvmlInit = nothing  # type: ignore[method-assign]
    assert Gpu.found(nvml) is None
    readings: list[Reading] = []
    with watched(None, readings):
        pass
    assert summary(readings) == {}


class PretendSide:
    """Takes ``seconds`` for a picture, says so and does not wait."""

    def __init__(self, name: str, seconds: list[float], level: float = 10.0, fails_at: int = 0) -> None:
        self.name, self._seconds, self._level, self._fails_at = name, iter(seconds), level, fails_at

    def exact(self, kind: Kind) -> NDArray[np.float64]:
        return np.full((2, 2, 3), self._level)

    def paint(self, kind: Kind, batch: int) -> float:
        if batch == self._fails_at:
            raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GB")
        return next(self._seconds)

    def facts(self) -> dict[str, Any]:
        return {"mean_batch": 1.5} if self.name == "ours" else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def test_sides_take_turns_and_one_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.versus.PAUSE", 0.0)
    # Of the second cell the first is the warm-up.
    ours = PretendSide("ours", [1.0, 2.0, 9.0, 3.0, 3.0])
    eager = PretendSide("eager", [2.0, 8.0], level=10.5, fails_at=2)
    said: list[str] = []
    cells = measure([ours, eager], ["draft"], [1, 2], rounds=2, say=said.append)
    assert cells["draft", 1] == {
        "seconds": {"ours": 1.5, "eager": 5.0},
        "ratio": {"eager": (0.5 + 0.25) / 2},
        "all": {"ours": [1.0, 2.0], "eager": [2.0, 8.0]},
        "mean_batch": 1.5,
        "max_difference": {"eager": 0.5},
    }
    assert cells["draft", 2]["seconds"] == {"ours": 1.5}, "of a picture, not of a batch"
    assert cells["draft", 2]["failed"] == {"eager": "CUDA out of memory."}
    assert len(said) == 4


def test_sides_that_were_measured_apart_are_put_together() -> None:
    ours: Cells = {("best", 1): {**cell({"ours": ([1.0, 3.0], [])}, 1), "mean_batch": 1.0}}
    theirs: Cells = {("best", 1): cell({"eager": ([2.0, 4.0], [])}, 1)}
    found = together([ours, theirs])["best", 1]
    assert found["seconds"] == {"ours": 2.0, "eager": 3.0}
    assert found["ratio"] == {"eager": 0.625}
    assert found["mean_batch"] == 1.0


def test_what_is_no_number_is_another_picture() -> None:
    black = np.full((2, 2, 3), np.nan)
    assert differences({"ours": np.zeros((2, 2, 3)), "eager": black}) == {"eager": np.inf}
    assert differences({"eager": black}) == {}
    assert ratios({"eager": [1.0]}) == {}


DOCUMENT: dict[str, Any] = {
    **{
        "date": "2026-12-01",
        "cpu": "a CPU",
        "cores": 8,
        "load_average": 0.5,
        "release": "sd15-1",
        "side": 512,
    },
    **{"device": "cuda", "precision": "fp16", "apart": False, "rounds": 5, "versions": {"torch": "2.13.0"}},
    "gpu": Gpu(PretendNvml()).described,
    "cells": [
        {
            **{
                "quality": "draft",
                "batch": 1,
                "seconds": {"ours": 0.5, "eager": 1.0},
                "ratio": {"eager": 0.5},
            },
            **{"failed": {"compiled": "no compiler"}, "gpu": {"ours": {"sm_mhz": 990.0, "watts": 69.6}}},
            "max_difference": {"eager": 3.0},
        }
    ],
}


def test_the_table_has_what_was_measured() -> None:
    rows = gpu_table.markdown(DOCUMENT).splitlines()
    assert rows[2] == "| draft | 1 | 0.500 | 1.000 | failed | 0.50 |  | 990 MHz | 70 W |"
    about = "\n".join(rows[3:])
    assert "Tesla T4, driver 590.48, up to 70 W and 1590 MHz; load average 0.5" in about
    assert "fp16, 512×512 pixels, two ControlNets" in about
    assert "Nothing was locked" in about
    without = gpu_table.markdown({**DOCUMENT, "gpu": {}})
    assert "no GPU: 8 cores of a CPU" in without


def test_the_pages_show_the_table_of_the_results() -> None:
    table = gpu_table.markdown(report.read(RESULTS / "gpu.json"))
    for page in gpu_table.PAGES:
        text = page.read_text()
        assert gpu_table.shown(text, table) == text, "run `python -m benchmarks.gpu --pages`"
    empty = gpu_table.markdown({})
    assert empty.count("not run yet") == 3 * 3 * 3
    with pytest.raises(ValueError, match="a page without the lines"):
        gpu_table.shown("nothing", empty)


def test_pictures_that_differ_make_the_times_useless() -> None:
    assert gpu.wrong(DOCUMENT) == []
    cells = [{**DOCUMENT["cells"][0], "failed": {"ours": "no memory"}}]
    found = gpu.wrong({**DOCUMENT, "device": "cpu", "precision": "fp32", "cells": cells})
    assert found == [
        "draft, batch 1: ours failed: no memory",
        "draft, batch 1: our picture differs from diffusers' (eager) by 3.0 levels of 255, more than 1",
    ]


def said_by(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a run that measures nothing."""
    monkeypatch.setattr("sys.argv", ["gpu", *arguments])
    assert gpu.main() == gpu.MISSING
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def test_what_is_missing_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--environment", str(tmp_path), "--out", str(tmp_path / "gpu.json"))
    line = said_by(monkeypatch, capsys, *arguments)
    assert line.startswith(
        f"nothing was measured: the onnxruntime in {tmp_path} is the one without CUDA: install"
    )
    line = said_by(monkeypatch, capsys, *arguments, "--device", "cpu", "--bundle", "sd99")
    assert line.startswith("nothing was measured: there is no bundle 'sd99'")
    provider = tmp_path / CUDA_PROVIDER.replace("*", ".11")
    provider.parent.mkdir(parents=True)
    provider.touch()
    monkeypatch.setattr("stack.device.cuda_fault", lambda environment: "")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = said_by(monkeypatch, capsys, *arguments)
    assert line.startswith("nothing was measured: diffusers cannot run on the GPU, since the torch")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)

    def refused(*_: Any) -> None:
        raise RuntimeError("sd15 was not exported: the hub cannot be reached")

    monkeypatch.setattr("benchmarks.gpu.ready_release", refused)
    line = said_by(monkeypatch, capsys, *arguments)
    assert line == "nothing was measured: sd15 was not exported: the hub cannot be reached"
    assert not (tmp_path / "gpu.json").exists()


def test_a_kind_that_loses_more_than_three_points_is_named() -> None:
    figures = {
        "best": {"style_accuracy": 0.96, "depth_rank": 0.93, "edge_f1": 0.73},
        "standard": {"style_accuracy": 0.94, "depth_rank": 0.95, "edge_f1": 0.71},
        "draft": {"style_accuracy": 0.90, "depth_rank": 0.93, "edge_f1": 0.71},
    }
    assert losses(figures, "best") == {"draft": {"style_accuracy": pytest.approx(6.0)}}


def test_kinds_are_the_tiers_or_numbers_of_steps() -> None:
    kinds, reference = kinds_of(find_release("tiny"))
    assert ({*kinds}, reference) == ({"draft", "standard", "best"}, "best")
    kinds, reference = kinds_of(find_release("dollhouse"))
    assert reference == "1 step"
    assert {name: kind.wishes["steps"] for name, kind in kinds.items()} == {
        **{"1 step": 5, "2 steps": 10, "3 steps": 15, "4 steps": 20}
    }


def test_the_distance_of_features_is_measured_in_rooms() -> None:
    reference = np.repeat(np.array([[0.0], [2.0], [4.0]], np.float32), 5, axis=0)
    assert distance(reference, reference, 3) == 0.0
    # The next rooms are 4, 2 and 2 away.
    assert distance(reference + 1.0, reference, 3) == pytest.approx(1.0 / (8 / 3))


def test_goals_of_seconds_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    draft = {"outside_all_graphs": 0.06, "max_difference": {"eager": 2.0}}
    document = {"seconds": {"qualities": {"draft": draft}}, "counted": {"draft": {"tflop": 7.0}}}
    assert tiers.missed(document, ["seconds"]) == [
        "draft spends 6.0% outside all graphs, want ≤ 0.05",
        "draft is another picture than diffusers': 2.00 levels of 255 apart",
    ]
    assert tiers.missed(document, ["counted"]) == ["draft takes 7.00 TFLOP, want ≤ 6"]
