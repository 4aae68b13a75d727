from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.bundle import Weights
from export.dollhouse.autoencoder import AutoencoderSettings, build_autoencoder, train_autoencoder
from export.dollhouse.captions import (
    STYLE_FILE,
    Tokens,
    caption,
    load_style_words,
    main_colours,
    unconditional,
)
from export.dollhouse.diffusion import (
    Batch,
    DiffusionSettings,
    Phase,
    diffusion_losses,
    draw_batch,
    spread_timesteps,
    train_diffusion,
)
from export.dollhouse.hints import canny, depth_bytes, edge_f1, perturb_depth
from export.dollhouse.looks import STYLES
from export.dollhouse.networks import DenoiserSettings, build_denoisers
from export.dollhouse.prepared import Prepared, prepare
from export.dollhouse.restyling import TOKENIZER, preview_matrix, save_networks
from export.dollhouse.sampling import SHOWN, alphas_cumprod
from export.dollhouse.training import Limit, Losses, Optimising, Pace, Trainer
from export.models.load import _load

CPU = torch.device("cpu")
SIDE = 32
TINY = DenoiserSettings(
    widths=(8, 16), attention=(False, True), heads=2, hint_widths=(4, 8), text_width=16, text_layers=1
)
SMALL_VAE = AutoencoderSettings(widths=(8, 16), crop=16, batch=4, optimising=Optimising(learning_rate=0.03))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose time to a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class PaintedRooms:
    """Rooms of flat colours and a box, a colour per style."""

    def __len__(self) -> int:
        return 6

    def picture(self, index: int, style: int) -> NDArray[np.uint8]:
        picture = np.full((SIDE, SIDE, 3), 40 * style + 20, np.uint8)
        picture[8 + 2 * index :, 4 * style + 4 : 4 * style + 12] = (240, 60, 10 * index)
        return picture

    def depth(self, index: int) -> NDArray[np.float32]:
        return np.linspace(5.0, 1.0 + index, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)

    def room_type(self, index: int) -> str:
        return "living_room"


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(TOKENIZER)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    return prepare(PaintedRooms(), build_autoencoder(SMALL_VAE).eval(), folder, CPU)


def batch_of(rooms: Prepared, tokens: Tokens, count: int = 64, share: float = 0.3) -> Batch:
    choices = np.random.default_rng(5)
    return draw_batch(rooms, load_style_words(), tokens, count, share, choices)


def test_captions_end_with_the_words_of_the_service() -> None:
    table = tomllib.loads(STYLE_FILE.read_text())
    choices = np.random.default_rng(0)
    colours = np.array([2, 0, 9], np.uint8)
    for name, words in zip(STYLES, load_style_words(), strict=True):
        assert words.prompt == table[name]["prompt"]
        drawn = {caption(words.prompt, "living room", colours, choices) for _ in range(200)}
        assert all(text.endswith(words.prompt) for text in drawn)
        assert any("living room" in text for text in drawn)
        assert any("colour palette of beige, white, green, " in text for text in drawn)
        assert words.prompt in drawn


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


def test_main_colours_are_those_of_the_picture() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:] = (230, 230, 230)
    picture[:20] = (90, 125, 80)
    assert main_colours(picture, 2).tolist() == [0, 9]


def test_hints_come_from_the_same_room_in_another_style(rooms: Prepared, tokens: Tokens) -> None:
    batch, painted, words = batch_of(rooms, tokens), PaintedRooms(), load_style_words()
    assert (batch.sources != batch.styles).all()
    assert set(batch.sources) == set(batch.styles) == set(range(len(STYLES)))
    assert batch.rooms.max() < len(painted) - SHOWN
    told = 0
    for row, (room, style, source) in enumerate(zip(batch.rooms, batch.styles, batch.sources, strict=True)):
        edges = canny(painted.picture(room, source))
        np.testing.assert_array_equal(batch.edges[row, 0].numpy() * 255, edges)
        assert edge_f1(edges, canny(painted.picture(room, style))) < 1.0
        np.testing.assert_array_equal(batch.depth[row, 0].numpy() * 255, depth_bytes(painted.depth(room)))
        told += batch.texts[row].endswith(words[style].prompt)
        assert batch.texts[row].endswith(words[style].prompt) or batch.texts[row] in {
            "",
            *(style.negative_prompt for style in words),
        }
    assert 0 < told < len(batch.texts)


