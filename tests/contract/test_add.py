"""``python -m export add``: what it writes, what it says, and what it refuses before minutes are spent."""

from __future__ import annotations

import json
import shutil
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from export import bundle as bundles
from export.__main__ import main
from export.bundle import Lora, Weights, load_bundle
from export.networks.load import load_network, load_networks
from tests.support.checkpoints import save_checkpoint
from tests.support.single_files import checkpoint

TINY = bundles.BUNDLES / "tiny.toml"
UNET, VAE, TEXT = "unet", "vae", "text_encoder"
DIFFUSERS_FILE = "diffusion_pytorch_model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pipeline``, a folder of diffusers; ``others``, the networks beside it; ``one.safetensors``."""
    folder = tmp_path_factory.mktemp("saved")
    save_checkpoint(folder / "pipeline", folder / "others")
    networks = load_networks(load_bundle("tiny"))
    save_file(checkpoint(*(networks[name] for name in (UNET, VAE, TEXT))), folder / "one.safetensors")
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of bundles, with tiny in it."""
    made = tmp_path / "bundles"
    made.mkdir()
    shutil.copy(TINY, made)
    shutil.copy(TINY.with_name("tiny_lora.safetensors"), made)
    shutil.copytree(TINY.parent / "tokenizer", made / "tokenizer")
    monkeypatch.setattr(bundles, "BUNDLES", made)
    return made


Add = Callable[..., tuple[int, str]]


@pytest.fixture
def add(capsys: pytest.CaptureFixture[str]) -> Add:
    """Runs the command; the exit code, and what it printed."""

    def run(*arguments: object, name: str = "mine") -> tuple[int, str]:
        capsys.readouterr()
        code = main(["add", "--base", "tiny", "--name", name, *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.err.strip() if code else printed.out.strip()

    return run


def written(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "mine.toml").read_text())


def test_a_folder_of_diffusers(add: Add, saved: Path, folder: Path) -> None:
    code, printed = add(saved / "pipeline")
    assert code == 0, printed
    pipeline = saved / "pipeline"
    assert written(folder) == {
        "name": "mine",
        "description": "Made from pipeline",
        "base": "tiny",
        "native_size": 128,
        "tokenizer": {"path": str(pipeline / "tokenizer")},
        "networks": {name: {"path": str(pipeline / name)} for name in (UNET, VAE, TEXT)},
    }
    assert printed.splitlines() == [
        f"- unet, vae, text_encoder, tokenizer: from {pipeline}",
        "- controlnet_depth, controlnet_canny, depth, detector, tiny_decoder: from the base, tiny, where they are "
        "random numbers: good for tests only",
        "- schedule: beta_start 0.00085, beta_end 0.012, train_steps 1000, prediction epsilon, as "
        f"{pipeline}/scheduler/scheduler_config.json says",
        "- native_size: 128 pixels: the UNet's sample_size × 8, the VAE's factor",
        "- defaults, thresholds, the largest batch and the colours of previews: as in tiny",
        f"wrote {folder}/mine.toml; `make up BUNDLE=mine` exports and serves it",
    ]
    tiny, mine = load_bundle("tiny"), load_bundle("mine")
    for name in (UNET, VAE, TEXT):
        expected, found = (load_network(bundle, name).state_dict() for bundle in (tiny, mine))
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_single_file_is_the_same_as_the_folder(add: Add, saved: Path, folder: Path) -> None:
    code, printed = add(saved / "one.safetensors")
    assert code == 0, printed
    assert written(folder)["networks"] == {
        name: {"path": str(saved / "one.safetensors")} for name in (UNET, VAE, TEXT)
    }
    assert (
        "- schedule: as in tiny (epsilon, betas 0.00085 to 0.012): no scheduler_config.json is here"
        in printed
    )
    tiny, mine = load_bundle("tiny"), load_bundle("mine")
    for name in (UNET, VAE, TEXT):
        expected, found = (load_network(bundle, name).state_dict() for bundle in (tiny, mine))
        assert list(found) == list(expected)
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_every_option(add: Add, saved: Path, folder: Path, tmp_path: Path) -> None:
    down = "lora_unet_conv_in.lora_down.weight"
    lora = tmp_path / "style.safetensors"
    save_file({down: torch.ones(1, 4, 3, 3), down.replace("down", "up"): torch.ones(16, 1, 1, 1)}, lora)
    others = saved / "others"
    code, printed = add(
        *(saved / "pipeline", "--vae", saved / "one.safetensors", "--lora", f"{lora}:0.5", "--lora", lora),
        *("--controlnet", f"depth={others / 'controlnet_depth'}", f"canny=owner/name@{COMMIT}"),
        *("--depth", others / "depth", "--detector", others / "detector"),
    )
    assert code == 0, printed
    mine = load_bundle("mine")
    assert mine.loras == [Lora(path=str(lora), scale=0.5), Lora(path=str(lora), scale=1.0)]
    assert mine.networks["controlnet_canny"] == Weights(repo="owner/name", revision=COMMIT)
    assert mine.networks["vae"].path == str(saved / "one.safetensors")
    assert mine.networks["depth"].path == str(others / "depth")
    change = load_network(mine, UNET).conv_in.weight - load_network(load_bundle("tiny"), UNET).conv_in.weight
    assert torch.allclose(change, torch.full_like(change, 1.5), atol=1e-6)
    assert "- style.safetensors: fused into the UNet and the text encoder, times 0.5" in printed
    # LoRAs alone make a bundle too.
    assert add("--lora", lora, name="alone")[0] == 0
    assert load_bundle("alone").networks == load_bundle("tiny").networks


def test_what_is_on_a_hub_is_written_down(add: Add, folder: Path) -> None:
    code, printed = add(f"owner/name@{COMMIT}")
    assert code == 0, printed
    place = {"repo": "owner/name", "revision": COMMIT}
    assert written(folder)["networks"] == {name: place | {"subfolder": name} for name in (UNET, VAE, TEXT)}
    assert written(folder)["tokenizer"] == place | {"subfolder": "tokenizer"}
    assert "is looked at when it is fetched" in printed
    for source in ("owner/name", "owner/name@main"):
        assert add(source, name="other") == (
            2,
            f"there is no {source}: correct the path, or name owner/name@commit of a model hub (40 digits)",
        )


def test_a_single_file_on_a_base_from_a_hub(add: Add, saved: Path, folder: Path) -> None:
    """As Stable Diffusion 1.5 is: its bundle says the configurations, so that nothing is fetched to look at a file."""
    networks = load_bundle("tiny").networks
    lines = [
        f'{name} = {{ repo = "owner/{name}", revision = "{COMMIT}", like = {{ config = {inline(weights.config)} }} }}'
        for name, weights in networks.items()
    ]
    head = TINY.read_text().partition("[networks.unet]")[0].replace('"tiny"', '"hub"', 1)
    (folder / "hub.toml").write_text("\n".join([head, "[networks]", *lines]))
    code, printed = add(saved / "one.safetensors", "--base", "hub")
    assert code == 0, printed
    mine = load_bundle("mine")
    known = Weights(config=networks["unet"].config)
    assert mine.networks["unet"] == Weights(path=str(saved / "one.safetensors"), like=known)
    assert mine.networks["depth"].repo == "owner/depth"
    # The base's ControlNets are compared with another checkpoint before they are fetched.
    foreign = [line.replace("cross_attention_dim = 32", "cross_attention_dim = 48") for line in lines[1:3]]
    (folder / "hub.toml").write_text("\n".join([head, "[networks]", lines[0], *foreign, *lines[3:]]))
    code, printed = add(saved / "pipeline", "--base", "hub", "--check")
    assert code == 2
    assert [line.partition(": take")[0] for line in printed.splitlines()] == [
        *(
            f"networks.{name}: its cross_attention_dim is 48, the UNet's is 32"
            for name in ("controlnet_depth", "controlnet_canny")
        ),
        "controlnet_depth, controlnet_canny: not named, so taken from the base, hub: give yours, or another base with "
        "--base",
    ]


def test_a_network_of_another_kind_is_named(add: Add, saved: Path) -> None:
    code, printed = add(saved / "pipeline", "--controlnet", f"depth={saved / 'pipeline' / 'vae'}")
    assert code == 2
    assert printed == (
        "networks.controlnet_depth: it is AutoencoderKL, and not ControlNetModel: give another source, or this one "
        "for another network"
    )


def inline(value: Any) -> str:
    """A value as TOML has it on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {inline(member)}" for name, member in value.items()) + " }"
    return json.dumps(value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nothing is given that differs from the base: name a source, or an option such as --lora"),
        (
            ["--controlnet", "lamp=x"],
            "--controlnet lamp=x: give depth=SOURCE or canny=SOURCE or lines=SOURCE",
        ),
        (["--controlnet", "/x"], "--controlnet /x: give depth=SOURCE or canny=SOURCE"),
        (["--lora", "/x.safetensors:2"], "--lora: there is no /x.safetensors: give FILE or FILE:scale"),
        (["--lora", "{one}:nan"], "--lora {one}:nan: the scale must be a finite number"),
        (
            ["--vae", "/x"],
            "vae: there is no /x: correct the path, or name owner/name@commit of a model hub",
        ),
        (["--vae", "/x.ckpt"], "vae: /x.ckpt: is a pickle, which can run any program"),
        (["{others}/depth"], "{others}/depth/config.json: is no UNet's: name the folder with the option"),
        (["{others}"], "{others}: has no folder unet: name a folder that diffusers saved of"),
        (["{lora}"], "{lora}: holds no UNet: give it with --lora"),
        (["--vae", "{lora}"], "networks.vae: {lora}: holds no vae, but nothing that is known"),
        (["--base", "sd16", "{one}"], "there is no bundle 'sd16'; there are: tiny"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_arguments_that_make_no_bundle(
    arguments: list[str], sentence: str, add: Add, saved: Path, tmp_path: Path
) -> None:
    lora = tmp_path / "lora.safetensors"
    save_file({"lora_unet_conv_in.lora_down.weight": torch.ones(1, 4, 3, 3)}, lora)
    places = {"{one}": saved / "one.safetensors", "{others}": saved / "others", "{lora}": lora}
    for mark, place in places.items():
        arguments = [argument.replace(mark, str(place)) for argument in arguments]
        sentence = sentence.replace(mark, str(place))
    code, printed = add(*arguments)
    (line,) = printed.splitlines()
    assert code == 2
    assert line.startswith(sentence)


def test_controlnets_that_are_shown_something_else(add: Add, saved: Path, folder: Path) -> None:
    controlnet = saved / "others" / "controlnet_canny"
    code, printed = add("--controlnet", f"lines={controlnet}")
    assert code == 0, printed
    assert written(folder)["hints"] == ["depth", "lines"]
    assert "- the ControlNet for lines takes the seat of that for edges" in printed
    assert load_bundle("mine").used[1:3] == ("controlnet_depth", "controlnet_lines")
    both = (f"lines={controlnet}", f"canny={controlnet}")
    assert add("--controlnet", *both, name="both")[0] == 0
    assert load_bundle("both").seats == ("edges", "lines")
    code, printed = add("--controlnet", *both, f"depth={controlnet}", name="three")
    assert code == 2
    assert printed.startswith(
        "ControlNets for depth, edges, lines are given, and there are two seats: leave one out"
    )
    code, printed = add("--controlnet", f"segments={controlnet}", name="segments")
    assert (code, printed) == (2, "no weights for segments")


def test_a_unet_alone(add: Add, saved: Path, folder: Path) -> None:
    code, printed = add(saved / "pipeline" / "unet")
    assert code == 0, printed
    assert written(folder)["networks"] == {"unet": {"path": str(saved / "pipeline" / "unet")}}


def test_v_prediction_and_size_are_read_from_the_folder(
    add: Add, saved: Path, folder: Path, tmp_path: Path
) -> None:
    pipeline = shutil.copytree(saved / "pipeline", tmp_path / "pipeline")
    change_json(pipeline / "scheduler/scheduler_config.json", prediction_type="v_prediction", beta_end=0.02)
    change_json(pipeline / "unet/config.json", sample_size=24)
    code, printed = add(pipeline)
    assert code == 0, printed
    assert written(folder)["schedule"] == {"prediction": "v_prediction", "beta_end": 0.02}
    assert written(folder)["native_size"] == 192
    # Those of the base are distilled and timed for another schedule.
    assert (written(folder)["tiers"], written(folder)["variants"]) == ({}, {})
    assert "quality: one kind of picture, as in the defaults: the tiers of tiny were made for" in printed


def test_check_only_looks_and_nothing_is_overwritten(add: Add, saved: Path, folder: Path) -> None:
    before = sorted(folder.iterdir())
    code, printed = add(saved / "pipeline", "--check")
    assert (code, printed.splitlines()[-1]) == (0, "nothing wrong was found, and nothing was written")
    assert sorted(folder.iterdir()) == before
    assert add("/nowhere", name="tiny") == (2, f"{folder / 'tiny.toml'} exists: choose another name")
    assert add(saved / "pipeline", "--force", name="tiny")[0] == 2
    assert (folder / "tiny.toml").read_text() == TINY.read_text()
    assert add(saved / "pipeline")[0] == 0
    assert add(saved / "one.safetensors") == (
        2,
        f"{folder / 'mine.toml'} exists: choose another name, or give --force",
    )
    assert add(saved / "one.safetensors", "--force")[0] == 0
    assert written(folder)["description"] == "Made from one.safetensors"


@pytest.mark.parametrize("name", ["add", "../mine", "Mine", ""])
def test_names_that_no_bundle_can_have(name: str, add: Add, saved: Path) -> None:
    code, printed = add(saved / "pipeline", name=name)
    assert (code, printed) == (
        2,
        f"--name {name!r}: take small letters, digits, - and _, such as cosy-rooms; add, plan are taken",
    )


def change_json(file: Path, **members: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | members))


def change_tensors(file: Path, change: Callable[[dict[str, torch.Tensor]], Any], **metadata: str) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata or None)


