"""TensorRT plans: made only where they fit, proved before they are served, refused where they do not fit."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from export.__main__ import main
from export.contract import buckets
from export.digests import sha256
from export.graphs import apart as apart_module
from export.graphs.tensorrt import RTX, Compiler, load_library
from export.graphs.triton_config import PLAN_FILE, QUEUE_DELAY_MICROSECONDS
from export.plans import making, nvidia, serving
from export.plans.engines import Builder, EngineError, NoGpuError, PlanError, built_by
from export.plans.folder import read_plans
from export.plans.key import Machine
from export.plans.making import make_plans
from export.proofs import parity
from export.releases.specs import graph_file, release_sizes, release_specs
from export.spec import ModelSpec
from tests.conftest import RELEASE
from tests.support.fake_engines import REFUSAL, T4, FakeEngines
from tests.support.fake_tensorrt import FakeCuda, FakeTensorRT
from tests.support.releases import read_document, write_document
from tests.support.small_graphs import SIDE, node, spec_of, write_graph
from tests.support.triton_configs import read_config, tensor_types

GRAPHS = ["text_encoder", "vae_decoder"]
"""Of the small release that most tests plan: a graph without axes, and one with them."""


every_corner = parity.corner_cases


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One corner in place of three, and ONNX Runtime without a process of its own, which takes a second to start."""
    monkeypatch.setattr(making, "apart", lambda work, *args: work(*args))
    monkeypatch.setattr(parity, "corner_cases", lambda spec, sizes: every_corner(spec, sizes)[:1])


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The committed release, with two of its graphs."""
    copy = tmp_path / "releases" / "tiny"
    document = read_document(RELEASE)
    document["models"] = {name: document["models"][name] for name in GRAPHS}
    for name in GRAPHS:
        shutil.copytree(RELEASE / "models" / name, copy / "models" / name)
    return write_document(copy, document)


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    return tmp_path / "plans"


def silent(line: str) -> None:
    """A report that nobody reads."""


def next_release(release: Path, changed: str) -> None:
    """Publish another version, in which one graph has other bytes."""
    document = read_document(release)
    old = graph_file(release, document, changed)
    model = onnx.load(old)
    model.producer_name = "another"
    new = old.parent.with_name("2") / old.name
    new.parent.mkdir()
    onnx.save(model, new)
    document["models"][changed] |= {"version": 2, "sha256": {old.name: sha256(new)}}
    write_document(release, document | {"release": "tiny-2"}, 2)


def files(folder: Path) -> dict[str, int]:
    """The inode of every file under ``folder``, links aside."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = Path(base, name)
            found[str(path.relative_to(folder))] = path.lstat().st_ino
    return found


# --- making -----------------------------------------------------------------------------------------------------------


def test_every_graph_gets_a_plan_that_is_proved(
    release: Path, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "corner_cases", every_corner)
    engines, lines = FakeEngines(), list[str]()
    made = make_plans(release, plans, engines, lines.append)
    assert engines.built == GRAPHS
    assert engines.compared == {"text_encoder": [1, 8], "vae_decoder": [1, 8, 1]}
    assert made == read_plans(plans / "tiny")
    assert (made.release, made.machine) == ("tiny-1", T4)
    for name in GRAPHS:
        verdict = made.graphs[name]
        assert verdict.planned
        assert set(verdict.parity.values()) == {0.0}
        assert verdict.key.onnx == read_document(release)["models"][name]["sha256"]
        version = plans / "tiny" / "current" / "models" / name / "1"
        assert (version / PLAN_FILE).stat().st_size == verdict.plan_bytes > 0
        assert (version / "onnx" / "model.onnx").samefile(release / "models" / name / "1" / "model.onnx")
    assert made.graphs["vae_decoder"].key.profiles == {
        "latents": ([1, 4, 12, 12], [1, 4, 16, 16], [8, 4, 24, 24])
    }
    assert lines[0] == "Tesla T4, compute capability 7.5, TensorRT 10.14.1"
    assert "2 of 2 · vae_decoder: differs from ONNX Runtime by image 0: 0% of what is allowed" in lines
    assert not list(plans.glob(".tiny*"))


