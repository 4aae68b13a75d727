"""The denoising networks of the dollhouse: the classes of Stable Diffusion, a few hundred times smaller."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from dollhouse.data.captions import LENGTH, Tokens


@dataclass(frozen=True)
class DenoiserSettings:
    """Sizes. There must be as many ``hint_widths`` as levels of the autoencoder: both shrink pictures alike."""

    widths: tuple[int, ...] = (48, 96, 144, 192)
    attention: tuple[bool, ...] = (False, False, False, True)
    """Which levels attend to the text, besides the middle block."""
    layers: int = 1
    heads: int = 4
    hint_widths: tuple[int, ...] = (4, 16, 32)
    text_width: int = 96
    text_layers: int = 2


def sizes_of(folder: Path) -> DenoiserSettings:
    """Sizes of the networks in a folder that ``save_pretrained`` wrote. Raises FileNotFoundError when there are
    none."""
    unet, controlnet, text = (
        json.loads((folder / name / "config.json").read_text())
        for name in ("unet", "controlnet_depth", "text_encoder")
    )
    return DenoiserSettings(
        widths=tuple(unet["block_out_channels"]),
        attention=tuple(block.startswith("CrossAttn") for block in unet["down_block_types"]),
        layers=unet["layers_per_block"],
        heads=unet["attention_head_dim"],
        hint_widths=tuple(controlnet["conditioning_embedding_out_channels"]),
        text_width=text["hidden_size"],
        text_layers=text["num_hidden_layers"],
    )


def build_denoisers(settings: DenoiserSettings, tokens: Tokens, seed: int) -> dict[str, Any]:
    """``text_encoder``, ``unet``, ``controlnet_depth``, ``controlnet_canny`` with random weights."""
    torch.manual_seed(seed)
    down = tuple("CrossAttnDownBlock2D" if text else "DownBlock2D" for text in settings.attention)
    up = tuple("CrossAttnUpBlock2D" if text else "UpBlock2D" for text in reversed(settings.attention))
    common: dict[str, Any] = {
        "in_channels": 4,
        "down_block_types": down,
        "block_out_channels": settings.widths,
        "layers_per_block": settings.layers,
        "norm_num_groups": 8,
        "cross_attention_dim": settings.text_width,
        "attention_head_dim": settings.heads,
    }
    networks: dict[str, Any] = {
        "text_encoder": _text_encoder(settings, tokens),
        # The caption also goes to every level as one vector beside the time: a style concerns the whole picture.
        "unet": UNet2DConditionModel(
            sample_size=64,
            out_channels=4,
            up_block_types=up,
            addition_embed_type="text",
            addition_embed_type_num_heads=settings.heads,
            **common,
        ),
    }
    for name in ("controlnet_depth", "controlnet_canny"):
        network = ControlNetModel(conditioning_embedding_out_channels=settings.hint_widths, **common)
        _open(network, HINT_GAINS[name])
        networks[name] = network
    return networks


def _text_encoder(settings: DenoiserSettings, tokens: Tokens) -> Any:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens.vocabulary,
            **tokens.framing,
            hidden_size=settings.text_width,
            intermediate_size=4 * settings.text_width,
            num_hidden_layers=settings.text_layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=LENGTH,
            attn_implementation="eager",
        )
    )


HINT_GAINS = {"controlnet_depth": 3.0, "controlnet_canny": 1.5}
"""Factors that bring embedded hints to the scale of the noisy latents: depth maps have little contrast."""


def _open(controlnet: Any, hint_gain: float) -> None:
    """Let hints through from the first step on.

    diffusers starts a ControlNet with zeros, to protect a trained UNet. Here there is none yet, so these zeros are
    drawn at random. The embedding's convolutions, which usually lose two thirds of the signal each at the start, keep
    it (He et al. 2015, arXiv 1502.01852; √3 is the gain of SiLU on small signals).
    """
    for module in controlnet.controlnet_cond_embedding.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.weight, std=(3.0 / module.weight[0].numel()) ** 0.5)
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        controlnet.controlnet_cond_embedding.conv_out.weight.mul_(hint_gain)
    for convolution in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        nn.init.normal_(convolution.weight, std=0.5 * convolution.in_channels**-0.5)


def predict_velocity(
    networks: Any, noisy: Tensor, timesteps: Tensor, text: Tensor, depth: Tensor, edges: Tensor
) -> Tensor:
    """v for ``noisy`` [B,4,h,w] at ``timesteps`` [B], given ``text`` [B,77,D], ``depth`` and ``edges`` FP [B,1,H,W] in
    0..1; both ControlNets at full strength."""
    hints = {"controlnet_depth": depth, "controlnet_canny": edges}
    answers = [
        networks[name](
            noisy,
            timesteps,
            encoder_hidden_states=text,
            controlnet_cond=hint.expand(-1, 3, -1, -1),
            return_dict=False,
        )
        for name, hint in hints.items()
    ]
    return networks["unet"](
        noisy,
        timesteps,
        encoder_hidden_states=text,
        down_block_additional_residuals=tuple(
            a + b for a, b in zip(*(down for down, _ in answers), strict=True)
        ),
        mid_block_additional_residual=answers[0][1] + answers[1][1],
        return_dict=False,
    )[0]