def test_a_crop_is_one_window_of_pictures_and_hints() -> None:
    places = torch.arange(64.0).view(1, 1, 8, 8)
    pixels = places.repeat_interleave(4, 2).repeat_interleave(4, 3)
    none = np.zeros(1, np.int64)
    batch = Batch(places, pixels, pixels, torch.zeros(1, 77), ("",), none, none, none)
    crop = batch.cropped(16, np.random.default_rng(3))
    assert crop.latents.shape == (1, 1, 4, 4)
    assert crop.latents[0, 0, 0, 0] > 0
    torch.testing.assert_close(crop.edges[:, :, ::4, ::4], crop.latents)
    torch.testing.assert_close(crop.depth, crop.edges)


def test_perturbed_depth_keeps_its_range_and_its_order() -> None:
    depth = torch.linspace(0, 1, 64 * 64).view(1, 1, 64, 64).repeat(16, 1, 1, 1)
    perturbed = perturb_depth(depth, np.random.default_rng(0))
    torch.testing.assert_close(perturbed.amin((1, 2, 3)), torch.zeros(16))
    torch.testing.assert_close(perturbed.amax((1, 2, 3)), torch.ones(16))
    for one in perturbed:
        assert torch.corrcoef(torch.stack([one.flatten(), depth[0].flatten()]))[0, 1] > 0.85
    exact = [bool((one - depth[0]).abs().max() < 1e-3) for one in perturbed]
    assert 0 < sum(exact) < 12


def test_timesteps_cover_the_schedule_evenly() -> None:
    timesteps = spread_timesteps(10, 1000, 1.0, np.random.default_rng(0))
    assert sorted(int(t) // 100 for t in timesteps) == list(range(10))


def test_preparing_goes_on_where_it_stopped_and_starts_anew_for_other_weights(tmp_path: Path) -> None:
    vae = build_autoencoder(SMALL_VAE).eval()
    whole = prepare(PaintedRooms(), vae, tmp_path, CPU)
    first = np.array(whole.latents)
    again = prepare(PaintedRooms(), vae, tmp_path, CPU)
    np.testing.assert_array_equal(again.latents, first)
    vae.register_to_config(scaling_factor=2.0)
    scaled = prepare(PaintedRooms(), vae, tmp_path, CPU)
    np.testing.assert_allclose(scaled.latents, 2.0 * first, rtol=2e-3, atol=1e-3)


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


def test_denoisers_learn_a_batch(rooms: Prepared, tokens: Tokens) -> None:
    networks = build_denoisers(TINY, tokens, seed=1)
    batch = batch_of(rooms, tokens, count=8, share=0.0)
    timesteps = spread_timesteps(8, 1000, 1.0, np.random.default_rng(0))
    noise = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(0))
    parameters = [p for network in networks.values() for p in network.parameters()]
    optimiser = torch.optim.Adam(parameters, 3e-3)
    course = []
    for _ in range(25):
        losses = diffusion_losses(networks, batch, alphas_cumprod(), timesteps, noise)
        optimiser.zero_grad()
        torch.autograd.backward(losses["loss"])
        optimiser.step()
        course.append(float(losses["loss"].detach()))
    assert course[-1] < 0.6 * course[0]
    untouched = [
        f"{name}.{part}"
        for name, network in networks.items()
        for part, p in network.named_parameters()
        if p.grad is None or not p.grad.any()
    ]
    assert [part for part in untouched if "k_proj.bias" not in part] == []


def test_diffusion_runs_its_phases_and_is_loaded_as_a_bundle_does(
    rooms: Prepared, tokens: Tokens, tmp_path: Path
) -> None:
    settings = DiffusionSettings(sizes=TINY, phases=(Phase(0.5, 16, 4), Phase(1.0, None, 2)))
    assert [settings.phase(p).batch for p in (0.0, 0.49, 0.5, 1.0)] == [4, 4, 2, 2]
    vae = build_autoencoder(SMALL_VAE).eval()
    trained = train_diffusion(
        rooms,
        vae,
        load_style_words(),
        tokens,
        tmp_path / "run",
        settings,
        Limit(steps=4),
        CPU,
        Pace(sample=1e9),
    )
    assert [path.name for path in (tmp_path / "run" / "samples").iterdir()] == ["0000004.png"]
    save_networks({**trained, "vae": vae}, tmp_path)
    for name, network in {**trained, "vae": vae}.items():
        loaded = _load(name, Weights(path=str(tmp_path / name)), 0).state_dict()
        for key, value in network.state_dict().items():
            torch.testing.assert_close(loaded[key], value, rtol=0, atol=0)