def test_only_what_changed_is_made_again(release: Path, plans: Path) -> None:
    make_plans(release, plans, FakeEngines(), silent)
    before = files(plans / "tiny" / "built")
    again = FakeEngines()
    make_plans(release, plans, again, silent)
    assert again.built == []
    assert files(plans / "tiny" / "built") == before
    next_release(release, "vae_decoder")
    changed = FakeEngines()
    made = make_plans(release, plans, changed, silent)
    assert (changed.built, made.release) == (["vae_decoder"], "tiny-2")
    models = plans / "tiny" / "current" / "models"
    assert (models / "vae_decoder" / "2" / PLAN_FILE).is_file()
    assert not (models / "vae_decoder" / "1").exists()
    # What nothing needs any more is gone.
    assert len(list((plans / "tiny").glob("repository-*"))) == 1
    assert len(list((plans / "tiny" / "built").iterdir())) == len(GRAPHS)
    newer = FakeEngines(msgspec.structs.replace(T4, tensorrt="10.16.1"))
    make_plans(release, plans, newer, silent)
    assert newer.built == GRAPHS
    forced = FakeEngines(newer.here)
    make_plans(release, plans, forced, silent, again=True)
    assert forced.built == GRAPHS


@pytest.mark.parametrize(
    ("failing", "why"),
    [
        ({"wrong": ["vae_decoder"]}, "vae_decoder.image: differs from ONNX Runtime by "),
        ({"refused": ["vae_decoder"]}, REFUSAL),
    ],
)
def test_a_graph_that_fails_is_served_from_its_onnx_graph(
    failing: dict[str, list[str]], why: str, release: Path, plans: Path
) -> None:
    lines: list[str] = []
    made = make_plans(release, plans, FakeEngines(**failing), lines.append)  # type: ignore[arg-type]
    assert [name for name in GRAPHS if made.graphs[name].planned] == ["text_encoder"]
    failed = made.graphs["vae_decoder"]
    assert failed.why_not.startswith(why)
    assert any("no plan, it is served from its ONNX graph: " + why in line for line in lines)
    folder = plans / "tiny" / "current" / "models" / "vae_decoder"
    assert not (folder / "1" / PLAN_FILE).exists()
    config = read_config(folder / "configs" / "tensorrt.pbtxt")
    assert (config.backend, config.default_model_filename) == ("onnxruntime", "onnx/model.onnx")
    # The verdict is kept, until somebody asks for another.
    later = FakeEngines()
    assert make_plans(release, plans, later, silent) == made
    assert later.built == []
    assert make_plans(release, plans, later, silent, again=True).graphs["vae_decoder"].planned


def killed(release: Path, plans: Path) -> None:
    make_plans(release, plans, FakeEngines(killed_at="vae_decoder"), silent)


def test_a_killed_build_leaves_nothing_half(release: Path, plans: Path) -> None:
    make_plans(release, plans, FakeEngines(), silent)
    served = files(plans / "tiny" / "current" / "models")
    next_release(release, "vae_decoder")
    with pytest.raises(apart_module.ProcessDied):
        apart_module.apart(killed, release, plans)
    # What was served still is, whole; the half plan is where the next call clears away.
    assert files(plans / "tiny" / "current" / "models") == served
    assert len(list((plans / "tiny" / "built").iterdir())) == len(GRAPHS)
    rest = FakeEngines()
    make_plans(release, plans, rest, silent)
    assert rest.built == ["vae_decoder"]
    assert not list(plans.glob(".tiny*"))


def test_a_changed_graph_is_not_compiled(release: Path, plans: Path) -> None:
    graph = graph_file(release, read_document(release), "vae_decoder")
    graph.write_bytes(graph.read_bytes() + b"more")
    with pytest.raises(PlanError, match="is not the file that tiny-1 was published with: restore it"):
        make_plans(release, plans, FakeEngines(), silent)
    graph.unlink()
    with pytest.raises(PlanError, match=r"there is no .*vae_decoder"):
        make_plans(release, plans, FakeEngines(), silent)
    assert not plans.exists()


