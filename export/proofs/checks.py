"""Checks that the parts of a bundle fit together, before its graphs are exported, which takes minutes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from transformers import CLIPTokenizer

from export.bundle import Bundle, BundleError, Weights, refuse
from export.contract import TOKENS
from export.networks.load import Network, hint_factor, vae_factor
from export.sampling import Schedule
from export.sources.configuration import read_json
from export.sources.headers import read_header
from export.sources.single_file import weights_file

SCHEDULER = "scheduler_config.json"
DIFFUSERS: dict[str, Any] = {
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
}
"""Defaults of diffusers' schedulers for what a scheduler_config.json leaves out, as far as training depends on it."""


SAMPLERS = {scheduler.name for scheduler in KarrasDiffusionSchedulers} - {"EDMEulerScheduler"}
"""diffusers' schedulers for networks that were trained on betas: any of them samples what any other can."""
PREDICTIONS = get_args(get_type_hints(Schedule)["prediction"])
"""What networks may predict, in diffusers' names."""
_SERVED: dict[str, tuple[str | None, ...]] = {
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    # "text": made from the prompt's hidden states, which the UNet is given in any case.
    "addition_embed_type": (None, "text"),
    "encoder_hid_dim_type": (None,),
    "time_cond_proj_dim": (None,),
}
"""Members of a UNet's configuration that can ask for inputs which `restyle` does not give, and those that do not."""
_SAME = ("in_channels", "block_out_channels", "down_block_types", "layers_per_block", "cross_attention_dim")
"""Members of the configuration that a ControlNet shares with the UNet it was trained for."""


def check_bundle(bundle: Bundle, networks: Mapping[str, Network], tokenizer: CLIPTokenizer) -> None:
    """Raises BundleError, whose lines name the files, the values and the remedies."""
    refuse([*bundle_problems(bundle, networks, tokenizer), *schedule_problems(bundle)])


def check_schedule(bundle: Bundle) -> None:
    """Raises BundleError when the UNet's source names another schedule."""
    refuse(schedule_problems(bundle))


def bundle_problems(
    bundle: Bundle, networks: Mapping[str, Network], tokenizer: CLIPTokenizer | None
) -> list[str]:
    """What does not fit together of ``networks`` (of which only the configurations are read) and the tokenizer.

    Networks may be missing, and so may the tokenizer; what depends on them is not looked at.
    """
    configs = {name: network.config for name, network in networks.items()}
    found = [f"{bundle.name}.toml: networks.{problem}" for problem in _misfits(networks, configs)]
    if tokenizer is not None and "text_encoder" in configs:
        found += _tokenizer_problems(bundle, configs["text_encoder"], tokenizer)
    return found


def _misfits(networks: Mapping[str, Network], configs: Mapping[str, Any]) -> Iterator[str]:
    unet, vae, encoder = (configs.get(name) for name in ("unet", "vae", "text_encoder"))
    if unet is not None:
        if foreign := unserved_unet(unet):
            yield f"unet: {foreign}"
            return
        if vae is not None and not unet.in_channels == unet.out_channels == vae.latent_channels:
            yield (
                f"unet: takes {unet.in_channels} channels and gives {unet.out_channels}, the VAE's latents have "
                f"{vae.latent_channels}: take a VAE that belongs to the UNet"
            )
        if encoder is not None and encoder.hidden_size != unet.cross_attention_dim:
            yield (
                f"text_encoder: its width is {encoder.hidden_size} (hidden_size), and the UNet takes "
                f"{unet.cross_attention_dim} (cross_attention_dim): take the text encoder that it was trained with"
            )
    for name, config in configs.items():
        if not name.startswith("controlnet"):
            continue
        if unet is not None:
            for member in _SAME:
                ours, theirs = getattr(config, member), getattr(unet, member)
                if _plain(ours) != _plain(theirs):
                    yield (
                        f"{name}: its {member} is {_plain(ours)}, the UNet's is {_plain(theirs)}: take a ControlNet "
                        "that was trained for this UNet"
                    )
        if vae is not None and hint_factor(networks[name]) != vae_factor(networks["vae"]):
            yield (
                f"{name}: it shrinks its hint by {hint_factor(networks[name])}, the VAE by "
                f"{vae_factor(networks['vae'])}: take a ControlNet that was trained with this VAE"
            )


def unserved_unet(unet: Any) -> str | None:
    """Why a UNet of this configuration cannot be served, if so, and the remedy."""
    if unet.in_channels == 9:
        return (
            "its in_channels are 9: it is an inpainting network, which wants a mask too: take the checkpoint that it "
            "was made from"
        )
    if unet.addition_embed_type == "text_time" or unet.cross_attention_dim == 2048:
        return (
            f"its cross_attention_dim is {_plain(unet.cross_attention_dim)} and its addition_embed_type "
            f"{unet.addition_embed_type!r}: it is Stable Diffusion XL's: take one of Stable Diffusion 1.5's kind"
        )
    for member, served in _SERVED.items():
        if getattr(unet, member) not in served:
            return (
                f"its {member} is {getattr(unet, member)!r}, an input that restyle does not give: take a checkpoint of "
                "Stable Diffusion 1.5's kind"
            )
    return None


def _plain(value: Any) -> Any:
    """Tuples as lists, which JSON has in their place."""
    return list(value) if isinstance(value, tuple) else value


