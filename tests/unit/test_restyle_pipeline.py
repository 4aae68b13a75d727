"""The order of things in `restyle`, over scripted models: for what the real ones cannot be made to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.domain import preferences
from orchestrator.domain.job import MAX_VARIATIONS, drawn_seed, variation_seed
from restyle.analysis import analyse
from restyle.demands import DEMANDS, TRIES, StructureLost
from restyle.events import Analysis, Event, Preview, Result, Stage, Step
from restyle.models import BrokenPicture
from restyle.pictures.images import fit_photo, from_bucket, to_bucket
from restyle.pictures.recolouring import Recolouring
from restyle.pipeline import STRONGER, Restyler, next_seed
from restyle.prompt import Prompts
from restyle.release import Release, load_release
from restyle.request import InvalidRequest, Request, parse_photo, parse_request
from tests.conftest import RELEASE
from tests.support.pictures import room
from tests.support.releases import read_document, write_document

PHOTO = room(112, 144)
RESTYLED = PHOTO[..., [0, 2, 1]].copy()
"""The same room in other colours."""


class ScriptedModels:
    """Answers like a server; the decoder's picture of attempt n is ``pictures[n]``. Remembers the denoiser's inputs."""

    def __init__(self, pictures: list[NDArray[Any]]) -> None:
        self.pictures = pictures
        self.steps: list[dict[str, NDArray[Any]]] = []
        self.asked: list[str] = []
        self.encoded_photos = 0

    async def __call__(
        self, model: str, outputs: tuple[str, ...], **tensors: NDArray[Any]
    ) -> list[NDArray[Any]]:
        self.asked.append(model)
        match model:
            case "depth":
                return [tensors["image"][..., 0]]
            case "edges":
                step = np.abs(np.diff(tensors["image"].astype(int).sum(-1), axis=1, prepend=0))
                return [((step > 90) * 255).astype(np.uint8)]
            case "detector":
                return [np.zeros((1, 2, 4)), np.zeros((1, 2)), np.full((1, 2), -1)]
            case "text_encoder":
                return [np.zeros((len(tensors["input_ids"]), 77, 8), np.float32)]
            case "vae_encoder":
                self.encoded_photos += 1
                return [np.ones((1, 4, 14, 18), np.float32)]
            case "denoiser" | "denoiser_few_step":
                self.steps.append(tensors)
                return [tensors["latents"] * 0.5, tensors["latents"] * 0.1]
        picture = self.pictures.pop(0).astype(np.float32)
        return [picture.transpose(2, 0, 1)[None] / 127.5 - 1.0]


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    return load_release()


def parse(release: Release, **changes: Any) -> Request:
    arrays = {name: np.array([value]) for name, value in changes.items() if np.isscalar(value)}
    given = {"image": PHOTO, "prompt": ("a room",), "seed": [3], "steps": [2]}
    return parse_request(given | changes | arrays, release)


async def run(release: Release, models: ScriptedModels, **changes: Any) -> list[Event]:
    restyler = Restyler(release, Prompts(release.tokenizer, release.frame), models)
    return [event async for event in restyler.restyle(parse(release, **changes))]


def result(events: list[Event]) -> Result:
    assert isinstance(events[-1], Result)
    return events[-1]


BLACK = np.zeros_like(PHOTO)


async def test_a_poor_picture_is_tried_again_with_stronger_control_and_the_same_noise(
    release: Release,
) -> None:
    models = ScriptedModels([BLACK, RESTYLED])
    events = await run(replace(release, quality_threshold=0.8), models, attempts=2)
    assert result(events).attempts == 2
    np.testing.assert_allclose(result(events).pixels, RESTYLED, atol=1e-3)
    first, second = models.steps[0], models.steps[2]
    np.testing.assert_array_equal(first["latents"], second["latents"])
    np.testing.assert_allclose(second["control_scale"], first["control_scale"] * STRONGER, rtol=1e-6)
    progress = [event.progress for event in events if not isinstance(event, Result)]
    assert progress == sorted(progress)
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, 1, 2]


async def test_a_preview_is_the_tiny_decoders_picture_where_the_release_has_one(release: Release) -> None:
    models = ScriptedModels([RESTYLED, PHOTO])
    events = await run(release, models, preview_every=1)
    (preview,) = (event for event in events if isinstance(event, Preview))
    shown = cv2.imdecode(np.frombuffer(preview.jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert shown is not None
    np.testing.assert_allclose(shown.mean((0, 1)), RESTYLED.mean((0, 1)), atol=3)
    assert models.asked.count("tiny_decoder") == 1

    others = {name: version for name, version in release.versions.items() if name != "tiny_decoder"}
    models = ScriptedModels([PHOTO])
    events = await run(replace(release, versions=others), models, preview_every=1)
    assert sum(isinstance(event, Preview) for event in events) == 1
    assert "tiny_decoder" not in models.asked


async def test_the_better_of_two_attempts_is_kept(release: Release) -> None:
    """Nothing done is worse than a restyle, and black worse than either."""
    for pictures in ([RESTYLED, BLACK], [RESTYLED, PHOTO], [PHOTO, RESTYLED], [BLACK, RESTYLED]):
        events = await run(replace(release, quality_threshold=2.0), ScriptedModels(pictures[:]), attempts=2)
        assert result(events).attempts == 2
        np.testing.assert_allclose(result(events).pixels, RESTYLED, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"attempts": 1}, "one attempt was asked for"),
        ({"attempts": 2, "control_scale": (0.0, 0.0)}, "stronger would be the same"),
        ({"attempts": 2, "control_scale": (2.0, 2.0)}, "there is nothing stronger"),
    ],
)
async def test_no_second_attempt(release: Release, changes: dict[str, Any], why: str) -> None:
    models = ScriptedModels([BLACK])
    events = await run(replace(release, quality_threshold=2.0), models, **changes)
    assert result(events).attempts == 1, why


async def test_a_good_picture_is_not_tried_again(release: Release) -> None:
    events = await run(replace(release, quality_threshold=0.6), ScriptedModels([RESTYLED]), attempts=2)
    assert result(events).attempts == 1


DRIFTED = RESTYLED[:, ::-1].copy()
"""The room in a mirror: nothing is where it was."""


async def test_a_picture_that_lost_the_room_is_made_again_with_another_seed_and_stronger_control(
    release: Release,
) -> None:
    models = ScriptedModels([DRIFTED, RESTYLED])
    events = await run(release, models, min_quality=0.5)
    made = result(events)
    np.testing.assert_allclose(made.pixels, RESTYLED, atol=1e-3)
    assert (made.attempts, made.seed) == (2, 3), "the seed repeats all of it"
    assert made.quality["structure"] >= 0.5
    first, second = models.steps[0], models.steps[2]
    assert np.abs(first["latents"] - second["latents"]).max() > 1.0
    np.testing.assert_allclose(second["control_scale"], first["control_scale"] * STRONGER, rtol=1e-6)
    progress = [event.progress for event in events if not isinstance(event, Result)]
    assert progress == sorted(progress)


@pytest.mark.parametrize("demand", ["min_quality", "min_camera", "min_planes"])
async def test_a_room_that_stays_lost_is_not_delivered(release: Release, demand: str) -> None:
    with pytest.raises(StructureLost) as caught:
        await run(release, ScriptedModels([DRIFTED, BLACK, DRIFTED]), **{demand: 0.6})
    measure = DEMANDS[demand]
    assert str(caught.value).startswith("The best of 3 pictures keeps too little of the room: ")
    assert str(caught.value).endswith(f"; asked for was at least {measure} 0.60.")
    assert f"{measure} 0." in str(caught.value)


async def test_what_cannot_be_measured_meets_every_demand(release: Release) -> None:
    """The scripted detector sees no windows."""
    made = result(await run(release, ScriptedModels([RESTYLED]), min_openings=1.0))
    assert "openings" not in made.quality
    assert made.attempts == 1


async def test_what_keeps_the_room_goes_before_what_scores_well(release: Release) -> None:
    events = await run(
        replace(release, quality_threshold=2.0), ScriptedModels([PHOTO, DRIFTED]), attempts=2, min_quality=0.5
    )
    np.testing.assert_allclose(result(events).pixels, PHOTO, atol=1e-3)


@pytest.mark.parametrize("seed", [0, 1, 2**53 - 1, 2**63 - 1, 2**63 - 3])
def test_no_attempt_takes_the_seed_of_a_sibling(seed: int) -> None:
    """Variations have neighbouring seeds, each of which may be tried again."""
    variations = [variation_seed(seed, number) for number in range(1, MAX_VARIATIONS + 1)]
    tried = [
        first if attempt == 0 else next_seed(first, attempt)
        for first in variations
        if first is not None
        for attempt in range(TRIES)
    ]
    assert len(set(tried)) == MAX_VARIATIONS * TRIES
    assert all(0 <= each < 2**63 for each in tried)


def test_variations_without_a_seed_begin_with_the_styles_own_colours_and_take_one_palette_after_the_other() -> (
    None
):
    seed = drawn_seed()
    assert 0 <= seed < 2**53
    for palettes in range(1, 13):
        chosen = [(variation_seed(seed, number) or 0) % palettes for number in range(1, MAX_VARIATIONS + 1)]
        assert chosen == [number % palettes for number in range(MAX_VARIATIONS)]
    assert drawn_seed() != drawn_seed()


def test_each_attempt_has_another_palette() -> None:
    for palettes in range(2, 13):
        chosen = [7, next_seed(7, 1), next_seed(7, 2)]
        assert len({each % palettes for each in chosen}) == min(palettes, TRIES)


def test_what_is_reserved_for_a_job_is_for_as_many_pictures_as_are_made() -> None:
    assert TRIES == preferences.TRIES
    assert set(DEMANDS) == set(preferences.DEMANDS)
    assert preferences.most_pictures(preferences.Preferences(min_lines=0.0)) == TRIES
    assert preferences.most_pictures(preferences.Preferences(attempts=2)) == 2
    assert preferences.most_pictures(preferences.Preferences()) == 1


async def test_another_seed_is_another_palette_where_the_seed_chooses_it(release: Release) -> None:
    palettes = (("sage",), ("rust",), ("teal",), ("plum",))
    made = result(
        await run(replace(release, palettes=palettes), ScriptedModels([DRIFTED, RESTYLED]), min_quality=0.5)
    )
    assert (made.seed, made.palette) == (3, ("sage",)), "the palette after that of seed 3"


async def test_nothing_else_to_try_ends_the_tries(release: Release) -> None:
    """With its own start noise and the strongest control every further picture would be the same."""
    models = ScriptedModels([DRIFTED, DRIFTED, DRIFTED])
    noise = np.zeros((4, 14, 18), np.float32)
    with pytest.raises(StructureLost, match="The picture that was made keeps too little"):
        await run(release, models, min_quality=0.6, control_scale=(2.0, 2.0), latents=noise, solver="ddim")
    assert len(models.pictures) == 2


async def test_a_picture_that_is_not_finite_is_no_result(release: Release) -> None:
    broken = PHOTO.astype(np.float32)
    broken[3, 3] = np.nan
    with pytest.raises(BrokenPicture, match="vae_decoder made no finite picture"):
        await run(release, ScriptedModels([broken]))


async def test_the_photo_is_encoded_only_where_it_is_needed(release: Release) -> None:
    plain, started, kept = (ScriptedModels([PHOTO]) for _ in range(3))
    await run(release, plain)
    await run(release, started, strength=0.5)
    await run(release, kept, keep_mask=np.zeros(PHOTO.shape[:2], np.uint8))
    assert [models.encoded_photos for models in (plain, started, kept)] == [0, 1, 1]


async def test_without_guidance_the_unconditional_half_is_left_out(release: Release) -> None:
    guided, unguided = ScriptedModels([PHOTO]), ScriptedModels([PHOTO])
    await run(release, guided)
    await run(release, unguided, guidance_scale=1.0)
    assert guided.steps[0]["text"].shape[1] == 2
    assert unguided.steps[0]["text"].shape[1] == 1


async def test_kept_cells_follow_the_photo_through_the_steps(release: Release) -> None:
    """x' is linear in x0: where a cell is kept, x0 becomes the photo's latents and x' moves by b as much."""
    mask = np.zeros(PHOTO.shape[:2], np.uint8)
    mask[:, :72] = 255
    models = ScriptedModels([PHOTO])
    await run(release, models, keep_mask=mask)
    first, second = models.steps
    b = first["coefficients"][0, 3]
    free = first["latents"] * 0.5
    kept = free + b * (1.0 - first["latents"] * 0.1)
    np.testing.assert_allclose(second["latents"][..., 9:], free[..., 9:], rtol=1e-6)
    np.testing.assert_allclose(second["latents"][..., :9], kept[..., :9], atol=1e-5)
    np.testing.assert_allclose(second["x0_previous"][..., :9], 1.0)


