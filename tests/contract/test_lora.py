"""LoRAs fused by us are those that diffusers fuses, in every way of writing them down."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn

from export.bundle import BundleError, Lora, load_bundle
from export.networks.load import Network, load_networks
from export.proofs.diffusers_pipeline import scheduler
from export.sources.lora import fuse
from export.sources.tokenizer import load_tokenizer
from tests.oracle.baseline import SD15

pytestmark = [
    # peft asks transformers in a way that it will refuse one day.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # Two LoRAs at once are meant.
    pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute:UserWarning"),
]

UNET_MODULES = [
    # Linear, 1×1 and 3×3 convolutions, as LCM-LoRA changes them; embeddings of the time too.
    *("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
    *("conv1", "conv2", "conv_in", "conv_shortcut", "downsamplers.0.conv", "time_emb_proj", "linear_1"),
]
TEXT_MODULES = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
Networks = dict[str, Network]
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def networks() -> Networks:
    loaded = load_networks(load_bundle("tiny"))
    return {name: loaded[name] for name in ("unet", "text_encoder", "vae")}


def changed(network: nn.Module, targets: list[str]) -> dict[str, nn.Module]:
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        and any(name == target or name.endswith(f".{target}") for target in targets)
    }


def matrices(module: nn.Module, rank: int) -> tuple[Tensor, Tensor]:
    """(down, up) as LoCon has them."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    down = torch.randn(rank, *weight.shape[1:]) * 0.2
    up = torch.randn(weight.shape[0], rank, *(1 for _ in weight.shape[2:])) * 0.2
    return down, up


def kohya(networks: Networks, rank: int, alpha: float | None) -> Tensors:
    tensors: Tensors = {}
    for prefix, name, targets in (
        ("lora_unet_", "unet", UNET_MODULES),
        ("lora_te_text_model_", "text_encoder", TEXT_MODULES),
    ):
        for path, module in changed(networks[name], targets).items():
            key = prefix + path.replace(".", "_")
            tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = matrices(module, rank)
            if alpha is not None:
                tensors[f"{key}.alpha"] = torch.tensor(alpha).half()
    return tensors


def diffusers(networks: Networks, rank: int, parts: tuple[str, str]) -> Tensors:
    tensors: Tensors = {}
    for prefix, name, targets in (
        ("unet.", "unet", UNET_MODULES),
        ("text_encoder.text_model.", "text_encoder", TEXT_MODULES),
    ):
        for path, module in changed(networks[name], targets).items():
            down, up = matrices(module, rank)
            tensors[f"{prefix}{path}.{parts[0]}.weight"] = down
            tensors[f"{prefix}{path}.{parts[1]}.weight"] = up
    return tensors


def theirs(networks: Networks, files: list[tuple[Path, float]]) -> Networks:
    """Fused by diffusers."""
    pipeline = StableDiffusionPipeline(
        **{name: copy.deepcopy(network) for name, network in networks.items()},
        tokenizer=load_tokenizer(load_bundle("tiny").tokenizer),
        scheduler=scheduler("ddim", **SD15),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    names = [file.stem for file, _ in files]
    for file, _ in files:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=file.stem)
    pipeline.set_adapters(names, [scale for _, scale in files])
    pipeline.fuse_lora(adapter_names=names)
    pipeline.unload_lora_weights()
    return {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}


def ours(networks: Networks, files: list[tuple[Path, float]]) -> Networks:
    loras = [Lora(path=str(file), scale=scale) for file, scale in files]
    fused = {name: copy.deepcopy(networks[name]) for name in ("unet", "text_encoder")}
    for name, network in fused.items():
        fuse(name, network, loras)
    return fused


def difference(one: nn.Module, two: nn.Module) -> float:
    a, b = one.state_dict(), two.state_dict()
    assert list(a) == list(b)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def saved(tensors: Tensors, file: Path, metadata: dict[str, str] | None = None) -> Path:
    save_file(tensors, file, metadata)
    return file


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    torch.manual_seed(12)


