"""The model card: written from facts, and the committed one is what they say."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dollhouse.data.dataset import SPLITS, RenderSettings, make_dataset
from dollhouse.evaluate import facts
from dollhouse.evaluate.card import NAME, RELEASE, count_parameters, main, read_sources, write_card
from dollhouse.evaluate.facts import FactsError
from dollhouse.evaluate.marks import read_marks
from dollhouse.train.weights import digests
from export.releases.folder import live_document, live_version, make_live
from tests.support.releases import read_document
from tests.support.small_networks import write_networks

TINY = Path(__file__).parents[2] / "releases" / "tiny"


def test_the_committed_card_is_what_the_facts_say() -> None:
    """After an export, a benchmark or a change of words: `python -m dollhouse.evaluate.card`."""
    assert live_version(RELEASE), "releases/dollhouse is missing: make it with `make dollhouse`"
    sources = read_sources()
    assert (RELEASE / NAME).read_text() == write_card(sources)
    assert sources.training is not None, "how it was trained is not known"
    # Every gate stands in the card with words.
    assert [name for name in sources.gates if f"| `{name}` |" not in (RELEASE / NAME).read_text()] == []
    assert_names_its_graphs(RELEASE)


def assert_names_its_graphs(release: Path) -> None:
    text, models = (release / NAME).read_text(), read_document(release)["models"]
    named = dict(re.findall(r"^\| `(models/\S+)` \| `([0-9a-f]{64})` \|$", text, re.M))
    folders = [Path(f"models/{name}/{model['version']}") for name, model in models.items()]
    files = [folder / file.name for folder in folders for file in (release / folder).iterdir()]
    assert named == {str(file): hashlib.sha256((release / file).read_bytes()).hexdigest() for file in files}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release that a card can be written into."""
    return Path(shutil.copytree(TINY, tmp_path / "release"))


def test_a_card_of_a_release_alone_says_what_it_does_not_know(release: Path, tmp_path: Path) -> None:
    assert main(["--release", str(release)]) == 0
    assert_names_its_graphs(release)
    text = (release / NAME).read_text()
    assert text.startswith("<!-- Written by")
    assert "# Model card: tiny-1\n" in text
    assert "Time and machine were not recorded." in text
    assert "Not measured yet" in text
    assert "$" not in text
    sizes = [file.stat().st_size for file in release.rglob("model.onnx")]
    assert f"| all |  | 1.14 M | {sum(sizes) / 1e6:.1f} |" in text


def test_a_graph_that_the_card_has_no_words_for_is_an_error(release: Path) -> None:
    sources = read_sources(release)
    models = sources.document["models"]
    odd = replace(sources, document={**sources.document, "models": {**models, "upscaler": models["depth"]}})
    with pytest.raises(ValueError, match="upscaler"):
        write_card(odd)


def test_no_release_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--release", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"there is no release in {tmp_path}: export it first\n"


