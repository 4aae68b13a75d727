"""What colours words mean, learnt from captions alone before any picture is.

A caption names a palette in three of its seventy tokens, and a denoiser that learns them from pictures only finds out
very late that they matter. Here the text encoder, and the layer of the UNet that makes one vector of a caption, learn
to tell the colours that a target will have: thousands of captions a minute. The head that reads them is thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dollhouse.data.captions import StyleWords, Tokens, caption
from dollhouse.data.pairs import draw_wish
from dollhouse.render.colours import rgb
from dollhouse.render.layout import ROOM_TYPES
from dollhouse.render.looks import STYLES
from dollhouse.render.schemes import Wish, wished_colour

from .loop import descend, step_randomness

SLOTS = ("wall", "floor", "sofa", "rug", "curtain", "drawers", "door", "wood")
"""Whose colours are told."""

BATCH, STEPS, LEARNING_RATE = 48, 500, 1e-3
KEPT = 1.0
"""Weight of what captions without wishes meant before, to the networks that read them already."""


def colours_of(style: str, wish: Wish) -> list[float]:
    """Three sRGB values, −0.5..0.5, for each of SLOTS."""
    return [value - 0.5 for slot in SLOTS for value in rgb(wished_colour(style, slot, "living room", wish))]


def learn_words(
    networks: Any,
    words: Sequence[StyleWords],
    tokens: Tokens,
    seed: int,
    device: torch.device,
    steps: int = STEPS,
) -> list[float]:
    """Move ``text_encoder`` and the UNet's ``add_embedding``; returns the course of the colours' mean square error.

    What both say of captions without wishes stays as near as may be to what they said before.
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
        wish = draw_wish(choices)
        room_type = ROOM_TYPES[int(choices.integers(len(ROOM_TYPES)))]
        texts.append(caption(words[style].prompt, room_type, wish, choices))
        colours.append(colours_of(STYLES[style], wish))
    return tokens(texts), torch.tensor(colours)