class SolvingModels(ScriptedModels):
    """Whose denoiser does what the graph does, with a network that always sees the same picture."""

    async def __call__(
        self, model: str, outputs: tuple[str, ...], **tensors: NDArray[Any]
    ) -> list[NDArray[Any]]:
        answer = await super().__call__(model, outputs, **tensors)
        if model != "denoiser":
            return answer
        _, _, a, b, c, d, _ = tensors["coefficients"][0]
        x0 = np.full_like(tensors["latents"], -0.5)
        state = a * tensors["latents"] + b * x0 + c * tensors["x0_previous"] + d * tensors["noise"]
        return [state, x0]


async def test_kept_cells_need_no_noise_at_the_start(release: Release) -> None:
    """They stay the photo, as far as each step's level shows it: α·z, with none of the noise that was left out."""
    defaults = replace(release.defaults, strength=0.2, start_noise=0.0)
    release = replace(release, spacing="trailing", defaults=defaults)
    mask = np.zeros(PHOTO.shape[:2], np.uint8)
    mask[:, :72] = 255
    for solver in ("ddim", "euler"):
        models = SolvingModels([PHOTO])
        await run(release, models, keep_mask=mask, steps=20, solver=(solver,))
        assert [step["timestep"].item() for step in models.steps] == [199, 149, 99, 49]
        for step in models.steps:
            alpha = np.sqrt(release.alphas[int(step["timestep"].item())])
            np.testing.assert_allclose(step["latents"][..., :9], alpha, rtol=1e-5)
        assert np.ptp(models.steps[-1]["latents"]) > 0.5, "the rest is the network's"