def test_parameters_are_counted_however_they_are_stored(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "w": np.zeros((6, 4), np.float32),
        "w16": np.zeros((3, 5), np.float16),
        "shape": np.zeros(7, np.int64),
        "one": np.array(1.0, np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [6, 4])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    assert count_parameters(tmp_path / "model.onnx") == 24 + 15


def measured(release: Path, **figures: Any) -> dict[str, Any]:
    digest = hashlib.sha256(live_document(release).read_bytes()).hexdigest()
    around = {"rooms": 200, "results": 1000, "cores": 2, "cpu": "Some CPU", "date": "2026-11-24"}
    return {"release": {"sha256": digest}, "rooms": around, **figures}


def written(release: Path, benchmarks: Path, document: dict[str, Any], marks: str = "") -> str:
    (benchmarks / "results").mkdir(parents=True, exist_ok=True)
    (benchmarks / "results" / "dollhouse.json").write_text(json.dumps(document))
    (benchmarks / "gates.toml").write_text(
        "[style_accuracy]\nat_least = 0.9\n[restyle_seconds]\nat_most = 6.0\n[psnr_truth]\nat_least = 17\n"
        "[score_too_bright]\nat_least = 0.95\n"
    )
    (benchmarks / "marks.toml").write_text(marks or 'release = "another-1"')
    return write_card(read_sources(release, benchmarks, benchmarks / "marks.toml"))


def test_figures_stand_beside_their_gates(release: Path, tmp_path: Path) -> None:
    controls = {
        "renders": {"style_accuracy": 0.99},
        "nothing_done": {"style_accuracy": 0.2},
        "wishes": {"renders": {"seeds_differ": 18.0}},
    }
    figures = {
        "style_accuracy": 0.9321,
        "restyle_seconds": 7.25,
        "seeds_differ": 9.0,
        "score_too_bright": 0.96,
    }
    document = measured(release, **figures, **controls)
    text = written(release, tmp_path, document)
    assert re.search(r"^\| `style_accuracy` \| .* \| 0\.932 \| ≥ 0\.9 \| 0\.99 \| 0\.2 \|$", text, re.M)
    assert re.search(r"^\| `restyle_seconds` \| .* \| 7\.25 \| ≤ 6: missed \|  \|  \|$", text, re.M)
    assert re.search(r"^\| `psnr_truth` \| .* \| not measured yet \| ≥ 17 \|  \|  \|$", text, re.M)
    assert re.search(r"^\| `seeds_differ` \| .* \| 9 \|  \| 18 \|  \|$", text, re.M)
    assert re.search(r"^\| `score_too_bright` \| .*: too bright \| 0\.96 \| ≥ 0\.95 \|", text, re.M)
    assert "edge_f1" not in text, "without a gate and a value"
    assert "200 held-out rooms, 1000 results;\n2 cores of Some CPU, 2026-11-24." in text
    assert "no setting was chosen" not in text, "not known"
    around = {**document["rooms"], "first_seed": 1001000}
    assert "Their seeds begin with 1001000:" in written(release, tmp_path, {**document, "rooms": around})
    text = written(release, tmp_path, {**document, "release": {"sha256": "0" * 64}})
    assert "0.932" not in text, "figures of another release"
    assert "has not seen tiny-1" in text


def test_figures_by_style_have_a_table(release: Path, tmp_path: Path) -> None:
    figures = {"psnr_truth": 17.0, "gain_over_mean": 3.0, "flat": 1.5, "sharp": 0.5, "style_accuracy": 0.9}
    styles = {"modern": figures, "boho": {**figures, "flat": 2.25}}
    lazy = {"nothing_done": {"styles": {"modern": {"psnr_truth": 12.0}, "boho": {"psnr_truth": 13.0}}}}
    text = written(release, tmp_path, measured(release, styles=styles, **lazy))
    assert "\n| modern | 17 | 3 | 1.5 | 0.5 | 0.9 | 12 |\n| boho | 17 | 3 | 2.25 | 0.5 | 0.9 | 13 |\n" in text
    assert "| boho |" not in written(release, tmp_path, measured(release, styles={"boho": {"edge_f1": 0.6}}))


MARKED = """
release = "tiny-1"
judgement = "They are noise."
rooms.1 = { modern = "good", boho = "fair: hazy" }
rooms.2 = { modern = "poor: blotches", boho = "poor: hazy" }
photos.hall = { modern = "fair", boho = "poor: hazy" }
"""


def test_marks_by_eye_are_counted(release: Path, tmp_path: Path) -> None:
    text = written(release, tmp_path, {}, MARKED)
    assert "They are noise." in text
    assert "|  | good | fair | poor |\n| --- | --- | --- | --- |\n| rendered rooms | 1 | 1 | 2 |" in text
    assert "| real photos | 0 | 1 | 1 |\n| modern | 1 | 1 | 1 |\n| boho | 0 | 1 | 2 |" in text
    assert "not good: hazy (3), blotches (1)." in text
    text = written(release, tmp_path, {}, MARKED.replace("tiny-1", "tiny-2"))
    assert "They are noise." not in text
    assert "The pictures of tiny-1 have not been marked yet." in text


def test_a_mark_is_one_of_three_words(tmp_path: Path) -> None:
    (tmp_path / "marks.toml").write_text('release = "x-1"\nrooms.1 = { boho = "nice" }\n')
    with pytest.raises(ValueError, match=r"rooms\.1\.boho is 'nice', not one of good, fair, poor"):
        read_marks(tmp_path / "marks.toml")
    assert read_marks(tmp_path / "none.toml") is None


def test_the_card_says_where_a_release_begins(release: Path) -> None:
    sources = read_sources(release)
    assert "- **From noise.**" in write_card(sources)
    assert "- **One palette a style.**" in write_card(sources)
    defaults = {**sources.document["defaults"], "strength": 0.2, "start_noise": 0.0, "detail": 0.75}
    document = {**sources.document, "defaults": defaults, "solvers": ["ddim", "euler"]}
    document["palettes"] = [["sage green"], ["navy", "cream"], []]
    text = write_card(replace(sources, document=document))
    assert "own latents and no noise, at\n  strength 0.2. Away from that" in text
    assert "where it was trained: ddim, euler; others are refused." in text
    assert "by its seed: sage green; navy, cream; the style's own." in text
    assert "(depth, edges), strength 0.2, detail 0.75." in text
    half = {**document, "defaults": {**defaults, "start_noise": 0.5}}
    assert "and 50% of the usual noise" in write_card(replace(sources, document=half))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, one_torch_thread: None) -> Path:
    """What a training leaves in its folder."""
    run = tmp_path_factory.mktemp("run")
    for split, rooms in {"train": 3, "held_out": 2, "classifier": 1}.items():
        make_dataset(run / "data", split, rooms, RenderSettings(side=32), shard_rooms=1)
    write_networks(run / "networks")
    files = {"prepared/note.json": json.dumps({"shape": [2, 7, 16, 16], "done": 2})}
    for number, name in enumerate((*facts.TRAINED, facts.CLASSIFIER)):
        lines = [{"step": step, "minutes": number + 0.9, "loss": 0.25} for step in (1, 1000 + number)]
        files[f"{name}/log.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines)
    for name, text in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    return run


def test_the_trainings_facts_are_kept_beside_the_release(trained: Path, release: Path) -> None:
    assert main(["--release", str(release), "--run", str(trained)]) == 0
    kept = json.loads((release / "versions" / "1" / "training.json").read_text())
    assert kept["weights"] == digests(trained / "networks")
    assert "began_with" not in kept
    text = (release / NAME).read_text()
    first = SPLITS["held_out"].start
    assert f"| `held_out` | 2 | {first} … {first + 1} |" in text
    assert (
        "21 pictures a room, 32 × 32 pixels, rays per pixel: 1. The denoisers learnt from the first 2 rooms."
        in text
    )
    assert "| text encoder, UNet and both ControlNets | 1001 | 2 | 0.2500 |" in text
    assert "at 29.9 dB, their Canny edges with an F1 of 0.87." in text
    assert f"with torch {kept['machine']['torch']}" in text
    assert "found in each of the styles and in mixtures" in text
    assert main(["--release", str(release)]) == 0
    assert (release / NAME).read_text() == text, "the run is not needed again"


def test_facts_of_another_training_are_refused(
    trained: Path, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts.keep(trained, trained / "data", release)
    file = release / "versions" / "1" / "training.json"
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "weights": {**kept["weights"], "unet": "other"}}))
    assert main(["--release", str(release), "--run", str(trained)]) == 1
    assert "was not made of the weights in" in capsys.readouterr().err
    assert json.loads(file.read_text())["weights"]["unet"] == "other"