@pytest.mark.parametrize("convention", ["kohya", "peft"])
def test_two_fused_loras_equal_those_of_diffusers(
    convention: str, networks: Networks, tmp_path: Path
) -> None:
    if convention == "kohya":
        first, second = kohya(networks, rank=3, alpha=1.5), kohya(networks, rank=5, alpha=None)
    else:
        first, second = (diffusers(networks, rank, ("lora_A", "lora_B")) for rank in (3, 5))
    files = [
        (saved(first, tmp_path / "first.safetensors"), 0.8),
        (saved(second, tmp_path / "second.safetensors"), -0.3),
    ]
    expected, found = theirs(networks, files), ours(networks, files)
    for name in expected:
        assert difference(expected[name], networks[name]) > 0.05, "the LoRAs change nothing"
        assert difference(expected[name], found[name]) <= 1e-6
    # Every kind of weight was changed, and no bias.
    before, after = networks["unet"].state_dict(), found["unet"].state_dict()
    altered = {name for name in before if not torch.equal(before[name], after[name])}
    assert altered == {f"{name}.weight" for name in changed(networks["unet"], UNET_MODULES)}


def test_alpha_of_diffusers_is_read_from_the_header(networks: Networks, tmp_path: Path) -> None:
    """As ``save_lora_weights`` of a recent diffusers writes it."""
    parts = ("lora_A", "lora_B")
    tensors = {name: t for name, t in diffusers(networks, 4, parts).items() if name.startswith("unet.")}
    config = {
        "r": 4,
        "lora_alpha": 6,
        "alpha_pattern": {"mid_block.attentions.0.proj_in": 2},
        "target_modules": sorted({name.removeprefix("unet.").rsplit(".", 2)[0] for name in tensors}),
    }
    header = {
        "format": "pt",
        "lora_adapter_metadata": json.dumps({f"unet.{k}": v for k, v in config.items()}),
    }
    file = saved(tensors, tmp_path / "with_alpha.safetensors", header)
    expected, found = theirs(networks, [(file, 0.5)]), ours(networks, [(file, 0.5)])
    assert difference(expected["unet"], found["unet"]) <= 1e-6
    without = ours(networks, [(saved(tensors, tmp_path / "without.safetensors"), 0.5)])
    assert difference(expected["unet"], without["unet"]) > 0.01


@pytest.mark.parametrize("root", [False, True])
def test_a_folder_that_peft_saved(root: bool, networks: Networks, tmp_path: Path) -> None:
    config = LoraConfig(
        r=4, lora_alpha=2, target_modules=TEXT_MODULES, init_lora_weights=False, use_rslora=root
    )
    adapted = get_peft_model(copy.deepcopy(networks["text_encoder"]), config)
    adapted.save_pretrained(str(tmp_path))
    found = ours(networks, [(tmp_path / "adapter_model.safetensors", 1.0)])
    assert difference(adapted.merge_and_unload(), found["text_encoder"]) <= 1e-6
    assert difference(networks["text_encoder"], found["text_encoder"]) > 0.01


OLDER: list[Callable[[str], str]] = [
    lambda key: key.replace("lora_A", "lora.down").replace("lora_B", "lora.up"),
    lambda key: key.replace("lora_A", "lora_linear_layer.down").replace("lora_B", "lora_linear_layer.up"),
    lambda key: key.replace("lora_A", "lora_A.default").replace("lora_B", "lora_B.default"),
    lambda key: key.replace(".text_model", ""),
    lambda key: re.sub(
        r"\.(q|k|v|out)_proj\.lora_([AB])",
        lambda m: f".to_{m[1]}_lora.{'down' if m[2] == 'A' else 'up'}",
        re.sub(
            r"\.(to_[qkv]|to_out)(?:\.0)?\.lora_([AB])",
            lambda m: f".processor.{m[1]}_lora.{'down' if m[2] == 'A' else 'up'}",
            key,
        ),
    ),
]


@pytest.mark.parametrize("rename", OLDER, ids=["lora", "linear_layer", "default", "flat", "processor"])
def test_older_names_mean_the_same(rename: Callable[[str], str], networks: Networks, tmp_path: Path) -> None:
    tensors = diffusers(networks, 2, ("lora_A", "lora_B"))
    older = {rename(name): tensor for name, tensor in tensors.items()}
    assert set(older) != set(tensors)
    assert len(older) == len(tensors)
    one = ours(networks, [(saved(tensors, tmp_path / "today.safetensors"), 1.0)])
    two = ours(networks, [(saved(older, tmp_path / "older.safetensors"), 1.0)])
    for name in one:
        assert difference(one[name], two[name]) == 0.0


