"""The benchmarks that compare tiers, small, on this machine's CPU: with a real Triton and with diffusers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu, tier_quality
from dollhouse.evaluate.held_out import MEASURED, held_out_rooms
from measuring.releases import find_release
from measuring.service import Service
from stack.triton import TritonServer

pytestmark = pytest.mark.usefixtures("one_torch_thread")
TINY = find_release("tiny")


def test_a_tier_is_timed_on_both_sides_which_paint_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.versus.PAUSE", 0.0)
    out = tmp_path / "gpu.json"
    asked = "--device cpu --bundle tiny --quality draft --batch 1 --batch 2 --rounds 1 --compile off"
    monkeypatch.setattr("sys.argv", ["gpu", *asked.split(), "--out", str(out)])
    assert gpu.main() == 0
    document = json.loads(out.read_text())
    assert (document["ours_ran_on"], document["gpu"], document["precision"]) == (["cpu"], {}, "fp32")
    assert {"torch", "diffusers", "onnxruntime"} <= set(document["versions"])
    one, two = document["cells"]
    for batch, cell in enumerate((one, two), 1):
        assert (cell["quality"], cell["batch"]) == ("draft", batch)
        assert set(cell["seconds"]) == {"ours", "eager"}
        assert cell["ratio"]["eager"] == pytest.approx(
            cell["all"]["ours"][0] / cell["all"]["eager"][0], rel=0.1
        )
    # Depth of ONNX Runtime and of torch may differ in a level.
    assert 0.0 <= one["max_difference"]["eager"] < 1.0
    assert 0.0 < one["outside_all_graphs"] < 1.0
    assert one["mean_batch"] == 1.0
    assert out.with_suffix(".md").read_text() in capsys.readouterr().out


async def test_the_pictures_of_tiers_are_judged_against_the_usual_ones(triton: TritonServer) -> None:
    kinds, reference = tier_quality.kinds_of(TINY)
    rooms = list(held_out_rooms(MEASURED[:2], TINY.side))
    async with Service(triton.grpc, TINY) as service:
        await tier_quality.restyle(service, rooms, kinds)
    found = tier_quality.judged(kinds, reference)
    assert found["reference"] == "best"
    assert found["kinds"]["best"]["feature_distance"] == 0.0
    for name, each in found["kinds"].items():
        assert each["seconds"] > 0
        assert 0 <= each["style_accuracy"] <= 1
        assert name == "best" or each["feature_distance"] > 0.01, "they are other pictures"
