"""The denoisers' training: captions, batches, the loop, losses, and networks that a bundle loads."""

from __future__ import annotations

import json
import math
import pickle
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from dollhouse.data.captions import (
    STYLE_FILE,
    Tokens,
    caption,
    load_style_words,
    plain_caption,
    unconditional,
)
from dollhouse.data.hints import canny, perturb_depth
from dollhouse.data.jitter import jittered
from dollhouse.data.pairs import SOURCES
from dollhouse.data.prepared import seen_depth
from dollhouse.render.colours import NAMED_COLOURS
from dollhouse.render.looks import STYLES
from dollhouse.render.schemes import ColourWish
from dollhouse.train.autoencoder import AutoencoderSettings, build_autoencoder, train_autoencoder
from dollhouse.train.crops import Crops, draw_step, drawing
from dollhouse.train.diffusion import draw_timesteps, restyling_losses, train_diffusion
from dollhouse.train.loop import Limit, Losses, Optimising, Pace, Trainer
from dollhouse.train.networks import build_denoisers, sizes_of
from dollhouse.train.patches import Adversary
from dollhouse.train.progress import last_steps
from dollhouse.train.recipe import DiffusionSettings, Phase
from dollhouse.train.restyling import TOKENIZER, preview_matrix, save_networks
from dollhouse.train.sampling import SHOWN, TIMESTEP, Steps, alphas_cumprod, restyled
from dollhouse.train.wording import SLOTS, colours_of, learn_words
from dollhouse.train.workers import ALONE
from export.networks.load import load_folder
from tests.support.dollhouse import CPU, DENOISERS, SIDE, PaintedRooms, RedIsNear

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL_VAE = AutoencoderSettings(widths=(8, 16), crop=16, batch=4, optimising=Optimising(learning_rate=0.03))


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(TOKENIZER)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    return seen_depth(PaintedRooms(), RedIsNear(), tmp_path_factory.mktemp("prepared"))


def crops_of(seen: NDArray[np.uint8], tokens: Tokens, **settings: Any) -> Crops:
    return Crops(
        PaintedRooms(), seen, load_style_words(), tokens, DiffusionSettings(sizes=DENOISERS, **settings)
    )


def test_captions_end_with_the_words_of_the_service() -> None:
    table = tomllib.loads(STYLE_FILE.read_text())
    choices = np.random.default_rng(0)
    for name, words in zip(STYLES, load_style_words(), strict=True):
        assert words.prompt == table[name]["prompt"]
        drawn = {caption(words.prompt, "living room", ColourWish(), choices) for _ in range(200)}
        assert all(text.endswith(words.prompt) for text in drawn)
        assert any("living room" in text for text in drawn)
        assert words.prompt in drawn


def test_captions_ask_for_what_the_target_has_by_any_name_of_its_colour() -> None:
    choices = np.random.default_rng(0)
    walls = {caption("boho", "office", ColourWish(walls="sage green"), choices) for _ in range(200)}
    assert {"sage green walls, boho", "walls in sage, boho", "paint the walls mint, boho"} <= walls
    assert all("wall" in text for text in walls)
    palettes = {caption("boho", "office", ColourWish(("navy", "beige")), choices) for _ in range(400)}
    assert {"colour palette of navy, beige, boho", "colour palette of dark blue, sand, boho"} <= palettes
    assert (
        plain_caption("boho", ColourWish(("navy",), sofa="pink")) == "pink sofa, colour palette of navy, boho"
    )


def test_no_name_stands_for_two_colours() -> None:
    names = [name for entry in NAMED_COLOURS for name in entry.names]
    assert len(names) == len(set(names))


def test_the_unconditional_text_is_empty_or_what_some_style_does_not_want() -> None:
    words, choices = load_style_words(), np.random.default_rng(0)
    drawn = {unconditional(words, choices) for _ in range(200)}
    assert drawn == {"", *(style.negative_prompt for style in words)}


def test_long_prompts_are_cut_at_77_tokens_with_their_frame(tokens: Tokens) -> None:
    ids = tokens(["sofa " * 200, ""])
    assert ids.shape == (2, 77)
    framing = tokens.framing
    assert [int(ids[0, 0]), int(ids[0, -1])] == [framing["bos_token_id"], framing["eos_token_id"]]
    assert len(set(ids[1, 2:].tolist()) | {framing["pad_token_id"]}) == 1


