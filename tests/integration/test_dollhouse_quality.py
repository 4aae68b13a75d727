"""The dollhouse keeps its promises: gates on a few held-out rooms through a real Triton, and on results/dollhouse.json.

Bounds are those of dollhouse/evaluate/gates.toml, functions those of the benchmark.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.grpc.aio import InferenceServerClient

from dollhouse.evaluate import RESULTS, answers, wishes
from dollhouse.evaluate.__main__ import PARTS
from dollhouse.evaluate.answers import Answers, PictureCache, ask_all
from dollhouse.evaluate.figures import nothing_done, perception_figures, restyling_figures, score
from dollhouse.evaluate.gallery import PHOTOS, unmarked
from dollhouse.evaluate.gates import GATES, missed
from dollhouse.evaluate.held_out import MEASURED, HeldOutRoom, held_out_rooms
from dollhouse.evaluate.marks import read_marks
from dollhouse.evaluate.perceived import perceive
from dollhouse.evaluate.style_classifier import accuracy, read_classifier
from dollhouse.evaluate.wishes import SEEDS_EACH, WishAnswers, wish_figures
from dollhouse.render.rooms import LABELS, STYLES
from measuring import ROOT, report
from measuring.counters import read_counters
from measuring.releases import Release, find_release
from measuring.service import Service
from measuring.serving import served
from orchestrator.domain.preferences import Preferences
from stack.triton import TritonServer

BUNDLE = "dollhouse"
RESTYLED, LOOKED_AT = MEASURED[:4], MEASURED[4:40]
"""Seeds: rooms that are restyled in every style, and further ones that are only looked at."""
CLASSIFIED = 12
"""Rooms whose true renders the style classifier names."""
GALLERY_BYTES = 2_500_000

# The first test that asks for restyled rooms waits for all of them.
pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("one_torch_thread")]


@pytest.fixture(scope="module")
def release() -> Release:
    return find_release(BUNDLE)


@pytest.fixture(scope="module")
def server(release: Release) -> Iterator[TritonServer]:
    with served(release) as server:
        yield server


@pytest.fixture
async def service(server: TritonServer, release: Release) -> AsyncIterator[Service]:
    async with Service(server.grpc, release) as service:
        yield service


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> PictureCache:
    return PictureCache(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def restyled(server: TritonServer, release: Release, cache: PictureCache) -> list[Answers]:
    return asyncio.run(ask_about(server, release, RESTYLED, STYLES, cache))


@pytest.fixture(scope="module")
def wished(
    server: TritonServer, release: Release, cache: PictureCache, restyled: list[Answers]
) -> list[WishAnswers]:
    """Of the same rooms, whose pictures without a wish are kept."""

    async def ask() -> list[WishAnswers]:
        async with Service(server.grpc, release) as service:
            made, _ = await wishes.ask_all(service, iter([each.room for each in restyled]), cache)
            return made

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def figures(
    server: TritonServer, release: Release, restyled: list[Answers], wished: list[WishAnswers]
) -> dict[str, float]:
    looked_at = asyncio.run(ask_about(server, release, LOOKED_AT, ()))
    classifier = read_classifier()
    return {
        **restyling_figures(restyled, classifier.name_styles),
        **perception_figures([*restyled, *looked_at]),
        **wish_figures(wished),
        "classifier_accuracy": accuracy(classifier, CLASSIFIED),
        "bundle_mb": release.megabytes,
    }


async def ask_about(
    server: TritonServer,
    release: Release,
    seeds: range,
    styles: tuple[str, ...],
    cache: PictureCache | None = None,
) -> list[Answers]:
    async with Service(server.grpc, release) as service:
        return await ask_all(service, held_out_rooms(seeds, release.side), styles, cache)


def difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean over all values, of 255."""
    return float(np.abs(first.astype(np.float32) - second.astype(np.float32)).mean())


@pytest.mark.parametrize("name", [name for name, gate in GATES.items() if gate.small_set is not None])
def test_a_gate_on_a_few_rooms(figures: dict[str, float], name: str) -> None:
    assert name not in missed(figures, small_set=True), missed(figures, small_set=True)[name]


async def test_the_benchmark_scores_as_restyle_does(service: Service, restyled: list[Answers]) -> None:
    """Figures of the score use the code of `restyle`; they must give it the same inputs."""
    first = restyled[0]
    made = await service.restyle(first.room.photo, "boho", Preferences(seed=first.room.seed))
    expected = made.result.quality["score"]
    assert score(first.photo, first.results["boho"].seen) == pytest.approx(expected, abs=0.005)


def test_every_style_looks_different(restyled: list[Answers]) -> None:
    for each in restyled:
        for one, other in combinations(each.results.values(), 2):
            assert difference(one.seen.picture, other.seen.picture) > 4.0