async def test_everything_kept_scores_as_the_photo_does(release: Release) -> None:
    """Quality is that of the picture that is delivered, not of what lies under the kept pixels."""
    noise = np.random.default_rng(0).integers(0, 255, PHOTO.shape, dtype=np.uint8)
    events = await run(release, ScriptedModels([noise]), keep_mask=np.full(PHOTO.shape[:2], 255, np.uint8))
    assert result(events).quality["edge_agreement"] == result(events).quality["changed"] == 1
    np.testing.assert_array_equal(result(events).pixels, PHOTO)


async def test_without_detail_the_result_is_the_networks_own(release: Release) -> None:
    photo, painted = room(300, 400), room(112, 144, seed=1)
    events = await run(release, ScriptedModels([painted]), image=photo, detail=0.0)
    fit = fit_photo(300, 400, release.buckets)
    signal = painted.astype(np.float32) / 127.5 - 1.0
    pixels = np.clip(signal * 127.5 + 127.5, 0.0, 255.0)
    np.testing.assert_array_equal(result(events).pixels, from_bucket(pixels, fit))


async def test_with_detail_the_result_has_the_photos_size_and_edges(release: Release) -> None:
    photo = room(300, 400)
    fit = fit_photo(300, 400, release.buckets)
    painted = cv2.GaussianBlur(255 - to_bucket(photo, fit), (0, 0), 1.0)
    soft, crisp = [
        result(await run(release, ScriptedModels([painted]), image=photo, detail=detail)) for detail in (0, 1)
    ]
    assert soft.pixels.shape[:2] == fit.output
    assert crisp.pixels.shape == photo.shape
    truth = 255.0 - photo
    enlarged = cv2.resize(soft.pixels, (400, 300), interpolation=cv2.INTER_CUBIC)
    assert np.square(crisp.pixels - truth).mean() < 0.2 * np.square(enlarged - truth).mean()
    assert crisp.quality["sharpness"] > 1.2 * soft.quality["sharpness"], "measured on what is delivered"


