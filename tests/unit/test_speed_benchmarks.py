"""The arithmetic of the benchmarks of speed, and the inputs that perf_analyzer gets."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks import overhead, perf, perf_program, reuse
from benchmarks.attack import giant_webp
from benchmarks.batching import Level, Round, gain
from benchmarks.end_to_end import Comparison
from benchmarks.perf_inputs import REQUESTS, UnfitInputs, check, document, inputs_of, specs, write_inputs
from benchmarks.perf_program import PerfError, find_perf_analyzer
from benchmarks.stubs import Tally, shared
from export.bundle import BundleError, load_bundle
from export.spec import DTYPES, Axis, ModelSpec, Tensor
from measuring import releases, report
from measuring.counters import Counters, difference, parse
from measuring.figures import percentile
from measuring.gates import Gate
from measuring.releases import Release, find_release, ready_release
from reroom import JobStatus
from tests.conftest import ROOT
from tests.support.releases import write_document

TINY = find_release("tiny")


def decoded(entry: dict[str, Any], tensor: Tensor) -> NDArray[Any]:
    content, dtype = entry["content"], DTYPES[tensor.dtype]
    if isinstance(content, dict):
        return np.frombuffer(base64.b64decode(content["b64"]), dtype).reshape(entry["shape"])
    return np.array(content, dtype).reshape(entry["shape"])


@pytest.mark.parametrize("bundle", ["tiny", "dollhouse"])
def test_every_model_has_inputs_that_its_spec_allows(bundle: str, tmp_path: Path) -> None:
    release = find_release(bundle)
    files = write_inputs(release, tmp_path)
    for name, spec in specs(release).items():
        inputs = inputs_of(spec, release)
        (sent,) = json.loads(files[name].read_text())["data"]
        assert sent.keys() == inputs.keys()
        for tensor in spec.inputs:
            if tensor.name in sent and tensor.dtype != "STRING":
                np.testing.assert_array_equal(decoded(sent[tensor.name], tensor), inputs[tensor.name])


def test_a_second_style_is_spared_what_was_seen_in_the_photo() -> None:
    rounds = [{"first": 2.0, "second": 1.0, "off": 1.9}, {"first": 2.0, "second": 1.2, "off": 2.0}]
    found = reuse.ratios(rounds)
    assert found == pytest.approx(
        {
            "second_over_first": 0.55,
            "second_over_off": (1 / 1.9 + 0.6) / 2,
            "first_over_off": (2 / 1.9 + 1) / 2,
        }
    )
    asked = reuse.requests_of(TINY, 0)
    assert asked["first"].photo_id == asked["second"].photo_id
    assert asked["first"].prompt != asked["second"].prompt == asked["off"].prompt
    assert asked["off"].photo_id is None
    assert reuse.requests_of(TINY, 2)["first"].prompt == asked["second"].prompt


def test_every_model_of_the_repository_is_measured() -> None:
    folders = [ROOT / "model_repository", TINY.folder / "models"]
    served = {path.parent.name for folder in folders for path in folder.glob("*/config.pbtxt")}
    assert served == set(specs(TINY))
    # Only releases whose ControlNets are shown it have the last; a variant is asked as the denoiser is.
    assert served | {"segments"} == {*REQUESTS, "denoiser_few_step"}


def test_a_new_model_wants_a_request() -> None:
    with pytest.raises(UnfitInputs, match="upscaler: no request is known"):
        inputs_of(replace(specs(TINY)["depth"], name="upscaler"), TINY)


H, W = Axis("H", 4), Axis("W", 4)
IMAGE, MASK = Tensor("image", "UINT8", (H, W, 3)), Tensor("mask", "UINT8", (H, W))
SPEC = ModelSpec("both", "python", (IMAGE, MASK, Tensor("scale", "FP32", (2,), optional=True)), ())
GOOD = {"image": np.zeros((5, 6, 3), np.uint8), "mask": np.zeros((5, 6), np.uint8)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image": np.zeros((5, 6, 3), np.float32)}, "both: image is float32, not UINT8"),
        ({"image": np.zeros((5, 6, 4), np.uint8)}, r"both: image is \[5, 6, 4\], not \[-1, -1, 3\]"),
        ({"mask": np.zeros((6, 5), np.uint8)}, r"both: mask is \[6, 5\], not \[5, 6\]"),
        ({"scale": np.zeros(3, np.float32)}, r"both: scale is \[3\], not \[2\]"),
        ({"depth": np.zeros((5, 6), np.uint8)}, "both: there is no input depth"),
        ({"mask": None}, "both: the input mask is missing"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(changes: dict[str, Any], sentence: str) -> None:
    check(SPEC, GOOD)
    inputs = {name: array for name, array in {**GOOD, **changes}.items() if array is not None}
    with pytest.raises(UnfitInputs, match=sentence):
        check(SPEC, inputs)


def test_words_stay_words() -> None:
    (sent,) = document({"prompt": np.array([b"ein Stuhl, gr\xc3\xbcn"], np.object_)})["data"]
    assert sent["prompt"] == {"content": ["ein Stuhl, grün"], "shape": [1]}


def test_a_stream_is_timed_to_its_last_response() -> None:
    requests = [
        {"timestamp": 1_000_000_000, "response_timestamps": [1_100_000_000, 1_500_000_000]},
        {"timestamp": 500_000_000, "response_timestamps": [900_000_000]},
    ]
    timed = perf.read_profile(json.dumps({"experiments": [{"requests": requests}]}))
    assert timed.latencies == pytest.approx([0.4, 0.5])
    assert timed.first_latencies == pytest.approx([0.4, 0.1])
    assert timed.throughput == pytest.approx(2 / 1.0)


def test_a_request_without_response_is_an_error() -> None:
    requests = [{"timestamp": 1, "response_timestamps": []}]
    with pytest.raises(PerfError, match="without a response"):
        perf.read_profile(json.dumps({"experiments": [{"requests": requests}]}))


def test_without_perf_analyzer_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_program, "PERF", tmp_path)
    with pytest.raises(PerfError, match=r"run `make \.perf`"):
        find_perf_analyzer(None, tmp_path)
    with pytest.raises(PerfError, match=r"^there is no program .*/none$"):
        find_perf_analyzer(tmp_path / "none", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "perf_analyzer").touch()
    monkeypatch.setattr(perf_program, "ENVIRONMENT", tmp_path / "nothing")
    with pytest.raises(PerfError, match=r"needs libb64\.so\.0d.* run `make \.triton`"):
        find_perf_analyzer(None, tmp_path)


def duration(milliseconds: int, count: int) -> dict[str, str]:
    return {"count": str(count), "ns": str(milliseconds * 1_000_000)}


def test_tritons_statistics_are_summed_over_versions_and_subtracted() -> None:
    spent = {"success": duration(900, 8), "queue": duration(100, 8), "compute_infer": duration(700, 8)}
    one = {"name": "denoiser", "inference_count": "8", "execution_count": "4", "inference_stats": spent}
    before = parse({"model_stats": [one, {"name": "depth"}]})
    after = parse({"model_stats": [one, one, {"name": "depth"}]})
    assert before["denoiser"] == Counters(8, 8, 4, 0.9, 0.1, 0.0, 0.7, 0.0)
    assert before["depth"] == Counters()
    change = difference(after, before)
    assert list(change) == ["denoiser"], "depth was at rest"
    assert (change["denoiser"].requests, change["denoiser"].batch) == (8, 2.0)
    assert change["denoiser"].queue == pytest.approx(0.1)


def test_shares_of_a_restyle() -> None:
    models = {
        "denoiser": Counters(4, 4, 4, 0.62, 0.02, 0.01, 0.58, 0.01),
        "depth": Counters(2, 2, 2, 0.1, 0.0, 0.0, 0.1, 0.0),
        "edges": Counters(2, 2, 2, 0.04, 0.0, 0.0, 0.04, 0.0),
        "vae_decoder": Counters(1, 1, 1, 0.2, 0.0, 0.0, 0.2, 0.0),
        "restyle": Counters(1, 1, 1, 1.0, 0.0, 0.0, 1.0, 0.0),
    }
    shares = overhead.shares(1.0, {"transforming": 0.65, "finalizing": 0.3}, models)
    assert shares["outside_denoiser_share"] == pytest.approx(0.4)
    # edges run beside depth, which is longer: denoiser, depth and decoder count.
    assert shares["loop_overhead_share"] == pytest.approx(1 - 0.6 - 0.1 - 0.2)
    assert shares["transport_share"] == pytest.approx(0.05)
    assert shares["model_calls"] == {"denoiser": 4, "depth": 2, "edges": 2, "vae_decoder": 1}


def level(*rounds: tuple[list[float], float]) -> Level:
    return Level([Round(latencies, seconds, 1.0, Counters(4, 4, 2)) for latencies, seconds in rounds])


def test_the_gain_is_the_median_of_the_rounds() -> None:
    alone = level(([1.0] * 10, 10.0), ([2.0] * 5, 10.0), ([1.0] * 10, 10.0))
    together = level(([2.0] * 14, 10.0), ([4.0] * 6, 10.0), ([1.0] * 30, 10.0))
    assert gain(alone, together) == pytest.approx(1.4)
    figures = together.document()
    assert figures["throughput"] == pytest.approx(1.4)
    assert figures["mean_batch"] == 2.0
    assert figures["jobs"] == 50
    assert figures["cores_busy"] == pytest.approx(0.1)


def test_percentiles() -> None:
    assert percentile([3.0], 95) == 3.0
    assert percentile([float(value) for value in range(101)], 95) == pytest.approx(95.0)
    assert percentile([1.0, 2.0], 50) == pytest.approx(1.5)


def test_the_ratio_is_that_of_pairs_and_the_best_threads_are_the_fastest() -> None:
    found = Comparison([1.0, 2.0, 1.0], {2: [4.0, 4.0, 2.0], 1: [2.0, 2.0, 3.0]})
    assert found.ratio(2) == pytest.approx(0.5)
    assert found.best_threads == 1


@pytest.mark.parametrize(("value", "mark"), [(0.5, "✓"), (0.7, "✗"), (float("nan"), "✗")])
def test_goals_are_marked(value: float, mark: str) -> None:
    assert mark in report.reached(Gate(at_most=0.6), value)


def test_a_bundle_without_release_is_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "ROOT", tmp_path)
    started: list[list[str]] = []

    def export(command: list[str], **_: Any) -> SimpleNamespace:
        started.append(command)
        write_document(Path(command[-1]) / "sd15_quarter", {"precision": "fp32"})
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr("measuring.releases.subprocess.run", export)
    first, second = ready_release("sd15_quarter"), ready_release("sd15_quarter")
    assert first == second
    assert first.folder.is_relative_to(tmp_path / ".run")
    assert len(started) == 1
    assert ready_release("sd15_quarter", "fp32") == first, "the bundle's own precision"
    assert ready_release("sd15_quarter", "fp16") != first
    assert [command[3:-2] for command in started] == [
        ["sd15_quarter"],
        ["sd15_quarter", "--precision", "fp16"],
    ]
    failed = SimpleNamespace(returncode=1, stderr="Traceback\nno room\n")
    monkeypatch.setattr("measuring.releases.subprocess.run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match="tiny was not exported: no room"):
        ready_release("tiny")


def test_a_bundle_that_is_not_there_is_named() -> None:
    with pytest.raises(BundleError, match="there is no bundle 'sd99'"):
        ready_release("sd99")


def test_what_is_committed_is_not_exported() -> None:
    assert ready_release("tiny") == ready_release("tiny", "fp32") == Release(ROOT / "releases" / "tiny")


def test_the_timing_bundle_has_the_structure_of_stable_diffusion() -> None:
    quarter = load_bundle("sd15_quarter")
    unet = quarter.networks["unet"].config
    assert unet is not None
    assert unet["block_out_channels"] == [width // 4 for width in (320, 640, 1280, 1280)]
    assert (quarter.native_size, quarter.defaults.steps, quarter.defaults.guidance_scale) == (512, 20, 7.5)


def test_a_giant_picture_of_a_few_bytes_is_one() -> None:
    data = giant_webp(300)
    with Image.open(io.BytesIO(data), formats=("WEBP",)) as picture:
        assert (picture.size, picture.getcolors()) == ((300, 300), [(90_000, (120, 60, 90))])
    assert len(data) < 40


def test_a_job_that_failed_or_took_an_attempt_counts() -> None:
    jobs = [
        JobStatus(job_id="a", status="completed", attempts=1),
        JobStatus(job_id="b", status="completed", attempts=3),
        JobStatus(job_id="c", status="failed", attempts=1, message="the model is dead"),
    ]
    found = Tally(recovery=[4.0, 6.0], jobs=jobs, seconds=[1.0, 2.0, 3.0]).document()
    assert (found["jobs"], found["failed_jobs"], found["attempts_spent"]) == (3, 1, 2)
    assert found["failures"] == ["failed: the model is dead"]
    assert (found["recovery_max_s"], found["down_p95_s"]) == (6.0, None)
    assert (shared(52, 8), sum(shared(3, 8))) == ([7, 7, 7, 7, 6, 6, 6, 6], 3)
