"""Training on captions alone, before the first picture: which colours the words stand for.

A caption names a palette in three of its seventy tokens, and a denoiser that learns from pictures only uses them very
late. Here the text encoder, and the layer of the UNet that makes one vector of a caption, learn to predict the colours
of the target: thousands of captions a minute. The head that predicts them is discarded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dollhouse.data.captions import StyleWords, Tokens, caption
from dollhouse.data.pairs import random_wish
from dollhouse.render.colours import rgb
from dollhouse.render.layout import ROOM_TYPES
from dollhouse.render.looks import STYLES
from dollhouse.render.schemes import ColourWish, wished_colour

from .loop import descend, step_randomness

SLOTS = ("wall", "floor", "sofa", "rug", "curtain", "drawers", "door", "wood")
"""The slots whose colours are predicted."""

BATCH, STEPS, LEARNING_RATE = 48, 500, 1e-3
KEPT = 1.0
"""Weight of the change that captions without wishes suffer, for networks that know them already."""


def colours_of(style: str, wish: ColourWish) -> list[float]:
    """The colours of a target: three sRGB values, −0.5..0.5, for each of SLOTS."""
    return [value - 0.5 for slot in SLOTS for value in rgb(wished_colour(style, slot, "living room", wish))]


def learn_words(
    networks: Any,
    words: Sequence[StyleWords],
    tokens: Tokens,
    seed: int,
    device: torch.device,
    steps: int = STEPS,
) -> list[float]:
    """Train ``text_encoder`` and the UNet's ``add_embedding``; returns the colours' mean square error, step by step.

    A penalty keeps their outputs for captions without wishes near what they were.
    """
    torch.manual_seed(seed)
    text_encoder, pooling = networks["text_encoder"], networks["unet"].add_embedding
    head = nn.Sequential(
        nn.LayerNorm(networks["unet"].config.block_out_channels[0] * 4), nn.LazyLinear(3 * len(SLOTS))
    ).to(device)
    plain = tokens([style.prompt for style in words]).to(device)
    with torch.no_grad():
        known = text_encoder(input_ids=plain).last_hidden_state
        known_vector = pooling(known)
        head(known_vector)
    parameters = [*text_encoder.parameters(), *pooling.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=0.01)
    course = []
    for step in range(steps):
        choices, _ = step_randomness(seed, step, device)
        ids, colours = _captions(words, tokens, choices)
        vectors = pooling(text_encoder(input_ids=ids.to(device)).last_hidden_state)
        error = (head(vectors) - colours.to(device)).square().mean()
        again = text_encoder(input_ids=plain).last_hidden_state
        drift = (again - known).square().mean() + (pooling(again) - known_vector).square().mean()
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 20) * (1.0 - 0.95 * step / steps)
        descend(error + KEPT * drift, optimiser, parameters, clip=1.0)
        course.append(float(error.detach()))
    return course


def _captions(
    words: Sequence[StyleWords], tokens: Tokens, choices: np.random.Generator
) -> tuple[Tensor, Tensor]:
    texts, colours = [], []
    for _ in range(BATCH):
        style = int(choices.integers(len(STYLES)))
        wish = random_wish(choices)
        room_type = ROOM_TYPES[int(choices.integers(len(ROOM_TYPES)))]
        texts.append(caption(words[style].prompt, room_type, wish, choices))
        colours.append(colours_of(STYLES[style], wish))
    return tokens(texts), torch.tensor(colours)
