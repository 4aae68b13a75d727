"""LoRAs: low-rank changes of the UNet and the text encoder, added to their weights once and for all.

Of each matrix W that it changes, a LoRA's file holds two thin ones, ``down`` [rank, inputs] and ``up`` [outputs, rank]:

    W' = W + scale · alpha / rank · up · down

Kernels are changed in the same way, as matrices of [outputs, inputs · height · width]. Files name the parts after three
conventions, all of which are read:

    kohya's scripts   lora_unet_<path>.lora_down.weight, .lora_up.weight, .alpha; dots of the path are written as "_"
    peft, diffusers   unet.<path>.lora_A.weight, .lora_B.weight; alpha is in the header or in a file beside it
    older diffusers   unet.<path>.lora.down.weight, unet.<path>.processor.<to_q>_lora.down.weight
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod, sqrt
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from torch import Tensor, nn

from export.bundle import Lora, refuse
from export.sources.headers import Header, read_header

LORA_NETWORKS = ("unet", "text_encoder")
"""The networks that a LoRA can change."""

_PREFIXES = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "unet.": "unet",
    "text_encoder.": "text_encoder",
}
_SDXL = ("lora_te2_", "text_encoder_2.")
_FOREIGN = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "LoCon with a core tensor",
    "oft_": "OFT",
    "diff": "full differences",
    "diff_b": "full differences",
}
"""What stands in the last parts of keys whose changes are no plain products, and what it is called."""
_PART = re.compile(
    r"(?P<path>.+?)[._](?P<part>lora_(?:down|up|A|B)|lora(?:_linear_layer)?\.(?:down|up))(?:\.default)?\.weight"
)
_ALPHA = re.compile(r"(?P<path>.+?)(?:[._]lora(?:_linear_layer|_A|_down)?(?:\.down)?(?:\.weight)?)?\.alpha")
_OLD_NAMES = {
    r"\.processor\.": ".",
    r"\.to_out$": ".to_out.0",
    r"(\.self_attn\.)to_([qkv])$": r"\1\2_proj",
    r"(\.self_attn\.)to_out\.0$": r"\1out_proj",
}
"""How diffusers once named the layers that attention processors change."""
_CONVENTIONS = "those of kohya's scripts, peft and diffusers are read"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The change of one module."""

    lora: Lora
    header: Header
    path: str
    """As the file names the module."""
    down: str
    """Keys of the file."""
    up: str
    alpha: str | float | None
    """The key, the number, or None where the file says nothing: as the rank."""
    root: bool = False
    """Whether alpha is divided by the root of the rank in place of the rank."""


def fuse(name: str, network: nn.Module, loras: Sequence[Lora]) -> None:
    """Add the changes of ``loras`` to the weights of ``network``, which is ``name``: "unet" or "text_encoder".

    Products and sums are computed in FP64 and rounded once. Raises BundleError, with everything that is wrong, before
    the first weight is changed.
    """
    changes, problems = find_changes({name: network}, loras)
    refuse(problems)
    modules = dict(network.named_modules())
    with torch.no_grad():
        for path, found in changes.get(name, {}).items():
            weight: Tensor = modules[path].weight
            total = weight.double()
            for change in found:
                total += _product(change).reshape(weight.shape)
            weight.copy_(total)


def find_changes(
    networks: Mapping[str, nn.Module], loras: Iterable[Lora]
) -> tuple[dict[str, dict[str, list[Change]]], list[str]]:
    """The changes of ``loras`` by network and module, and all that keeps them from being made.

    Reads headers only, and of ``networks`` only names and shapes: they may be on the device ``meta``.
    """
    changes: dict[str, dict[str, list[Change]]] = {}
    problems: list[str] = []
    modules = {name: _modules(network) for name, network in networks.items()}
    for lora in loras:
        try:
            header = read_header(lora.file)
        except ValueError as error:
            problems.append(str(error))
            continue
        found, wrong = _read(lora, header)
        misfits = []
        for name, change in found:
            if name not in modules:
                continue
            module = modules[name].get(_flat(change.path))
            if module is None:
                misfits.append(f"{change.down} changes a module that the {name} does not have")
            elif misfit := _misfit(change, *module):
                misfits.append(misfit)
            else:
                changes.setdefault(name, {}).setdefault(module[0], []).append(change)
        if misfits:
            wrong.append(
                f"{header.path}: {misfits[0]}{_and_more(misfits)}: take a LoRA that was made for networks of this "
                "shape (Stable Diffusion 1.5's)"
            )
        problems += wrong
    return changes, problems