async def test_the_bundle_says_how_much_detail_there_is_by_default(release: Release) -> None:
    detailed = replace(release, defaults=replace(release.defaults, detail=0.75))
    assert (parse(release).detail, parse(detailed).detail) == (0.0, 0.75)
    assert parse(detailed, detail=0.0).detail == 0.0


async def test_kept_pixels_are_the_photos_own_in_a_finished_picture(release: Release) -> None:
    photo = room(301, 397)
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[40:90, 120:200] = 255
    events = await run(release, ScriptedModels([BLACK]), image=photo, keep_mask=mask, detail=1.0)
    np.testing.assert_array_equal(result(events).pixels[mask > 0], photo[mask > 0])
    assert result(events).pixels[250:].max() < 30


async def test_of_two_attempts_only_the_better_is_finished(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, ...]] = []
    whole = Recolouring.of

    def seen(self: Recolouring, photo: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.append(photo.shape[:2])
        return whole(self, photo)

    monkeypatch.setattr(Recolouring, "of", seen)
    threshold = replace(release, quality_threshold=2.0)
    await run(threshold, ScriptedModels([PHOTO, BLACK]), image=room(300, 400), attempts=2, detail=1.0)
    assert sorted(sizes) == [(112, 144), (112, 144), (300, 400)]


async def test_stages_begin_in_order(release: Release) -> None:
    events = await run(release, ScriptedModels([PHOTO]))
    stages = [event.name for event in events if isinstance(event, Stage)]
    assert stages == ["analyzing", "generating", "transforming", "finalizing"]
    assert set(result(events).timings) == {*stages, "finishing"}


async def test_an_analysis_calls_no_other_network(release: Release) -> None:
    models = ScriptedModels([])
    photo = room(90, 160)
    (analysis,) = [event async for event in analyse(parse_photo({"image": photo}), release, models)]
    assert (models.steps, models.encoded_photos) == ([], 0)
    assert isinstance(analysis, Analysis)
    fit = fit_photo(90, 160, release.buckets)
    assert analysis.depth.shape == analysis.edges.shape == fit.output
    np.testing.assert_array_equal(analysis.depth, from_bucket(to_bucket(photo, fit)[..., 0], fit))
    assert set(np.unique(analysis.edges)) == {0, 255}
    assert (analysis.room_type, analysis.room_confidence, analysis.release) == ("unknown", 0, "tiny-1")
    assert analysis.progress == 1


def test_drawn_seeds_survive_javascript(release: Release) -> None:
    seeds = set()
    for _ in range(50):
        request = parse_request({"image": PHOTO, "prompt": ()}, release)
        seeds.add(request.seed)
    assert len(seeds) == 50
    assert max(seeds) < 2**53


def test_a_seed_that_is_given_is_kept(release: Release) -> None:
    assert [parse(release, seed=seed).seed for seed in (0, 2**63 - 1)] == [0, 2**63 - 1]


@pytest.mark.parametrize("shape", [(33, 200, 3), (8193, 8000, 3), (31, 31, 3)])
def test_photos_of_impossible_shape_are_refused(release: Release, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidRequest, match="image must"):
        parse(release, image=np.zeros(shape, np.uint8))
    with pytest.raises(InvalidRequest, match="image must"):
        parse_photo({"image": np.zeros(shape, np.uint8)})


def test_latents_beyond_reason_are_refused(release: Release) -> None:
    for value in (np.nan, np.inf, 3e38):
        with pytest.raises(InvalidRequest, match="latents must be -10000 to 10000"):
            parse(release, latents=np.full((4, 14, 18), value, np.float32))


class SeeingModels(ScriptedModels):
    """Which also find lines and segments."""

    def __init__(self, pictures: list[NDArray[Any]]) -> None:
        super().__init__(pictures)
        self.seen: list[tuple[str, tuple[str, ...]]] = []

    async def __call__(
        self, model: str, outputs: tuple[str, ...], **tensors: NDArray[Any]
    ) -> list[NDArray[Any]]:
        self.seen.append((model, outputs))
        if outputs == ("lines",):
            return [tensors["image"][..., 1]]
        if model == "segments":
            return [255 - tensors["image"]]
        return await super().__call__(model, outputs, **tensors)


async def test_the_controlnets_are_shown_what_the_release_says(release: Release) -> None:
    fit = fit_photo(112, 144, release.buckets)
    photo = to_bucket(PHOTO, fit)
    shown = {"depth": photo[..., 0], "lines": photo[..., 1], "segments": 255 - photo}
    for hints in (("depth", "lines"), ("lines", "segments"), ("segments", "depth")):
        models = SeeingModels([RESTYLED])
        events = await run(replace(release, hints=hints), models, control_scale=np.array([0.25, 0.5]))
        (step, *_) = models.steps
        assert set(step) & {"depth", "edges", "lines", "segments"} == set(hints)
        for name in hints:
            np.testing.assert_array_equal(step[name][0], shown[name])
        # In the order of the hints, whichever they are.
        np.testing.assert_array_equal(step["control_scale"], [[0.25, 0.5]])
        # Photo and result are compared by depth and edges all the same.
        assert models.seen.count(("edges", ("edges",))) == models.seen.count(("depth", ("depth",))) == 2
        assert result(events).quality["edge_agreement"] > 0.9


async def test_without_such_controlnets_there_are_no_lines_and_segments(release: Release) -> None:
    models = SeeingModels([RESTYLED])
    await run(release, models)
    assert release.hints == ("depth", "edges")
    assert ("edges", ("lines",)) not in models.seen
    assert "segments" not in [model for model, _ in models.seen]


async def test_an_analysis_does_not_look_for_the_controlnets(release: Release) -> None:
    models = SeeingModels([])
    release = replace(release, hints=("lines", "segments"))
    _ = [event async for event in analyse(parse_photo({"image": PHOTO}), release, models)]
    assert {model for model, _ in models.seen} == {"depth", "edges", "detector"}
    assert ("edges", ("lines",)) not in models.seen


@pytest.mark.parametrize("hints", [["depth", "depth"], ["depth", "pose"], ["depth"], "ab"])
def test_a_release_with_other_hints_is_refused(
    hints: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = read_document(RELEASE) | {"hints": hints}
    monkeypatch.setenv("REROOM_RELEASE", str(write_document(tmp_path, document)))
    with pytest.raises(ValueError, match="is not a release that this program knows"):
        load_release()
    document["hints"] = ["depth", "lines"]
    write_document(tmp_path, document)
    assert load_release().hints == ("depth", "lines")


async def test_steps_outside_the_guidance_interval_follow_the_words_alone(release: Release) -> None:
    models = ScriptedModels([RESTYLED])
    await run(release, models, quality=("standard",), steps=5)
    table = release.table("dpmpp_2m", 5, 1.0, release.tiers["standard"])
    low, high = release.tiers["standard"].guidance_interval
    rows = [step["text"].shape[1] for step in models.steps]
    assert rows == [2 if low < sigma <= high else 1 for sigma in table.sigmas]
    assert set(rows) == {1, 2}


async def test_a_tier_has_its_own_denoiser_and_decoder(release: Release) -> None:
    models = ScriptedModels([RESTYLED])
    events = await run(release, models, quality=("draft",), steps=3)
    assert models.asked.count("denoiser_few_step") == 3
    assert (models.asked.count("tiny_decoder"), models.asked.count("vae_decoder")) == (1, 0)
    assert (result(events).tier, result(events).solver) == ("draft", "lcm")


def test_silence_means_the_releases_usual_quality(release: Release) -> None:
    assert (parse(release).tier.quality, parse(release).solver) == ("best", "dpmpp_2m")
    assert parse(release, quality=("draft",)).solver == "lcm"
    assert parse(release, quality=("draft",), solver=("ddim",)).solver == "ddim"


async def test_a_quality_that_a_release_does_not_have_is_a_warning(release: Release) -> None:
    fewer = replace(release, tiers={"best": release.tiers["best"]})
    plain = replace(release, tiers={}, defaults=replace(release.defaults, quality=None))
    said = {
        "best": (fewer, "quality draft has no effect: the release made the picture as best"),
        None: (plain, "quality draft has no effect: the release knows one quality only"),
    }
    for tier, (poorer, sentence) in said.items():
        done = result(await run(poorer, ScriptedModels([RESTYLED]), quality=("draft",)))
        assert done.tier == tier
        assert [warning.detail for warning in done.warnings] == [sentence]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"quality": ("fast",)}, "quality must be one of draft, standard, best, not 'fast'"),
        ({"quality": ("draft",), "steps": [51]}, "steps must be 1 to 50, not 51"),
        # Networks that were not distilled for it would make noise of it.
        ({"solver": ("lcm",)}, "solver must be one of ddim, .*, not 'lcm'"),
    ],
)
def test_what_no_tier_has_is_refused(release: Release, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        parse(release, **values)