MODULE = "lora_unet_down_blocks_0_attentions_0_proj_in"
SHAPES = {"lora_down.weight": (2, 16, 1, 1), "lora_up.weight": (16, 2, 1, 1)}


def tensors_of(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    return {name: torch.ones(shape) for name, shape in shapes.items()}


GOOD = {f"{MODULE}.{part}": shape for part, shape in SHAPES.items()}


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        (GOOD | {f"{MODULE}.dora_scale": (16,)}, f"{MODULE}.dora_scale: is DoRA, which is no plain product"),
        ({f"{MODULE}.hada_w1_a": (16, 2)}, f"{MODULE}.hada_w1_a: is LoHa, which"),
        ({f"{MODULE}.lokr_w1": (4, 4)}, f"{MODULE}.lokr_w1: is LoKr, which"),
        (GOOD | {f"{MODULE}.lora_mid.weight": (2, 2, 3, 3)}, "lora_mid.weight: is LoCon with a core tensor"),
        (
            {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (2, 1280)},
            "is of a second text encoder, which SDXL has: take a plain LoRA for Stable Diffusion 1.5",
        ),
        (
            {f"lora_unet_input_blocks_4_1_proj_in.{part}": shape for part, shape in SHAPES.items()},
            "lora_unet_input_blocks_4_1_proj_in.lora_down.weight changes a module that the unet does not have: take",
        ),
        (
            {f"{MODULE}.lora_down.weight": (2, 16, 1, 1), f"{MODULE}.lora_up.weight": (16, 4, 1, 1)},
            f"{MODULE}.lora_down.weight [2, 16, 1, 1] and {MODULE}.lora_up.weight [16, 4, 1, 1] have different ranks",
        ),
        (
            {f"{MODULE}.lora_down.weight": (2, 320, 1, 1), f"{MODULE}.lora_up.weight": (320, 2, 1, 1)},
            "do not fit down_blocks.0.attentions.0.proj_in, whose weight is [16, 16, 1, 1]: take a LoRA that",
        ),
        ({f"{MODULE}.lora_down.weight": (2, 16, 1, 1)}, f"{MODULE}.lora_down.weight has no partner"),
        (GOOD | {f"{MODULE}.alpha": (2,)}, f"{MODULE}.alpha is not one number"),
        (GOOD | {"lora_unet_conv_in.alpha": ()}, "lora_unet_conv_in.alpha is the alpha of no matrices"),
        (
            GOOD | {"lamp": (2,), "sofa": (3,)},
            "lamp and 1 more: not the key of a LoRA (those of kohya's scripts, peft and diffusers are read)",
        ),
        ({"lamp.lora_A.weight": (2, 2), "lamp.lora_B.weight": (2, 2)}, "lamp.lora_A.weight names no network"),
        ({"model.diffusion_model.out.0.weight": (2,)}, "not the key of a LoRA"),
    ],
    ids=str,
)
def test_what_is_no_plain_lora_is_refused(
    shapes: dict[str, tuple[int, ...]], sentence: str, networks: Networks, tmp_path: Path
) -> None:
    file = saved(tensors_of(shapes), tmp_path / "mine.safetensors")
    unet = copy.deepcopy(networks["unet"])
    with pytest.raises(BundleError) as caught:
        fuse("unet", unet, [Lora(path=str(file))])
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{file}: ")
    assert sentence in line
    assert difference(unet, networks["unet"]) == 0.0, "a refused LoRA was fused all the same"


def test_files_that_cannot_be_read_are_refused_together(networks: Networks, tmp_path: Path) -> None:
    cut = saved(tensors_of(GOOD), tmp_path / "cut.safetensors")
    cut.write_bytes(cut.read_bytes()[:-4])
    pickle = tmp_path / "old.pt"
    torch.save(tensors_of(GOOD), pickle)
    loras = [Lora(path=str(file)) for file in (cut, pickle, tmp_path / "none.safetensors")]
    with pytest.raises(BundleError) as caught:
        fuse("unet", networks["unet"], loras)
    first, second, third = str(caught.value).splitlines()
    assert first.startswith(f"{cut}: is cut off: ")
    assert second.startswith(f"{pickle}: is a pickle")
    assert third.startswith(f"{tmp_path / 'none.safetensors'}: cannot be read: No such file")
