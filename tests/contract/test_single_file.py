"""A checkpoint as a single file becomes the folder that diffusers would have saved, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from export.bundle import Bundle, BundleError, load_bundle
from export.networks.load import Network, empty_network, load_networks, skeleton
from export.sources.configuration import read_config
from export.sources.headers import Entry, Header, read_header
from export.sources.single_file import converted, networks_in, unpack
from tests.support.single_files import checkpoint, original_unet, original_vae

WHOLE = ("unet", "vae", "text_encoder")


def deeper(bundle: Bundle) -> Bundle:
    """Two layers a block, attention where Stable Diffusion 1.5 has it, its four levels."""
    shape = {
        "block_out_channels": [8, 16, 16, 24],
        "layers_per_block": 2,
        "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    }
    up = {"up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3]}
    changed = {
        name: msgspec.structs.replace(
            weights, config=(weights.config or {}) | shape | (up if name == "unet" else {})
        )
        for name, weights in bundle.networks.items()
        if name == "unet" or name.startswith("controlnet")
    }
    return msgspec.structs.replace(bundle, networks=bundle.networks | changed)


@pytest.fixture(scope="module", params=["tiny", "four levels"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    tiny = load_bundle("tiny")
    return tiny if request.param == "tiny" else deeper(tiny)


@pytest.fixture(scope="module")
def networks(bundle: Bundle) -> dict[str, Network]:
    return load_networks(bundle)


def assert_same(folder: Path, network: Network, rounded: bool = False) -> None:
    """``folder`` loads to ``network``, or to that network rounded to FP16."""
    loaded = type(network).from_pretrained(folder, torch_dtype=torch.float32)
    expected, found = network.state_dict(), loaded.state_dict()
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert found[key].dtype == torch.float32
        assert torch.equal(found[key], tensor.half().float() if rounded else tensor), key
    assert settings(loaded) == settings(network)


def settings(network: Network) -> dict[str, Any]:
    if not hasattr(network.config, "to_diff_dict"):
        return {key: value for key, value in network.config.items() if not key.startswith("_")}
    config: dict[str, Any] = network.config.to_diff_dict()
    return {key: value for key, value in config.items() if key not in ("dtype", "architectures")}


def save(tensors: dict[str, torch.Tensor], file: Path) -> Path:
    save_file(tensors, file)
    return file


def test_a_whole_checkpoint(bundle: Bundle, networks: dict[str, Network], tmp_path: Path) -> None:
    tensors = checkpoint(*(networks[name] for name in WHOLE))
    file = save(tensors, tmp_path / "mine.safetensors")
    assert networks_in(read_header(file)) == ["unet", "vae", "text_encoder"]
    half = save({key: tensor.half() for key, tensor in tensors.items()}, tmp_path / "half.safetensors")
    for name in WHOLE:
        unpack(file, name, skeleton(bundle, name), tmp_path / name)
        assert_same(tmp_path / name, networks[name])
        unpack(half, name, skeleton(bundle, name), tmp_path / f"half_{name}")
        assert_same(tmp_path / f"half_{name}", networks[name], rounded=True)


def test_each_network_alone(bundle: Bundle, networks: dict[str, Network], tmp_path: Path) -> None:
    controlnet, vae = networks["controlnet_depth"], networks["vae"]
    original = original_unet(controlnet)
    files = {
        "controlnet_depth": [
            {f"control_model.{key}": tensor for key, tensor in original.items()},
            original,
            controlnet.state_dict(),
        ],
        "unet": [original_unet(networks["unet"]), networks["unet"].state_dict()],
        "vae": [original_vae(vae), vae.state_dict()],
        "text_encoder": [
            networks["text_encoder"].state_dict(),
            {f"text_model.{key}": tensor for key, tensor in networks["text_encoder"].state_dict().items()},
        ],
    }
    for name, forms in files.items():
        for number, tensors in enumerate(forms):
            file = save(tensors, tmp_path / f"{name}_{number}.safetensors")
            assert networks_in(read_header(file)) == [name.removesuffix("_depth")]
            unpack(file, name, skeleton(bundle, name), file.with_suffix(""))
            assert_same(file.with_suffix(""), networks[name])


def test_a_file_without_the_network_that_is_asked_for(networks: dict[str, Network], tmp_path: Path) -> None:
    file = save(networks["vae"].state_dict(), tmp_path / "mine.safetensors")
    tiny = load_bundle("tiny")
    with pytest.raises(BundleError, match=r"mine\.safetensors: holds no unet, but vae$"):
        unpack(file, "unet", skeleton(tiny, "unet"), tmp_path / "unet")
    with pytest.raises(BundleError, match=r"depth must be a folder with config\.json, not a single file$"):
        unpack(file, "depth", skeleton(tiny, "depth"), tmp_path / "depth")
    lamp = save({"lamp": torch.zeros(1)}, tmp_path / "lamp.safetensors")
    with pytest.raises(BundleError, match=r"holds no vae, but nothing that is known$"):
        unpack(lamp, "vae", skeleton(tiny, "vae"), tmp_path / "vae")
    assert not any((tmp_path / name).exists() for name in ("unet", "depth", "vae"))


@pytest.mark.parametrize("name", [*WHOLE, "controlnet_depth"])
def test_stable_diffusion_itself(name: str) -> None:
    """At full size, names and shapes without numbers; the bundle knows the configurations without the hub."""
    sd15 = load_bundle("sd15")
    networks = {part: empty_network(part, read_config(sd15.networks[part])) for part in {*WHOLE, name}}
    tensors = checkpoint(*(networks[part] for part in WHOLE))
    assert len(tensors) == 686 + 248 + 196
    if name == "controlnet_depth":
        tensors = {f"control_model.{key}": tensor for key, tensor in original_unet(networks[name]).items()}
        assert len(tensors) == 340
    header = Header(
        path=Path("sd15.safetensors"),
        tensors={key: Entry("F32", tuple(tensor.shape), (0, 0)) for key, tensor in tensors.items()},
        metadata={},
        start=0,
    )
    found = {
        key.removeprefix("text_model."): tensor.shape
        for key, tensor in converted(header, name, networks[name]).items()
    }
    assert found == {key: tensor.shape for key, tensor in networks[name].state_dict().items()}
