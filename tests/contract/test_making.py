"""Making graphs in stages: what was made stays, also after a kill, and only what has changed is made again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from export import release as releasing
from export.bundle import Bundle, Lora, Variant, load_bundle
from export.contract import Sizes
from export.graphs import making
from export.graphs.making import Made, Order, fingerprint, make_graph
from export.networks.load import skeleton
from export.networks.modules import graph_networks
from export.proofs.parity import ParityError
from export.release import build_release, sizes_of
from export.releases.folder import documents, live_version
from export.releases.staging import staging_folder
from tests.conftest import RELEASE, ROOT
from tests.support.releases import read_document
from tests.support.reproduction import committed_graph

pytestmark = pytest.mark.filterwarnings("ignore")  # torch announces every fallback of its exporter.

PROGRAM = """
import sys
from pathlib import Path
from export.bundle import load_bundle
from export.graphs.making import Order, make_graph
from export.networks.load import skeleton
from export.release import sizes_of
tiny = load_bundle("tiny")
sizes = sizes_of(tiny, {name: skeleton(tiny, name) for name in tiny.networks})
for graph in ("text_encoder", "detector"):
    make_graph(Order(graph=graph, bundle=tiny, sizes=sizes), Path(sys.argv[1]), print)
"""


@pytest.fixture(scope="module")
def tiny() -> Bundle:
    return load_bundle("tiny")


@pytest.fixture(scope="module")
def sizes(tiny: Bundle) -> Sizes:
    return sizes_of(tiny, {name: skeleton(tiny, name) for name in tiny.networks})


def order(bundle: Bundle, sizes: Sizes, graph: str) -> Order:
    return Order(graph=graph, bundle=bundle, sizes=sizes)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a process that was killed in the middle of its second graph."""
    work = tmp_path_factory.mktemp("work")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(work)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(work.glob("detector-*/order.json")):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(work.glob("detector-*/facts.json"))
    return work


def test_after_a_kill_what_was_made_is_not_made_again(killed: Path, tiny: Bundle, sizes: Sizes) -> None:
    (graph,) = killed.glob("text_encoder-*/model.onnx")
    before, said = graph.stat(), list[str]()
    made, folder = make_graph(order(tiny, sizes, "text_encoder"), killed, said.append)
    assert (said, graph.stat()) == (["text_encoder: made before"], before)
    assert made.sha256 == read_document(RELEASE)["models"]["text_encoder"]["sha256"]
    made, folder = make_graph(order(tiny, sizes, "detector"), killed, said.append)
    assert made.sha256 == read_document(RELEASE)["models"]["detector"]["sha256"]
    assert sorted(file.name for file in folder.iterdir()) == [
        "facts.json",
        "model.onnx",
        "order.json",
        "written.json",
    ]