def empty(folder: Path) -> None:
    """Leave nothing in ``folder``."""
    shutil.rmtree(folder)
    folder.mkdir()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def spoil(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name].view(-1)[1] = float("nan")

    return change


def pickle(folder: Path) -> None:
    (folder / DIFFUSERS_FILE).unlink()
    torch.save({}, folder / "diffusion_pytorch_model.bin")


def wider_text(folder: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig.from_pretrained(folder)
    config.hidden_size = 48
    CLIPTextModel(config).save_pretrained(folder)


def xl(folder: Path) -> None:
    change_json(folder / "unet/config.json", cross_attention_dim=2048)
    shutil.copytree(folder / "text_encoder", folder / "text_encoder_2")


def flux(folder: Path) -> None:
    shutil.rmtree(folder / "unet")
    change_json(folder / "model_index.json", _class_name="FluxPipeline")


WRONG: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "width": (
        lambda p: wider_text(p / TEXT),
        [
            "networks.text_encoder: its width is 48 (hidden_size), and the UNet takes 32 (cross_attention_dim): take "
            "the text encoder that it was trained with"
        ],
    ),
    "v-prediction mislabelled": (
        lambda p: change_tensors(
            p / UNET / DIFFUSERS_FILE, lambda _: None, **{"modelspec.prediction_type": "v"}
        ),
        [
            "networks.unet: {p}/scheduler/scheduler_config.json says prediction_type 'epsilon', but the header of "
            "{p}/unet/diffusion_pytorch_model.safetensors (modelspec) says 'v_prediction': correct the one *"
        ],
    ),
    "unknown prediction": (
        lambda p: change_json(p / "scheduler/scheduler_config.json", prediction_type="sample"),
        [
            "networks.unet: {p}/scheduler/scheduler_config.json says prediction_type 'sample', and restyle can do "
            "epsilon and v_prediction only: choose other weights"
        ],
    ),
    "NaN": (
        lambda p: change_tensors(p / VAE / DIFFUSERS_FILE, spoil("decoder.conv_in.weight")),
        [
            "networks.vae: {p}/vae/diffusion_pytorch_model.safetensors: decoder.conv_in.weight has numbers that are "
            "not finite: take other weights"
        ],
    ),
    "truncated": (
        lambda p: cut(p / UNET / DIFFUSERS_FILE),
        [
            "networks.unet: {p}/unet/diffusion_pytorch_model.safetensors: is cut off: * bytes, and its header says *"
        ],
    ),
    "LFS pointer": (
        lambda p: (p / TEXT / "model.safetensors").write_text(
            "version https://git-lfs.github.com/spec/v1\noid"
        ),
        [
            "networks.text_encoder: {p}/text_encoder/model.safetensors: is a Git LFS pointer, not the weights: *"
        ],
    ),
    "inpainting": (
        lambda p: change_json(p / UNET / "config.json", in_channels=9),
        ["networks.unet: its in_channels are 9: it is an inpainting network, which wants a mask too: take *"],
    ),
    "SDXL": (
        xl,
        [
            "{p}: has a second text encoder: it is Stable Diffusion XL's: take a checkpoint *",
            "networks.unet: its cross_attention_dim is 2048 and its addition_embed_type None: it is Stable Diff*",
        ],
    ),
    "another model": (
        flux,
        ["{p}: has no folder unet, it is a FluxPipeline: name a folder that diffusers saved *"],
    ),
    "scheduler": (
        lambda p: change_json(
            p / "scheduler/scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler"
        ),
        [
            "networks.unet: {p}/scheduler/scheduler_config.json says _class_name 'FlowMatchEulerDiscreteScheduler', "
            "for which restyle has no solver: choose weights that were trained for one such as DDIMScheduler"
        ],
    ),
    "betas": (
        lambda p: change_json(p / "scheduler/scheduler_config.json", beta_schedule="squaredcos_cap_v2"),
        [
            "networks.unet: {p}/scheduler/scheduler_config.json says beta_schedule 'squaredcos_cap_v2', and restyle "
            "can do 'scaled_linear' only: choose other weights"
        ],
    ),
    "missing tensors": (
        lambda p: change_tensors(
            p / UNET / DIFFUSERS_FILE, lambda t: [t.pop(f"conv_in.{end}") for end in ("weight", "bias")]
        ),
        [
            "networks.unet: {p}/unet/diffusion_pytorch_model.safetensors: lacks conv_in.weight (and 1 more): take the "
            "weights that belong to the config.json"
        ],
    ),
    "missing text": (
        lambda p: change_tensors(p / TEXT / "model.safetensors", lambda t: t.pop("final_layer_norm.bias")),
        [
            "networks.text_encoder: {p}/text_encoder/model.safetensors: lacks final_layer_norm.bias: take the weights *"
        ],
    ),
    "foreign tensors": (
        lambda p: change_tensors(p / VAE / DIFFUSERS_FILE, lambda t: t.update(lamp=torch.zeros(1))),
        [
            "networks.vae: {p}/vae/diffusion_pytorch_model.safetensors: holds lamp, which the network does not have: *"
        ],
    ),
    "another config": (
        lambda p: change_json(p / TEXT / "config.json", intermediate_size=96),
        [
            "networks.text_encoder: {p}/text_encoder/model.safetensors: encoder.layers.0.mlp.fc1.bias is [64], and "
            "[96] after the configuration (and 5 more): take the config.json that belongs to these weights"
        ],
    ),
    "no config": (
        lambda p: (p / VAE / "config.json").unlink(),
        ["networks.vae: {p}/vae/config.json: cannot be read: No such file or directory"],
    ),
    "pickle": (
        lambda p: pickle(p / UNET),
        [
            "networks.unet: {p}/unet/diffusion_pytorch_model.bin: is a pickle, which can run any program when *"
        ],
    ),
    "variant": (
        lambda p: (p / VAE / DIFFUSERS_FILE).rename(p / VAE / "diffusion_pytorch_model.fp16.safetensors"),
        [
            "networks.vae: {p}/vae: has no diffusion_pytorch_model.safetensors, but "
            "diffusion_pytorch_model.fp16.safetensors: rename the one that is meant"
        ],
    ),
    "tokenizer": (
        lambda p: change_json(p / TEXT / "config.json", vocab_size=512),
        [
            "networks.text_encoder: * embeddings.token_embedding.weight is [1024, 32], and [512, 32] after the *",
            "tokenizer {p}/tokenizer gives ids up to 768, the text encoder knows 512 (vocab_size): take *",
        ],
    ),
    "no tokenizer": (
        lambda p: empty(p / "tokenizer"),
        ["tokenizer: {p}/tokenizer holds no tokenizer: name a folder with vocab.json and merges.txt or *"],
    ),
    "two at once": (
        lambda p: [cut(p / name / DIFFUSERS_FILE) for name in (UNET, VAE)],  # type: ignore[func-returns-value]
        ["networks.unet: *is cut off*", "networks.vae: *is cut off*"],
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_folders_are_refused_in_one_sentence(
    kind: str, add: Add, saved: Path, folder: Path, tmp_path: Path
) -> None:
    spoiled, sentences = WRONG[kind]
    pipeline = shutil.copytree(saved / "pipeline", tmp_path / "pipeline")
    spoiled(pipeline)
    begun = time.monotonic()
    code, printed = add(pipeline)
    assert time.monotonic() - begun < 15
    assert code == 2
    lines = printed.splitlines()
    assert len(lines) == len(sentences), printed
    for line, sentence in zip(lines, sentences, strict=True):
        assert matches(line, sentence.replace("{p}", str(pipeline))), line
    assert not (folder / "mine.toml").exists()


def matches(line: str, sentence: str) -> bool:
    """Whether a line is the sentence, in which * stands for anything."""
    at = 0
    parts = sentence.split("*")
    for part in parts:
        found = line.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return line.startswith(parts[0]) and (parts[-1] == "" or line.endswith(parts[-1]))
