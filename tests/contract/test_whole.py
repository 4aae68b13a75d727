"""The whole pipeline against diffusers, and the report of it: both can fail, and say what was measured."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from export.bundle import load_bundle
from export.proofs import whole
from export.proofs.parity import ParityError
from export.proofs.rehearsal import RehearsalError, rehearse
from export.proofs.whole import (
    Pair,
    Whole,
    compare,
    judge,
    one_thread,
    paint_apart,
    paint_with_diffusers,
    prove_whole,
)
from export.releases.folder import REPORTS, live_document
from export.report import Proof, Took, amplification, markdown, write_report
from tests.conftest import RELEASE, ROOT
from tests.support.releases import read_document

BUNDLE = load_bundle("tiny")
FILES = ("cases.npz", "restyle.npz", "diffusers.npz")


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Whole, list[Pair], Path]:
    work = tmp_path_factory.mktemp("whole")
    return *prove_whole(BUNDLE, RELEASE, work), work


def test_the_committed_release_paints_what_diffusers_paints(proved: tuple[Whole, list[Pair], Path]) -> None:
    found, _, _ = proved
    assert found.worst.difference <= found.tolerance == 0.05
    assert min(case.contrast for case in found.cases) > 20, "a flat picture would prove nothing"
    shapes = {(case.height, case.width) for case in found.cases}
    assert shapes == {(112, 128), (128, 128), (96, 192), (96, 160), (192, 96)}
    for shape in shapes:
        usual = [
            case for case in found.cases if (case.height, case.width) == shape and case.quality == "best"
        ]
        assert {case.steps for case in usual} == {1, BUNDLE.defaults.steps}
    others = {case.quality: (case.height, case.width, case.steps) for case in found.cases}
    assert others["standard"] == (128, 128, 5)
    assert others["draft"] == (128, 128, 4)
    assert len({case.seed for case in found.cases}) == len(found.cases)


def test_pictures_are_painted_once(
    proved: tuple[Whole, list[Pair], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _, work = proved
    monkeypatch.setattr(whole, "rehearse", None)
    assert prove_whole(BUNDLE, RELEASE, work)[0] == found
    with pytest.raises(ParityError, match=r"^the \w+ picture of \d+×\d+ with seed .* allowed 1e-09$"):
        prove_whole(BUNDLE, RELEASE, work, tolerance=1e-9)


@pytest.mark.parametrize("change", ["hints", "schedule", "guidance"])
def test_another_pipeline_misses(proved: tuple[Whole, list[Pair], Path], tmp_path: Path, change: str) -> None:
    """Faults that no comparison of single graphs finds."""
    found, pairs, work = proved
    asked, painted, _ = (work / name for name in FILES)
    cases, bundle = pairs_cases(pairs[:1]), BUNDLE
    if change == "hints":
        with np.load(painted) as ours:
            swapped = {"hint_0_depth": ours["hint_0_edges"], "hint_0_edges": ours["hint_0_depth"]}
        np.savez(tmp_path / "swapped.npz", allow_pickle=False, **swapped)
        shown = tmp_path / "swapped.npz"
    else:
        shown = painted
    if change == "schedule":
        schedule = msgspec.structs.replace(bundle.schedule, prediction="v_prediction")
        bundle = msgspec.structs.replace(bundle, schedule=schedule)
    elif change == "guidance":
        cases = [msgspec.structs.replace(case, guidance_scale=7.4) for case in cases]
    answer = tmp_path / "answer.npz"
    with one_thread():
        paint_with_diffusers(bundle, cases, asked, shown, answer)
    (pair,) = compare(pairs_cases(pairs[:1]), asked, painted, answer)
    assert pair.case.difference >= 10 * found.tolerance
    with pytest.raises(ParityError, match="differs from diffusers' by"):
        judge(msgspec.structs.replace(found, cases=[*found.cases, pair.case]))


def pairs_cases(pairs: list[Pair]) -> list[whole.Case]:
    members = whole.Case.__struct_fields__
    return [whole.Case(**{name: getattr(pair.case, name) for name in members}) for pair in pairs]


def test_larger_networks_are_painted_in_a_process_of_their_own(
    proved: tuple[Whole, list[Pair], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, pairs, work = proved
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    asked, painted, answer = (work / name for name in FILES)
    cases = pairs_cases(pairs[:1])
    paint_apart(BUNDLE, cases, tmp_path, asked, painted, tmp_path / "answer.npz")
    with np.load(answer) as here, np.load(tmp_path / "answer.npz") as there:
        assert np.abs(here["pixels_0"] - there["pixels_0"]).max() <= 0.05
        assert np.array_equal(here["ids_0"], there["ids_0"])


def test_a_large_release_paints_few_steps_but_every_corner() -> None:
    shapes = [(384, 640), (448, 512), (512, 512), (384, 768)]
    bundle = msgspec.structs.replace(BUNDLE, native_size=512)
    cases = whole.cases_of(bundle, shapes, small=False)
    assert [(case.height, case.width, case.steps) for case in cases] == [
        *((448, 512, 1), (512, 512, 1), (512, 512, whole.FEW), (384, 768, 1)),
        # Three of the five timesteps of the standard tier's grid: the ends and the middle.
        *((512, 512, 3), (512, 512, whole.FEW)),
    ]
    assert [case.quality for case in cases] == ["best"] * 4 + ["standard", "draft"]


def test_a_case_that_restyle_refuses_is_one_sentence(
    proved: tuple[Whole, list[Pair], Path], tmp_path: Path
) -> None:
    _, _, work = proved
    with np.load(work / FILES[0]) as given:
        case = {name: given[f"{name}_0"] for name in ("request", "photo", "noise")}
    request = json.loads(str(case["request"])) | {"steps": [0]}
    case["request"] = np.array(json.dumps(request))
    np.savez(tmp_path / "cases.npz", allow_pickle=False, **{f"{name}_0": case[name] for name in case})
    with pytest.raises(RehearsalError, match="case 0: steps must be 1 to 100, not 0"):
        rehearse(RELEASE, paint=(tmp_path / "cases.npz", tmp_path / "painted.npz"))


@pytest.fixture(scope="module")
def report(
    proved: tuple[Whole, list[Pair], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Proof, Path]:
    """The document, the proof and the folder of a report."""
    found, pairs, _ = proved
    document = read_document(RELEASE) | {
        "licences": [
            {"name": "Free|Licence", "url": "https://example.org/free", "networks": ["unet", "vae"]},
            {
                "name": "Other",
                "url": "https://example.org/other",
                "networks": ["depth"],
                "restrictions": "A & B",
            },
        ],
        "modified": "All files were changed: exported to ONNX.",
    }
    took = {
        name: Took(seconds=12.0, peak_bytes=500_000_000, allowed=dict.fromkeys(facts["parity"], "2e-05"))
        for name, facts in document["models"].items()
    }
    proof = Proof(whole=found, graphs=took)
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, BUNDLE.description, document, proof, pairs)
    assert {file.name for file in folder.iterdir()} == set(REPORTS)
    return document, proof, folder


def rows_of(text: str, title: str) -> list[list[str]]:
    """The body of the table under a heading of report.md."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def check_report(text: str, document: dict[str, Any], proof: Proof) -> None:
    """What report.md says is what the document and the proof say, to the digits that it has."""
    graphs = rows_of(text, "Graphs")
    assert [row[0] for row in graphs] == list(document["models"])
    for row, facts in zip(graphs, document["models"].values(), strict=True):
        assert float(row[3].removesuffix(" MB")) == pytest.approx(facts["bytes"] / 1e6, abs=0.06)
        assert float(row[5]) == pytest.approx(max(facts["parity"].values()), rel=0.06)
        assert facts["parity"][row[4]] == max(facts["parity"].values())
    cases = rows_of(text, "Whole pictures")
    for row, case in zip(cases, proof.whole.cases, strict=True):
        assert row[0] == f"{case.width} × {case.height}"
        if case.quality:
            assert row.pop(1) == case.quality
        assert [int(row[1]), int(row[2]), float(row[3])] == [case.seed, case.steps, case.guidance_scale]
        assert float(row[4]) == pytest.approx(case.difference, rel=0.06)
    (stated,) = re.findall(r"differ by (\S+) at most", text)
    assert float(stated) == pytest.approx(max(case.difference for case in proof.whole.cases), rel=0.06)
    assert dict(rows_of(text, "Tools")) == document["tools"]
    assert {row[0]: row[1] for row in rows_of(text, "Sources")} == document["sources"]