@pytest.mark.slow
def test_a_stopped_export_says_one_sentence_and_leaves_nothing(tiny: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export", "tiny", "--releases", str(tmp_path / "releases")]
    process = subprocess.Popen(
        [*command, "--work", str(tmp_path / "work")], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == f"1 of {len(graph_networks(tiny))} · depth: torch → ONNX, fp32 …\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.read() == "stopped; the same command goes on from here\n"
    assert process.wait() == 130
    assert list((tmp_path / "releases").iterdir()) == []


def test_a_file_that_is_not_whole_is_made_again(
    killed: Path, tiny: Bundle, sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    shutil.copytree(killed, work)
    (graph,) = work.glob("text_encoder-*/model.onnx")
    graph.write_bytes(graph.read_bytes()[:-1])
    stages = list[str]()
    monkeypatch.setattr(making, "_stage_here", lambda stage, folder: stages.append(stage))
    with contextlib.suppress(AssertionError):  # these stages do nothing
        make_graph(order(tiny, sizes, "text_encoder"), work, print)
    assert stages == ["write", "prove"]


def test_only_what_a_change_touches_is_made_again(tiny: Bundle, sizes: Sizes, tmp_path: Path) -> None:
    graphs = tuple(graph_networks(tiny))
    before = {name: fingerprint(order(tiny, sizes, name)) for name in graphs}
    assert len(set(before.values())) == len(graphs)
    depth = msgspec.structs.replace(tiny.networks["depth"], gain={"": 1.5})
    lora = tmp_path / "lora.safetensors"
    lora.write_bytes(b"a change of these two graphs' networks")
    changes: dict[str, tuple[dict[str, Any], set[str]]] = {
        "another depth model": ({"networks": tiny.networks | {"depth": depth}}, {"depth"}),
        "fp16, but for one": (
            {"precision": "fp16", "fp32_graphs": ["vae_decoder"]},
            set(graphs) - {"vae_decoder"},
        ),
        "words": ({"description": "another"}, set()),
        "a threshold": ({"object_threshold": 0.5}, {"detector"}),
        "a LoRA": (
            {"loras": [Lora(path=str(lora))]},
            {"text_encoder", "denoiser", "denoiser_few_step"},
        ),
        "a LoRA of a variant": (
            {"variants": {"few_step": Variant(loras=[Lora(path=str(lora))])}},
            {"denoiser_few_step"},
        ),
        "tiers": ({"tiers": {}}, set()),
        "defaults": ({"defaults": msgspec.structs.replace(tiny.defaults, steps=9)}, set()),
    }
    for what, (fields, touched) in changes.items():
        bundle = msgspec.structs.replace(tiny, **fields)
        after = {name: fingerprint(order(bundle, sizes, name)) for name in graphs}
        assert {name for name in graphs if after[name] != before[name]} == touched, what


@pytest.mark.slow
def test_a_large_graph_is_made_in_processes_of_its_own(
    tiny: Bundle, sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hand their errors over."""
    monkeypatch.setattr(making, "APART_BYTES", 0)
    made, folder = make_graph(order(tiny, sizes, "text_encoder"), tmp_path, print)
    assert made.sha256 == read_document(RELEASE)["models"]["text_encoder"]["sha256"]
    # The second stage alone: the first has ended.
    (folder / "facts.json").unlink()
    with pytest.raises(FileNotFoundError, match="references"):
        make_graph(order(tiny, sizes, "text_encoder"), tmp_path, print)
    strict = msgspec.structs.replace(tiny, tolerance=0.0)
    with pytest.raises(ParityError, match=r"^text_encoder\.hidden_states: differs from torch by"):
        make_graph(order(strict, sizes, "text_encoder"), tmp_path, print)


def test_too_little_room_is_said_before_anything_is_made(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr("export.release.shutil.disk_usage", lambda _: Usage(100_000_000))
    with pytest.raises(OSError, match=r"the graphs need 0\.5 GB, and 0\.1 GB are free: make room, or name"):
        build_release(tiny, tmp_path / "releases", work=tmp_path / "work")
    assert not list((tmp_path / "releases").iterdir())


def test_what_a_killed_export_left_is_removed_and_two_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".mine" / "models").mkdir(parents=True)
    with staging_folder(tmp_path, "mine") as folder:
        assert list(folder.iterdir()) == []
        with (
            pytest.raises(
                BlockingIOError,
                match=r"another export, fetch or removal of mine in .*: wait for it",
            ),
            staging_folder(tmp_path, "mine"),
        ):
            pass
        with staging_folder(tmp_path, "other"):
            (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Graphs come from the committed release, which takes no time, or from the files named in the returned dict; whole
    pictures are compared in other tests."""
    changed: dict[str, Path] = {}

    def made(order: Order, work: Path, report: Any) -> tuple[Made, Path]:
        return committed_graph(order.graph, changed.get(order.graph))

    monkeypatch.setattr(releasing, "make_graph", made)
    monkeypatch.setattr(releasing, "_prove", lambda *_: None)
    return changed


def test_a_version_has_in_common_what_has_not_changed(
    tiny: Bundle, committed: dict[str, Path], tmp_path: Path
) -> None:
    releases, said = tmp_path / "releases", list[str]()
    target = build_release(tiny, releases, report=said.append)
    assert live_version(target) == 1
    build_release(tiny, releases, report=said.append)
    assert said[-1] == "nothing has changed since version 1, which stays live"
    assert list(documents(target)) == [1]
    # Another default: a version of its own, without a single new graph.
    bundle = msgspec.structs.replace(tiny, defaults=msgspec.structs.replace(tiny.defaults, steps=9))
    build_release(bundle, releases, report=said.append, promoted=True)
    assert live_version(target) == 2
    assert {model["version"] for model in documents(target)[2]["models"].values()} == {1}
    assert not list(target.glob("models/*/2"))
    # Another decoder: it alone is new.
    shutil.copytree(RELEASE / "models/vae_decoder/1", tmp_path / "other")
    with (tmp_path / "other/model.onnx").open("ab") as file:
        file.write(b"\x72\x00")  # an empty member that every reader skips
    committed["vae_decoder"] = tmp_path / "other"
    build_release(bundle, releases, report=said.append, promoted=True)
    versions = {name: model["version"] for name, model in documents(target)[3]["models"].items()}
    assert {name for name, version in versions.items() if version == 3} == {"vae_decoder"}
    assert sorted(path.parent.name for path in target.glob("models/*/3")) == ["vae_decoder"]
    # Back to the first decoder: its old number.
    committed.clear()
    build_release(bundle, releases, report=said.append, promoted=True)
    assert documents(target)[4]["models"]["vae_decoder"]["version"] == 1
    assert [path.name for path in releases.iterdir()] == ["tiny"], "something was left behind"
