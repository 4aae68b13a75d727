"""Checkpoints as single files: the names of the first Stable Diffusion's code, made from those of diffusers."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

Tensors = dict[str, Tensor]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_EDGES = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "controlnet_mid_block": "middle_block_out.0",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
}


def checkpoint(unet: Any, vae: Any, text_encoder: Any) -> Tensors:
    """A whole one, in the types of the networks."""
    return {
        **{f"model.diffusion_model.{key}": tensor for key, tensor in original_unet(unet).items()},
        **{f"first_stage_model.{key}": tensor for key, tensor in original_vae(vae).items()},
        **{
            f"cond_stage_model.transformer.text_model.{key}": tensor
            for key, tensor in text_encoder.state_dict().items()
        },
    }


def original_unet(network: Any) -> Tensors:
    """A UNet's or a ControlNet's tensors."""
    state = network.state_dict()
    attended = {key.split(".")[1] for key in state if re.match(r"up_blocks\.\d+\.attentions", key)}
    layers = network.config.layers_per_block
    return {_unet_name(key, layers, attended): tensor for key, tensor in state.items()}


def _unet_name(key: str, layers: int, attended: set[str]) -> str:
    """``attended`` are the up blocks with attention."""
    module, _, end = key.rpartition(".")
    if module in _EDGES:
        return f"{_EDGES[module]}.{end}"
    if found := re.fullmatch(r"controlnet_down_blocks\.(\d+)\.(.*)", key):
        return f"zero_convs.{found[1]}.0.{found[2]}"
    if found := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)\.(.*)", key):
        return f"input_hint_block.{2 * (int(found[1]) + 1)}.{found[2]}"
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        resnet = found[1] == "resnets"
        rest = _resnet(found[3]) if resnet else found[3]
        return f"middle_block.{2 * int(found[2]) if resnet else 1}.{rest}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", key)
    assert found is not None, key
    side, block, part, index, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    at = block * (layers + 1) + index + (side == "down")
    place = f"{'input' if side == 'down' else 'output'}_blocks"
    if part == "resnets":
        return f"{place}.{at}.0.{_resnet(rest)}"
    if part == "attentions":
        return f"{place}.{at}.1.{rest}"
    if part == "downsamplers":
        return f"{place}.{(block + 1) * (layers + 1)}.0.op.{end}"
    # After the last layer of its block, and after that layer's attention if there is one.
    return f"{place}.{block * (layers + 1) + layers}.{2 if found[2] in attended else 1}.conv.{end}"


def _resnet(rest: str) -> str:
    name, _, end = rest.rpartition(".")
    return f"{_RESNET[name]}.{end}"


def original_vae(vae: Any) -> Tensors:
    """The VAE's tensors; its attention was of 1×1 convolutions."""
    blocks = len(vae.config.block_out_channels)
    return {
        name: tensor[:, :, None, None]
        if re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight", name)
        else tensor
        for key, tensor in vae.state_dict().items()
        for name in [_vae_name(key, blocks)]
    }


def _vae_name(key: str, blocks: int) -> str:
    name = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1")
    for new, old in {
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
    }.items():
        name = name.replace(f"mid.attn_1.{new}.", f"mid.attn_1.{old}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{blocks - 1 - int(m[1])}.block", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample", name)