def test_the_report_says_what_was_measured(report: tuple[dict[str, Any], Proof, Path]) -> None:
    document, proof, folder = report
    text = (folder / "report.md").read_text()
    check_report(text, document, proof)
    assert msgspec.json.decode((folder / "proof.json").read_bytes(), type=Proof) == proof
    assert rows_of(text, "Licences") == [
        ["Free\\|Licence", "https://example.org/free", "none named"],
        ["Other", "https://example.org/other", "A & B"],
    ]
    assert {row[0]: row[2] for row in rows_of(text, "Sources")}["detector"] == "not stated"


@pytest.mark.parametrize("name", ["tiny", "dollhouse"])
def test_a_committed_report_says_what_its_release_does(name: str) -> None:
    release = ROOT / "releases" / name
    folder = live_document(release).parent
    proof = msgspec.json.decode((folder / "proof.json").read_bytes(), type=Proof)
    judge(proof.whole)
    document, text = read_document(release), (folder / "report.md").read_text()
    check_report(text, document, proof)
    assert text == markdown(load_bundle(name).description, document, proof)


@pytest.mark.parametrize("wrong", ["parity", "bytes", "case", "worst"])
def test_a_wrong_number_in_the_report_is_seen(report: tuple[dict[str, Any], Proof, Path], wrong: str) -> None:
    document, proof, folder = report
    text = (folder / "report.md").read_text()
    places = {
        "parity": r"(?<=\| x0 \| )\S+",
        "bytes": r"(?<=\| fp32 \| )\S+(?= MB)",
        "case": r"(?<=\| 7.5 \| )\S+",
        "worst": r"(?<=differ by )\S+",
    }
    changed, count = re.subn(places[wrong], lambda found: str(1.2 * float(found[0]) + 0.2), text, count=1)
    assert count == 1
    with pytest.raises(AssertionError):
        check_report(changed, document, proof)


def test_the_page_stands_alone(report: tuple[dict[str, Any], Proof, Path], proved: Any) -> None:
    _, _, folder = report
    text = (folder / "report.html").read_text()
    assert not re.findall(r"<script|<link|src=\"(?!data:)|url\(", text)
    assert "Free|Licence" in text
    assert "A &amp; B" in text
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(data)))
        for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    ]
    shapes = list(dict.fromkeys((pair.case.width, pair.case.height) for pair in proved[1]))[:3]
    assert [picture.size for picture in pictures] == [shape for shape in shapes for _ in range(6)]
    theirs, ours = (np.asarray(pictures[index]).astype(int) for index in (3, 4))
    assert np.abs(theirs - ours).max() <= 8, "they are alike, but for JPEG"
    assert np.asarray(pictures[5]).max() >= 20, "the difference is made visible"


@pytest.mark.parametrize(
    ("largest", "factor"), [(0.0, 1), (200.0, 1), (30.0, 5), (20.0, 10), (0.003, 50_000)]
)
def test_differences_are_made_visible(largest: float, factor: int) -> None:
    assert amplification(largest) == factor
    assert largest * factor <= 255