def test_a_training_that_is_not_complete_is_refused(trained: Path, release: Path, tmp_path: Path) -> None:
    part = Path(shutil.copytree(trained, tmp_path / "part"))
    (part / "classifier" / "log.jsonl").unlink()
    assert "classifier" not in facts.collect(part, part / "data")["training"]
    (part / "depth" / "log.jsonl").write_text("")
    with pytest.raises(FactsError, match=r"depth/log\.jsonl is empty"):
        facts.collect(part, part / "data")
    (part / "depth" / "log.jsonl").unlink()
    with pytest.raises(FactsError, match=r"is not complete: .*depth/log\.jsonl"):
        facts.collect(part, part / "data")


def test_the_card_names_networks_that_were_not_trained_again(
    trained: Path, release: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    start = write_networks(run / "start", 0.3)
    for name in ("autoencoder", "depth", "detector", "classifier"):
        (run / name / "log.jsonl").unlink()
    assert main(["--release", str(release), "--run", str(run)]) == 0
    kept = json.loads((release / "versions" / "1" / "training.json").read_text())
    assert (set(kept["training"]), kept["began_with"]) == ({"diffusion"}, digests(start))
    assert "It began with the networks of an earlier training" in (release / NAME).read_text()
    shutil.rmtree(start / "depth")
    with pytest.raises(FactsError, match=r"is not complete: .*depth/log\.jsonl"):
        facts.collect(run, run / "data")
    write_networks(start)
    (run / "diffusion" / "log.jsonl").unlink()
    with pytest.raises(FactsError, match=r"is not complete: .*diffusion/log\.jsonl"):
        facts.collect(run, run / "data")


def test_where_it_was_trained_is_noted_when_it_begins(tmp_path: Path) -> None:
    facts.note_machine(tmp_path)
    first = json.loads((tmp_path / facts.MACHINE).read_text())
    assert first["cores"] >= 1
    assert first["cpu"]
    (tmp_path / facts.MACHINE).write_text('{"device": "another"}')
    facts.note_machine(tmp_path)
    assert (tmp_path / facts.MACHINE).read_text() == '{"device": "another"}'


def test_the_next_version_is_one_that_never_was(tmp_path: Path) -> None:
    assert (live_version(tmp_path), facts.next_version(tmp_path)) == (0, 1)
    for number in (1, 2, 10):
        (tmp_path / "versions" / str(number)).mkdir(parents=True)
    make_live(tmp_path, 2)
    assert (live_version(tmp_path), facts.next_version(tmp_path)) == (2, 11)