def _tokenizer_problems(bundle: Bundle, encoder: Any, tokenizer: CLIPTokenizer) -> list[str]:
    where = f"{bundle.name}.toml: tokenizer {bundle.tokenizer.source}"
    problems = []
    frame = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    if missing := [name for name, token in frame.items() if token is None]:
        problems.append(f"{where} has no {missing[0]}_token: prompts are framed with it")
    highest = max(tokenizer.get_vocab().values())
    if highest >= encoder.vocab_size:
        problems.append(
            f"{where} gives ids up to {highest}, the text encoder knows {encoder.vocab_size} (vocab_size): take the "
            "tokenizer that the text encoder was trained with"
        )
    lengths = {
        "the text encoder (max_position_embeddings)": encoder.max_position_embeddings,
        "the tokenizer (model_max_length)": tokenizer.model_max_length,
    }
    problems += [
        f"{where}: prompts are {TOKENS} tokens long, {name} takes {length} only"
        for name, length in lengths.items()
        if length < TOKENS
    ]
    return problems


def schedule_problems(bundle: Bundle) -> list[str]:
    """Where the UNet's source names a schedule that is not the bundle's, or one that `restyle` does not have."""
    try:
        found = find_schedule(bundle.networks["unet"])
    except BundleError as error:
        return [f"{bundle.name}.toml: networks.unet: {error}"]
    if found is None:
        return []
    file, given = found
    where = f"{bundle.name}.toml: networks.unet:"
    if contradiction := _contradiction(bundle.networks["unet"], file, given):
        return [f"{where} {contradiction}"]
    schedule = bundle.schedule
    ours = {
        "beta_start": ("schedule.beta_start", schedule.beta_start),
        "beta_end": ("schedule.beta_end", schedule.beta_end),
        "num_train_timesteps": ("schedule.train_steps", schedule.train_steps),
        "prediction_type": ("schedule.prediction", schedule.prediction),
    }
    problems = [f"{where} {problem}" for problem in unserved_schedule(file, given)]
    for name, (field, value) in ours.items():
        if name not in given or (name == "prediction_type" and given[name] not in PREDICTIONS):
            continue
        same = math.isclose(given[name], value) if isinstance(value, float) else given[name] == value
        if not same:
            problems.append(
                f"{bundle.name}.toml: {field} is {value!r}, but {file} says {name} {given[name]!r}: write what the "
                "networks were trained with"
            )
    return problems


def unserved_schedule(file: str, given: Mapping[str, Any]) -> list[str]:
    """Why networks that were trained on the schedule ``given``, which ``file`` holds, cannot be served."""
    problems = []
    if (prediction := given.get("prediction_type", PREDICTIONS[0])) not in PREDICTIONS:
        problems.append(
            f"{file} says prediction_type {prediction!r}, and restyle can do {' and '.join(PREDICTIONS)} only: choose "
            "other weights"
        )
    if given.get("_class_name", "DDIMScheduler") not in SAMPLERS:
        problems.append(
            f"{file} says _class_name {given['_class_name']!r}, for which restyle has no solver: choose weights that "
            "were trained for one such as DDIMScheduler"
        )
    for name, only in (
        ("beta_schedule", "scaled_linear"),
        ("trained_betas", None),
        ("rescale_betas_zero_snr", False),
    ):
        if given.get(name, only) != only:
            problems.append(
                f"{file} says {name} {given[name]!r}, and restyle can do {only!r} only: choose other weights"
            )
    return problems


def find_schedule(unet: Weights) -> tuple[str, dict[str, Any]] | None:
    """Where the UNet's source says how it was trained, and what, in the words of a scheduler_config.json.

    That is the file of the pipeline that the UNet is a part of, with diffusers' defaults for what it leaves out, or the
    header of a single file, which knows the prediction type at most. None where nothing is said. Raises BundleError.
    """
    if unet.is_file:
        return _in_header(Path(unet.source or ""))
    found = _find_scheduler(unet)
    return found and (found[0], DIFFUSERS | found[1])


def _contradiction(unet: Weights, file: str, given: Mapping[str, Any]) -> str | None:
    """The sentence for a folder whose weights say that they were trained on another prediction than ``file`` does."""
    if unet.path is None or unet.is_file:
        return None
    try:
        marked = _in_header(Path(unet.source or "", unet.subfolder, weights_file("unet")))
    except BundleError:
        return None  # who looks at the weights tells it
    if marked is None or marked[1]["prediction_type"] == given["prediction_type"]:
        return None
    return (
        f"{file} says prediction_type {given['prediction_type']!r}, but {marked[0]} says "
        f"{marked[1]['prediction_type']!r}: correct the one that is wrong"
    )


def _in_header(file: Path) -> tuple[str, dict[str, Any]] | None:
    """What a single file's metadata (Stability's "modelspec") or the mark of other programs, a tensor, says."""
    header = read_header(file)
    if "v_pred" in header.tensors:
        return f"the tensor v_pred of {file}", {"prediction_type": "v_prediction"}
    kind = header.metadata.get("modelspec.prediction_type")
    if kind is None:
        return None
    name = {"v": "v_prediction"}.get(kind, kind)
    return f"the header of {file} (modelspec)", {"prediction_type": name}


def _find_scheduler(unet: Weights) -> tuple[str, dict[str, Any]] | None:
    """Name and content of the scheduler_config.json of the pipeline that the UNet, a local folder, is a part of; None
    without one."""
    if unet.path is not None:
        source = Path(unet.source or "")
        pipeline = source if unet.subfolder else source.parent
        for file in (
            source / unet.subfolder / SCHEDULER,
            pipeline / "scheduler" / SCHEDULER,
            pipeline / SCHEDULER,
        ):
            if file.is_file():
                # Not resolved: the files of a hub are links to blobs, whose names say nothing.
                return os.path.abspath(file), read_json(file)
    return None