def _modules(network: nn.Module) -> dict[str, tuple[str, nn.Module]]:
    """Modules with a matrix or kernel and their names, by :func:`_flat` name."""
    return {
        _flat(name): (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def _flat(path: str) -> str:
    """The name of a module as kohya's scripts write it, which is ambiguous; and without the prefix ``text_model``,
    which only some versions of transformers have."""
    return path.replace(".", "_").removeprefix("text_model_")


def _read(lora: Lora, header: Header) -> tuple[list[tuple[str, Change]], list[str]]:
    """The changes of a file, each with its network, and what is wrong with the file."""
    config, parts, alphas, unknown = _config(header), dict[str, dict[str, str]](), dict[str, str](), []
    for key in header.tensors:
        if kind := _foreign(key):
            return [], [f"{header.path}: {key}: {kind}: take a plain LoRA for Stable Diffusion 1.5"]
        if found := _PART.fullmatch(key):
            down = found["part"].endswith(("down", "A"))
            parts.setdefault(_path(found["path"]), {})["down" if down else "up"] = key
        elif found := _ALPHA.fullmatch(key):
            alphas[_path(found["path"])] = key
        else:
            unknown.append(key)
    problems = []
    if config.get("use_dora"):
        problems.append(f"{header.path}: its configuration says use_dora: take a plain LoRA")
    if unknown:
        problems.append(
            f"{header.path}: {unknown[0]}{_and_more(unknown)}: not the key of a LoRA ({_CONVENTIONS})"
        )
    if not parts and not unknown:
        problems.append(f"{header.path}: holds no LoRA")
    changes = []
    for path, pair in parts.items():
        name, module = _network(path)
        if name is None:
            problems.append(
                f"{header.path}: {next(iter(pair.values()))} names no network: it must be of "
                f"{' or '.join(LORA_NETWORKS)} ({_CONVENTIONS})"
            )
        elif len(pair) < 2:
            (key,) = pair.values()
            problems.append(f"{header.path}: {key} has no partner: fetch the file again")
        else:
            alpha, root = _alpha(config, name, module)
            changes.append(
                (
                    name,
                    Change(
                        lora=lora,
                        header=header,
                        path=module,
                        down=pair["down"],
                        up=pair["up"],
                        alpha=alphas.get(path, alpha),
                        root=root,
                    ),
                )
            )
    lonely = [key for path, key in alphas.items() if path not in parts]
    if lonely:
        problems.append(f"{header.path}: {lonely[0]}{_and_more(lonely)} is the alpha of no matrices")
    return changes, problems


def _foreign(key: str) -> str | None:
    """What is changed in another way by ``key``, or in a network that there is not; None for what is served."""
    if key.startswith(_SDXL):
        return "is of a second text encoder, which SDXL has"
    tail = key.split(".")[1:] or [key]
    return next(
        (
            f"is {kind}, which is no plain product of matrices"
            for mark, kind in _FOREIGN.items()
            if any(part == mark or (mark.endswith("_") and part.startswith(mark)) for part in tail)
        ),
        None,
    )


def _and_more(keys: Sequence[str]) -> str:
    return f" and {len(keys) - 1} more" if len(keys) > 1 else ""


def _path(path: str) -> str:
    """Today's name of a module."""
    for old, new in _OLD_NAMES.items():
        path = re.sub(old, new, path)
    return path


def _network(path: str) -> tuple[str | None, str]:
    """The network that a path begins with, and the rest of the path.

    Files of peft alone do not say which network they are for: one that has text in its names is the text encoder's.
    """
    path = path.removeprefix("base_model.model.")
    for prefix, name in _PREFIXES.items():
        if path.startswith(prefix):
            return name, path.removeprefix(prefix)
    if path.startswith(("down_blocks.", "mid_block.", "up_blocks.", "conv_", "time_embedding.")):
        return "unet", path
    if path.startswith(("text_model.", "encoder.layers.")):
        return "text_encoder", path
    return None, path


def _config(header: Header) -> dict[str, Any]:
    """What peft knows beside the matrices: diffusers writes it into the header, peft into a file beside it."""
    try:
        if text := header.metadata.get("lora_adapter_metadata"):
            config = json.loads(text)
        elif (beside := header.path.with_name("adapter_config.json")).is_file():
            config = json.loads(beside.read_text())
        else:
            return {}
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def _alpha(config: dict[str, Any], name: str, module: str) -> tuple[float | None, bool]:
    """Alpha of a module after peft's configuration, and whether the root of the rank divides it."""
    own = {key.removeprefix(f"{name}."): value for key, value in config.items()}
    for pattern, alpha in (own.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return float(alpha), bool(own.get("use_rslora"))
    alpha = own.get("lora_alpha")
    return None if alpha is None else float(alpha), bool(own.get("use_rslora"))


def _misfit(change: Change, name: str, module: nn.Module) -> str | None:
    """What is wrong with the shapes of a change, if anything."""
    down, up = (change.header.tensors[key].shape for key in (change.down, change.up))
    weight: Tensor = module.weight  # type: ignore[assignment]
    shape = tuple(weight.shape)
    if len(down) < 2 or len(up) < 2 or up[1] != down[0]:
        return f"{change.down} {list(down)} and {change.up} {list(up)} have different ranks"
    if (up[0], prod(down[1:])) != (shape[0], prod(shape[1:])) or prod(up[2:]) != 1:
        return f"{change.down} {list(down)} and {change.up} {list(up)} do not fit {name}, whose weight is {list(shape)}"
    if isinstance(change.alpha, str) and prod(change.header.tensors[change.alpha].shape) != 1:
        return f"{change.alpha} is not one number"
    return None


def _product(change: Change) -> Tensor:
    """What is added to a module's weight, as a matrix [outputs, inputs · height · width], FP64."""
    with safe_open(change.header.path, "pt") as file:
        down, up = (file.get_tensor(key).double().flatten(1) for key in (change.down, change.up))
        rank = down.shape[0]
        alpha = file.get_tensor(change.alpha).item() if isinstance(change.alpha, str) else change.alpha
    factor = 1.0 if alpha is None else float(alpha) / (sqrt(rank) if change.root else rank)
    return change.lora.scale * factor * (up @ down)