def test_a_batch_is_one_window_of_source_target_and_hints(seen: NDArray[np.uint8], tokens: Tokens) -> None:
    crops, rooms = crops_of(seen, tokens, seen_depth=1.0, unconditional=0.0), PaintedRooms()
    known = {
        rooms.target(index, number).tobytes(): (index, number)
        for index in range(len(rooms) - SHOWN)
        for number in range(len(rooms.pairs(index)))
    }
    batch = crops.draw(Phase(1.0, SIDE, 40), np.random.default_rng(5)).unpack(CPU)
    found = 0
    for row in range(40):
        target = ((batch.targets[row].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
        where = known.get(np.ascontiguousarray(target).tobytes())
        if where is None:  # mirrored
            where = known[np.ascontiguousarray(target[:, ::-1]).tobytes()]
        else:
            found += 1
            pair = rooms.pairs(where[0])[where[1]]
            depth = batch.depth[row, 0] * 255
            np.testing.assert_allclose(depth, seen[where[0], pair.source], atol=0.01)
        pair = rooms.pairs(where[0])[where[1]]
        assert STYLES[int(batch.styles[row])] == pair.style
        assert batch.texts[row].endswith(load_style_words()[int(batch.styles[row])].prompt)
        for name in pair.wish.palette:
            names = next(entry.names for entry in NAMED_COLOURS if name in entry.names)
            assert any(each in batch.texts[row] for each in names)
    assert 0 < found < 40
    photo = ((batch.sources[0].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(batch.edges[0, 0].numpy() * 255, canny(photo))
    smaller = crops.draw(Phase(1.0, 16, 30), np.random.default_rng(1))
    assert smaller.sources.shape == smaller.targets.shape == (30, 16, 16, 3)
    assert smaller.depth.shape == smaller.edges.shape == (30, 16, 16)


def test_jitter_changes_light_and_grain_but_not_the_room() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = (200, 150, 120)
    made = [jittered(picture, np.random.default_rng(seed)) for seed in range(40)]
    assert all(each.shape == picture.shape and each.dtype == np.uint8 for each in made)
    changed = [float(np.abs(each.astype(int) - picture).mean()) for each in made]
    assert np.mean(np.array(changed) > 5) > 0.5
    brighter = [each[:, 40:].mean() > each[:, :24].mean() for each in made]
    assert np.mean(brighter) > 0.95
    np.testing.assert_array_equal(jittered(picture, np.random.default_rng(3)), made[3])


def test_perturbed_depth_keeps_its_range_and_its_order() -> None:
    depth = torch.linspace(0, 1, 64 * 64).view(1, 1, 64, 64).repeat(16, 1, 1, 1)
    perturbed = perturb_depth(depth, np.random.default_rng(0))
    torch.testing.assert_close(perturbed.amin((1, 2, 3)), torch.zeros(16))
    torch.testing.assert_close(perturbed.amax((1, 2, 3)), torch.ones(16))
    for one in perturbed:
        assert torch.corrcoef(torch.stack([one.flatten(), depth[0].flatten()]))[0, 1] > 0.85
    exact = [bool((one - depth[0]).abs().max() < 1e-3) for one in perturbed]
    assert 0 < sum(exact) < 12


def test_most_timesteps_are_that_of_the_defaults() -> None:
    drawn = draw_timesteps(DiffusionSettings(), 4000, np.random.default_rng(0))
    assert np.mean(drawn == TIMESTEP) == pytest.approx(0.75, abs=0.03)
    assert drawn.min() < 40
    assert drawn.max() > 420


def test_depth_is_predicted_once_resumed_and_predicted_anew_for_another_model(tmp_path: Path) -> None:
    rooms, model, folder = PaintedRooms(), RedIsNear(), tmp_path / "prepared"
    answers = np.array(seen_depth(rooms, model, folder))
    assert answers.shape == (len(rooms), len(SOURCES), SIDE, SIDE)
    np.testing.assert_array_equal(answers[3, 2], rooms.source(3, 2)[..., 0])
    seen_depth(rooms, model, folder)
    assert model.calls == len(rooms)
    note = folder / "note.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "done": 9}))
    assert last_steps(tmp_path, {"diffusion": 1.0}) == f"depth of 9 of {len(rooms)} rooms"
    seen_depth(rooms, model, folder)
    assert model.calls == 2 * len(rooms) - 9
    assert (seen_depth(rooms, RedIsNear(0.5), folder) != answers).any()


class Interrupted(Exception):
    pass


def line_trainer(folder: Path, stop_at: int = 10**6, rate: float = 0.1) -> tuple[Trainer, nn.Linear]:
    torch.manual_seed(0)
    network = nn.Linear(3, 1)

    def losses(step: int) -> Losses:
        if step == stop_at:
            raise Interrupted
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return {"loss": (network(x)[:, 0] - x.sum(1)).square().mean()}

    pace = Pace(checkpoint=0.0, sample=1e9, log=0.0)
    optimising = Optimising(learning_rate=rate)
    return Trainer({"line": network}, losses, Path.touch, optimising, {"seed": 0}, folder, pace), network


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    limit = Limit(steps=12)
    straight, expected = line_trainer(tmp_path / "straight")
    straight.run(limit)
    stopped, _ = line_trainer(tmp_path / "stopped", stop_at=7)
    with pytest.raises(Interrupted):
        stopped.run(limit)
    resumed, network = line_trainer(tmp_path / "stopped")
    assert resumed.step == 7
    resumed.run(limit)
    torch.testing.assert_close(network.weight, expected.weight, rtol=0, atol=0)
    lines = (tmp_path / "stopped" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 12


def test_a_gradient_that_is_no_number_moves_nothing(tmp_path: Path) -> None:
    trainer, network = line_trainer(tmp_path)
    sound, calls = trainer.losses, iter(range(1000))

    def losses(step: int) -> Losses:
        wrong = math.nan if next(calls) in spoilt else 1.0
        return {"loss": wrong * sound(step)["loss"]}

    trainer.losses, spoilt = losses, range(3, 5)
    trainer.run(Limit(steps=9))
    assert network.weight.isfinite().all()
    assert trainer.step == 9
    spoilt = range(9, 1000)
    with pytest.raises(ArithmeticError, match="the loss is nan at step"):
        trainer.run(Limit(steps=100))
    kept = torch.load(trainer.checkpoint, weights_only=True)
    assert all(value.isfinite().all() for value in (*kept["networks"].values(), *kept["average"]))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    line_trainer(tmp_path)[0].run(Limit(steps=1))
    with pytest.raises(ValueError, match="other settings"):
        line_trainer(tmp_path, rate=0.2)


def test_the_autoencoder_learns_and_measures_its_scale(tmp_path: Path) -> None:
    pace = Pace(sample=1e9, log=0.0)
    vae = train_autoencoder(PaintedRooms(), tmp_path, SMALL_VAE, Limit(steps=40), CPU, pace)
    lines = [line.split('"loss": ')[1] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [float(line.split(",")[0]) for line in lines]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert vae.config.scaling_factor != 1.0
    assert np.shape(preview_matrix(vae, PaintedRooms(), CPU)) == (5, 3)


def test_a_step_without_noise_leads_where_its_clean_picture_is() -> None:
    """With the true v a step finds x0, and a second one from there finds it again."""
    alphas = alphas_cumprod()
    photo, goal = torch.randn(2, 1, 4, 8, 8).unbind(0)
    first, later = torch.tensor([TIMESTEP]), torch.tensor([90])
    steps = Steps(None, alphas)
    alpha, spread = steps.levels(first)
    torch.testing.assert_close(alpha**2 + spread**2, torch.ones(1, 1, 1, 1))
    state = alpha * photo
    velocity = (alpha * state - goal) / spread
    torch.testing.assert_close(alpha * state - spread * velocity, goal)
    onward = steps.onward(state, goal, first, later)
    next_alpha, next_spread = steps.levels(later)
    noise = (state - alpha * goal) / spread
    torch.testing.assert_close(onward, next_alpha * goal + next_spread * noise)


@pytest.mark.parametrize("second", [False, True])
def test_denoisers_learn_a_batch(seen: NDArray[np.uint8], tokens: Tokens, second: bool) -> None:
    networks = build_denoisers(DENOISERS, tokens, seed=1)
    vae = build_autoencoder(SMALL_VAE).eval().requires_grad_(False)
    batch = (
        crops_of(seen, tokens, unconditional=0.0)
        .draw(Phase(1.0, SIDE, 8), np.random.default_rng(0))
        .unpack(CPU)
    )
    steps, times = Steps(networks, alphas_cumprod()), torch.full((8,), TIMESTEP)
    later = torch.full((8,), 60) if second else None
    adversary = Adversary(len(STYLES), 3, CPU, ALONE)
    parameters = [p for network in networks.values() for p in network.parameters()]
    optimiser = torch.optim.Adam(parameters, 3e-3)
    course = []
    for _ in range(12 if second else 30):
        window = (slice(0, 16), slice(0, 16))
        losses = restyling_losses(steps, vae, batch, times, later, window, adversary, 0.05)
        optimiser.zero_grad()
        torch.autograd.backward(losses["loss"])
        optimiser.step()
        course.append(float(losses["latents"].detach()))
    assert course[-1] < (0.95 if second else 0.7) * course[0]
    untouched = [
        f"{name}.{part}"
        for name, network in networks.items()
        for part, p in network.named_parameters()
        if p.grad is None or not p.grad.any()
    ]
    assert [part for part in untouched if "k_proj.bias" not in part] == []


def test_words_for_colours_are_learnt_without_forgetting_the_styles(tokens: Tokens) -> None:
    networks, words = build_denoisers(DENOISERS, tokens, seed=1), load_style_words()
    plain = tokens([style.prompt for style in words])
    with torch.no_grad():
        before = networks["text_encoder"](input_ids=plain).last_hidden_state
    course = learn_words(networks, words, tokens, 0, CPU, steps=60)
    assert np.mean(course[-10:]) < 0.5 * course[0]
    with torch.no_grad():
        after = networks["text_encoder"](input_ids=plain).last_hidden_state
    assert (after - before).square().mean() < 0.3 * before.square().mean()


def test_colours_are_those_that_a_target_has() -> None:
    plain, wished = (
        colours_of("modern", ColourWish()),
        colours_of("modern", ColourWish(walls="navy", sofa="red")),
    )
    changed = {slot for n, slot in enumerate(SLOTS) if plain[3 * n : 3 * n + 3] != wished[3 * n : 3 * n + 3]}
    assert changed == {"wall", "sofa"}


def test_the_discriminator_learns_is_kept_and_survives_a_picture_of_nan() -> None:
    adversary = Adversary(2, 0, CPU, ALONE)
    styles = torch.tensor([0, 1])
    real, made = torch.full((2, 3, 32, 32), 0.5), torch.full((2, 3, 32, 32), -0.5)
    first = [float(adversary.learn(real, made, styles)) for _ in range(30)]
    assert first[-1] < 0.8 * first[0]
    assert adversary.generator_loss(real, styles) < adversary.generator_loss(made, styles)
    again = Adversary(2, 1, CPU, ALONE)
    again.load_state_dict(adversary.state_dict())
    again.network.eval()
    adversary.network.eval()
    torch.testing.assert_close(again.generator_loss(made, styles), adversary.generator_loss(made, styles))
    adversary.learn(real, torch.full_like(real, math.nan), styles)
    assert adversary.generator_loss(real, styles).isfinite(), "one picture has spoilt the discriminator"


def test_another_process_draws_the_same(seen: NDArray[np.uint8], tokens: Tokens) -> None:
    crops, phase = crops_of(seen, tokens), Phase(1.0, 16, 4)
    pickled = pickle.dumps(crops)
    assert len(pickled) < len(pickle.dumps(tokens)) + seen.nbytes, "the depths are mapped, not copied"
    copy = pickle.loads(pickled)
    with drawing(crops, 3) as batch_of:
        for step in (5, 6, 9):
            here, there = batch_of(step, phase), draw_step(copy, 3, step, phase)
            assert here.texts == there.texts
            for name in ("sources", "targets", "depth", "edges", "ids", "styles"):
                torch.testing.assert_close(getattr(here, name), getattr(there, name), rtol=0, atol=0)


def test_a_start_gives_its_sizes_and_knows_the_words(tokens: Tokens, tmp_path: Path) -> None:
    save_networks(build_denoisers(DENOISERS, tokens, seed=1), tmp_path)
    settings = DiffusionSettings().going_on(sizes_of(tmp_path))
    assert settings.sizes == DENOISERS
    assert settings.word_steps == 0
    assert settings.optimising.learning_rate == DiffusionSettings().optimising.learning_rate / 2


def test_restyling_runs_its_phases_and_is_loaded_as_a_bundle_does(
    seen: NDArray[np.uint8], tokens: Tokens, tmp_path: Path
) -> None:
    phases = (Phase(0.5, 16, 4, 16), Phase(1.0, 32, 2, 16, 0.1))
    crops = crops_of(seen, tokens, phases=phases, second_steps=0.5, word_steps=2)
    assert [crops.settings.phase(p).batch for p in (0.0, 0.49, 0.5, 1.0)] == [4, 4, 2, 2]
    vae = build_autoencoder(SMALL_VAE).eval()
    trained = train_diffusion(crops, vae, tmp_path / "run", Limit(steps=4), CPU, Pace(sample=1e9))
    samples = {path.name for path in (tmp_path / "run" / "samples").iterdir()}
    assert samples == {"0000004.png", "figures.jsonl"}
    made = restyled(
        trained,
        vae,
        torch.zeros(1, 3, SIDE, SIDE),
        torch.zeros(1, 1, SIDE, SIDE),
        torch.zeros(1, 1, SIDE, SIDE),
        tokens(["boho"]),
    )
    assert made.shape == (1, 3, SIDE, SIDE)
    save_networks({**trained, "vae": vae}, tmp_path)
    for name, network in {**trained, "vae": vae}.items():
        loaded = load_folder(name, tmp_path / name).state_dict()
        for key, value in network.state_dict().items():
            torch.testing.assert_close(loaded[key], value, rtol=0, atol=0)