def test_without_a_gpu_it_is_one_sentence(
    release: Path, plans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the real adapter, with the real CUDA bindings."""
    try:
        nvidia.find_machine()
    except NoGpuError:
        pass
    else:
        pytest.skip("there is a GPU here")
    assert main(["plan", str(release), "--plans", str(plans)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("there is no GPU (cuda")
    assert lines[0].endswith("run this in NVIDIA's Triton container on a machine with a GPU")
    assert not plans.exists()
    assert main(["plan", "/nowhere"]) == 2
    assert capsys.readouterr().err == "there is no release in /nowhere: export it first\n"


@pytest.mark.parametrize(("wrong", "status"), [([], 0), (["vae_decoder"], 1)])
def test_the_command_says_what_became_of_each_graph(
    wrong: list[str],
    status: int,
    release: Path,
    plans: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(nvidia, "NvidiaEngines", lambda: FakeEngines(wrong=wrong))
    assert main(["plan", str(release), "--plans", str(plans)]) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{2 - status} plans for tiny-1: Triton serves them from its next start"
    assert len(lines) == 1 + status
    if wrong:
        assert lines[0].startswith(
            "vae_decoder is served from its ONNX graph: vae_decoder.image: differs from"
        )


# --- serving ----------------------------------------------------------------------------------------------------------


def chosen(release: Path, plans: Path, machine: Machine | None = T4) -> tuple[list[str], str]:
    return serving.options(release, plans, FakeEngines(machine).machine, "`plan`")


def test_plans_that_fit_are_served(release: Path, plans: Path) -> None:
    make_plans(release, plans, FakeEngines(), silent)
    models = plans / "tiny" / "current" / "models"
    served = [f"--model-repository={models}", "--model-config-name=tensorrt"]
    assert chosen(release, plans) == (served, "tiny-1 is served from TensorRT plans")
    make_plans(release, plans, FakeEngines(wrong=["text_encoder"]), silent, again=True)
    sentence = "tiny-1 is served from TensorRT plans, but for text_encoder: plan.json says why"
    assert chosen(release, plans) == (served, sentence)


def another(name: str, value: str) -> Callable[[Path, Path], Machine]:
    return lambda release, plans: msgspec.structs.replace(T4, **{name: value})


def another_key(name: str, value: object) -> Callable[[Path, Path], Machine]:
    def change(release: Path, plans: Path) -> Machine:
        file = plans / "tiny" / "current" / "plan.json"
        content = json.loads(file.read_text())
        content["graphs"]["vae_decoder"]["key"][name] = value
        file.write_text(json.dumps(content))
        return T4

    return change


def another_graph(release: Path, plans: Path) -> Machine:
    next_release(release, "vae_decoder")
    return T4


def half_a_plan(release: Path, plans: Path) -> Machine:
    (plans / "tiny" / "current" / "models" / "vae_decoder" / "1" / PLAN_FILE).write_bytes(b"half")
    return T4


def another_config(release: Path, plans: Path) -> Machine:
    (plans / "tiny" / "current" / "models" / "vae_decoder" / "configs" / "tensorrt.pbtxt").write_text("older")
    return T4


def no_plans(release: Path, plans: Path) -> Machine:
    shutil.rmtree(plans)
    return T4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (another("gpu", "NVIDIA A10"), "built for another gpu (Tesla T4, here NVIDIA A10)"),
        (another("compute_capability", "8.6"), "another compute_capability (7.5, here 8.6)"),
        (another("tensorrt", "10.16.1"), "another tensorrt (10.14.1, here 10.16.1)"),
        (
            another_key("precision", "fp16"),
            "the plan of vae_decoder was built for another precision (fp16, here fp32)",
        ),
        (another_key("profiles", {}), "another profiles (not this release's)"),
        (another_key("settings", "weakly typed"), "another settings (weakly typed, here strongly typed"),
        (another_graph, "the plan of vae_decoder was built for another onnx (not this release's)"),
        (half_a_plan, "vae_decoder/1 are not those that were written there"),
        (another_config, "tensorrt.pbtxt was written by another version of reroom"),
        (no_plans, "there are no plans of tiny in "),
    ],
)
def test_plans_that_do_not_fit_are_refused(
    change: Callable[[Path, Path], Machine], words: str, release: Path, plans: Path
) -> None:
    make_plans(release, plans, FakeEngines(), silent)
    options, sentence = chosen(release, plans, change(release, plans))
    assert options == [f"--model-repository={release}/models"]
    assert sentence.startswith("the ONNX graphs are served, since ")
    assert words in sentence
    assert sentence.endswith(": run `plan`")


def test_without_a_gpu_the_onnx_graphs_are_served(release: Path, plans: Path) -> None:
    make_plans(release, plans, FakeEngines(), silent)
    options, sentence = chosen(release, plans, None)
    assert options == [f"--model-repository={release}/models"]
    assert sentence == "the ONNX graphs are served, since there is no GPU"


# --- configurations ---------------------------------------------------------------------------------------------------


def test_a_plans_configuration_fits_tritons_schema(plans: Path) -> None:
    document = read_document(RELEASE)
    specs, sizes = release_specs(document), release_sizes(document)
    made = make_plans(RELEASE, plans, FakeEngines(refused=["detector"]), silent)
    for name, verdict in made.graphs.items():
        folder, spec = plans / "tiny" / "current" / "models" / name, specs[name]
        onnx_config, config = (
            read_config(folder / file) for file in ("config.pbtxt", "configs/tensorrt.pbtxt")
        )
        for found in (onnx_config, config):
            assert (found.name, found.max_batch_size) == (name, sizes.max_batch_size)
            assert tensor_types(found.input) == {tensor.name: tensor.dtype for tensor in spec.inputs}
            assert tensor_types(found.output) == {tensor.name: tensor.dtype for tensor in spec.outputs}
            assert found.dynamic_batching.max_queue_delay_microseconds == QUEUE_DELAY_MICROSECONDS
            assert [group.count for group in found.instance_group] == [1]
        assert onnx_config.default_model_filename == "onnx/model.onnx"
        assert [warm.batch_size for warm in config.model_warmup] == [1, sizes.max_batch_size]
        for warm in config.model_warmup:
            for tensor in spec.inputs:
                assert warm.inputs[tensor.name].zero_data
                assert list(warm.inputs[tensor.name].dims) == tensor.shape({})
        if not verdict.planned:
            assert (name, config.backend) == ("detector", "onnxruntime")
            assert not config.optimization.cuda.graphs
            continue
        assert (config.platform, config.backend) == ("tensorrt_plan", "tensorrt")
        assert config.default_model_filename == PLAN_FILE
        assert list(config.dynamic_batching.preferred_batch_size) == [sizes.max_batch_size]
        check_cuda_graphs(config, spec, sizes.vae_factor, buckets(sizes))


def check_cuda_graphs(config: Any, spec: ModelSpec, factor: int, wanted: list[tuple[int, int]]) -> None:
    """Each bucket has its graphs, of one sample and of a full batch, and each lies within the profile."""
    assert config.optimization.cuda.graphs
    assert config.max_batch_size > 0  # Triton records none otherwise, and does not say so
    seen = set()
    for graph in config.optimization.cuda.graph_spec:
        shapes = {name: list(shape.dim) for name, shape in graph.input.items()}
        assert set(shapes) == {tensor.name for tensor in spec.inputs}
        for tensor in spec.inputs:
            least, _, most = spec.ranges(tensor)
            shape = [graph.batch_size, *shapes[tensor.name]]
            assert all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))
        if "latents" in shapes:
            height, width = shapes["latents"][1:]
            seen.add((graph.batch_size, height * factor, width * factor))
    if "latents" in {tensor.name for tensor in spec.inputs}:
        assert seen == {(batch, *bucket) for batch in (1, spec.max_batch_size) for bucket in wanted}


# --- the library ------------------------------------------------------------------------------------------------------


class RtxBuilder:
    """TensorRT for RTX, for a T4 that is not here."""

    def build(self, graph: Path, spec: ModelSpec, plan: Path, timing: Path) -> float:
        return built_by(Compiler(RTX, (75,)), graph, spec, plan, timing)


@pytest.mark.parametrize(
    ("good", "bad"), [(RtxBuilder(), RtxBuilder()), (FakeEngines(), FakeEngines(refused=["small"]))]
)
def test_builders_keep_the_contract(good: Builder, bad: Builder, tmp_path: Path) -> None:
    spec, plan, timing = spec_of("FP32", SIDE, 4), tmp_path / PLAN_FILE, tmp_path / "timing.cache"
    timing.write_bytes(b"of another version")
    graph = write_graph(tmp_path / "good.onnx", spec, node("positive", "Relu", "x", "y"))
    assert good.build(graph, spec, plan, timing) > 0
    assert plan.stat().st_size > 0
    assert timing.read_bytes() != b"of another version"
    plan.unlink()
    spec = spec_of("UINT8", SIDE, SIDE)
    graph = write_graph(
        tmp_path / "bad.onnx", spec, node("turn_bytes", "Transpose", "x", "y", perm=[0, 2, 1])
    )
    with pytest.raises(EngineError) as refusal:
        bad.build(graph, spec, plan, timing)
    assert str(refusal.value) == REFUSAL
    assert not plan.exists()


def test_a_plan_is_run_with_its_memory_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, plan, cuda = spec_of("FP32", SIDE, 4), tmp_path / PLAN_FILE, FakeCuda()
    plan.write_bytes(b"a plan")
    monkeypatch.setattr(nvidia, "load_library", lambda name: FakeTensorRT(most=2))
    monkeypatch.setattr(nvidia, "_cuda", lambda: cuda)
    inputs = [spec.example(1), spec.example(2, {"H": 8})]
    for arrays, outputs in zip(inputs, nvidia.run_here(plan, spec, inputs), strict=True):
        assert list(outputs) == ["y"]
        np.testing.assert_array_equal(outputs["y"], np.maximum(arrays["x"], 0))
    for arrays, room, words in (
        (spec.example(3), 1_000_000, r"refuses x\(3, 16, 4\): x: not in the range"),
        (spec.example(1), 100, "CUDA cannot run its plan: cudaErrorMemoryAllocation"),
    ):
        cuda.room = room
        with pytest.raises(EngineError, match=words):
            nvidia.run_here(plan, spec, [arrays])
    assert cuda.held == {}
    plan.write_bytes(b"another")
    with pytest.raises(EngineError, match="cannot load its plan: The engine plan file is not compatible"):
        nvidia.run_here(plan, spec, inputs)


def test_the_real_interfaces_have_the_names_that_run_a_plan() -> None:
    trt, cuda = load_library(RTX), importlib.import_module("cuda.bindings.runtime")
    for fake, real in (
        (FakeCuda, cuda),
        (FakeCuda.cudaMemcpyKind, cuda.cudaMemcpyKind),
        (FakeTensorRT, trt),
        (importlib.import_module("tests.support.fake_tensorrt").Context, trt.IExecutionContext),
    ):
        names = [name for name in vars(fake) if not name.startswith("_")]
        assert names
        assert [name for name in names if not hasattr(real, name)] == []
    assert hasattr(trt.Runtime, "deserialize_cuda_engine")
    assert hasattr(trt.ICudaEngine, "create_execution_context")
    facts = cuda.cudaDeviceProp()
    assert {"name", "major", "minor"} <= set(dir(facts))
    assert isinstance(facts.name, bytes)


def test_the_librarys_version_counts_and_its_packages_must_be_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nvidia, "find_machine", lambda: T4)
    for package, fits in (("10.14.1.48.post1", True), ("10.16.1.11", False)):
        monkeypatch.setattr(
            nvidia, "load_library", lambda name, found=package: SimpleNamespace(__version__=found)
        )
        if fits:
            assert nvidia.machine_to_build_on() == T4
        else:
            with pytest.raises(
                NoGpuError, match=r"of version 10\.16\.1\.11 and its library of 10\.14\.1; req"
            ):
                nvidia.machine_to_build_on()
    monkeypatch.setattr(nvidia, "load_library", load_library)
    with pytest.raises(NoGpuError, match="TensorRT's Python package cannot be imported"):
        nvidia.machine_to_build_on()


def test_the_librarys_version_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As TensorRT for RTX, which is here, writes its own: 1.7.1 is 10701."""
    folder = Path(importlib.import_module("tensorrt_rtx_libs").__file__ or "").parent
    (library,) = folder.glob("libtensorrt_rtx.so.*")
    monkeypatch.setattr(nvidia, "LIBRARIES", (str(library),))
    assert load_library(RTX).__version__.startswith(nvidia.library_version() + ".")
    monkeypatch.setattr(nvidia, "LIBRARIES", ("libnothing.so.10",))
    with pytest.raises(NoGpuError, match=r"there is no libnothing\.so\.10, the library of TensorRT"):
        nvidia.library_version()


def test_a_process_that_dies_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(apart_module.ProcessDied, match="the process of _exit died"):
        apart_module.apart(os._exit, 3)