def test_results_are_compared_with_the_photo_restyled(restyled: list[Answers]) -> None:
    """Nothing done misses what results must reach."""
    lazy = restyling_figures(nothing_done(restyled), read_classifier().name_styles)
    assert {"psnr_truth", "psnr_blurred", "gain_over_mean", "style_accuracy"} <= missed(
        lazy, small_set=True
    ).keys()


async def test_colours_change_the_picture_and_the_same_seed_gives_the_same(
    service: Service, restyled: list[Answers]
) -> None:
    room = restyled[0].room

    async def picture(**wishes: Any) -> NDArray[np.uint8]:
        return (await service.restyle(room.photo, "boho", Preferences(seed=1, **wishes))).result.image

    plain = await picture()
    assert (await picture() == plain).all()
    red, navy = await picture(color_palette=["red"]), await picture(color_palette=["navy"])
    assert difference(red, navy) > 4.0
    assert difference(await picture(prompt="navy walls"), plain) > 4.0


async def test_a_long_prompt_leaves_the_style_recognisable(service: Service, restyled: list[Answers]) -> None:
    long = "a grand piano beside the tall window and a red sofa with cushions " * 10
    pictures = [
        (await service.restyle(each.room.photo, style, Preferences(seed=1, prompt=long))).result.image
        for each in restyled[:2]
        for style in STYLES
    ]
    seen = read_classifier().name_styles(np.stack(pictures))
    assert sum(one == other for one, other in zip(seen, STYLES * 2, strict=True)) >= 9


def test_the_committed_benchmark_is_of_the_committed_release_and_passes_every_gate(release: Release) -> None:
    document = report.read(RESULTS / "dollhouse.json")
    assert document["release"]["name"] == release.facts["release"]
    assert document["release"]["sha256"] == release.digest, "run `python -m dollhouse.evaluate` again"
    assert document["rooms"]["rooms"] >= 200
    assert document["rooms"]["first_seed"] == MEASURED.start
    assert document["rooms"]["results"] == len(STYLES) * document["rooms"]["rooms"]
    assert document["bundle_mb"] == pytest.approx(release.megabytes, abs=0.1)
    assert missed(document) == {}


def test_the_gallery_is_whole_and_light() -> None:
    files = list((ROOT / "docs" / "gallery").glob("*.jpg"))
    assert {file.name for file in files} == {"rooms.jpg", *(f"photo-{photo.stem}.jpg" for photo in PHOTOS)}
    assert sum(file.stat().st_size for file in files) <= GALLERY_BYTES


def test_every_picture_of_the_gallery_was_looked_at(release: Release) -> None:
    """By somebody who then wrote docs/gallery/marks.toml."""
    assert unmarked(read_marks(), release.facts["release"]) == []


# What follows needs no trained bundle.


@pytest.fixture(scope="module")
def room() -> HeldOutRoom:
    return next(held_out_rooms(MEASURED[:1], find_release("tiny").side))


async def test_kept_pictures_are_not_made_again(
    triton: TritonServer, room: HeldOutRoom, tmp_path: Path
) -> None:
    async def steps() -> int:
        async with InferenceServerClient(triton.grpc) as raw:
            return (await read_counters(raw))["denoiser"].samples

    tiny, cache = find_release("tiny"), PictureCache(tmp_path)
    done: list[int] = []
    async with Service(triton.grpc, tiny) as service:
        (first,) = await ask_all(service, iter([room]), ("boho", "modern"), cache, report=done.append)
        before = await steps()
        (again,) = await ask_all(service, iter([room]), ("boho", "modern"), cache)
    assert done == [1]
    assert await steps() == before + 1  # for the room type
    for one, other in zip(first.results.values(), again.results.values(), strict=True):
        assert (other.seen.picture == one.seen.picture).all()
        assert (other.seen.edges == one.seen.edges).all()
        assert (other.truth == one.truth).all()


async def test_objects_are_numbered_by_their_names(triton: TritonServer, room: HeldOutRoom) -> None:
    """`tiny` has other labels, in another order, than the rooms."""
    tiny = find_release("tiny")
    async with Service(triton.grpc, tiny) as service:
        found = (await perceive(service, room.photo)).objects
        raw = await service.perceive(room.photo)
    names = [tiny.facts["labels"][number] for number in raw["labels"] if number >= 0]
    assert len(found.labels) > 0
    assert [LABELS[number] for number in found.labels] == [name for name in names if name in LABELS]


@pytest.mark.slow
def test_every_figure_is_measured_on_any_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(answers, "CACHE", tmp_path)
    tiny = find_release("tiny")
    measured: dict[str, Any] = {}
    for measure in PARTS.values():
        measured |= measure(tiny, 2, 2)
    assert GATES.keys() <= measured.keys()
    assert all(np.isfinite(measured[name]) for name in GATES)
    assert len(list(tmp_path.rglob("*.png"))) == 2 * len(STYLES) + SEEDS_EACH
