"""Checks that the parts of a bundle fit together, before its graphs are exported, which takes minutes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from transformers import CLIPTokenizer

from export.bundle import Bundle, BundleError, Weights
from export.contract import TOKENS
from export.networks.load import Network

SCHEDULER = "scheduler_config.json"
DIFFUSERS: Mapping[str, Any] = {
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
}
"""Defaults of diffusers' schedulers for what a scheduler_config.json leaves out, as far as training depends on it."""


def check_bundle(bundle: Bundle, networks: Mapping[str, Network], tokenizer: CLIPTokenizer) -> None:
    """Raises BundleError, whose message names the file, the value and the remedy."""
    _check_tokenizer(bundle, networks["text_encoder"].config, tokenizer)
    check_schedule(bundle)


def _check_tokenizer(bundle: Bundle, encoder: Any, tokenizer: CLIPTokenizer) -> None:
    where = f"{bundle.name}.toml: tokenizer {bundle.tokenizer.source}"
    frame = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    if missing := [name for name, token in frame.items() if token is None]:
        raise BundleError(f"{where} has no {missing[0]}_token: prompts are framed with it")
    highest = max(tokenizer.get_vocab().values())
    if highest >= encoder.vocab_size:
        raise BundleError(
            f"{where} gives ids up to {highest}, the text encoder knows {encoder.vocab_size} (vocab_size): take the "
            "tokenizer that the text encoder was trained with"
        )
    lengths = {
        "the text encoder (max_position_embeddings)": encoder.max_position_embeddings,
        "the tokenizer (model_max_length)": tokenizer.model_max_length,
    }
    for name, length in lengths.items():
        if length < TOKENS:
            raise BundleError(f"{where}: prompts are {TOKENS} tokens long, {name} takes {length} only")


def check_schedule(bundle: Bundle) -> None:
    """Raises BundleError when the pipeline that the UNet is a part of names another schedule in its
    scheduler_config.json."""
    found = _find_scheduler(bundle.networks["unet"])
    if found is None:
        return
    file, given = found
    schedule = bundle.schedule
    ours = {
        "beta_start": ("schedule.beta_start", schedule.beta_start),
        "beta_end": ("schedule.beta_end", schedule.beta_end),
        "num_train_timesteps": ("schedule.train_steps", schedule.train_steps),
        "prediction_type": ("schedule.prediction", schedule.prediction),
    }
    theirs = {name: given.get(name, default) for name, default in DIFFUSERS.items()}
    for name, (field, value) in ours.items():
        same = math.isclose(theirs[name], value) if isinstance(value, float) else theirs[name] == value
        if not same:
            raise BundleError(
                f"{bundle.name}.toml: {field} is {value!r}, but {file} says {name} {theirs[name]!r}: write what the "
                "networks were trained with"
            )
    for name, only in (
        ("beta_schedule", "scaled_linear"),
        ("trained_betas", None),
        ("rescale_betas_zero_snr", False),
    ):
        if theirs[name] != only:
            raise BundleError(
                f"{bundle.name}.toml: networks.unet: {file} says {name} {theirs[name]!r}, and restyle can do {only!r} "
                "only: choose other weights"
            )


def _find_scheduler(unet: Weights) -> tuple[str, dict[str, Any]] | None:
    """Name and content of the scheduler_config.json of the pipeline that the UNet is a part of; None without one."""
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
                return os.path.abspath(file), _read(file)
    elif unet.repo is not None:
        name = f"scheduler/{SCHEDULER}"
        try:
            return f"{unet.repo}/{name}", _read(
                Path(hf_hub_download(unet.repo, name, revision=unet.revision))
            )
        except LocalEntryNotFoundError as error:
            raise BundleError(f"networks.unet: cannot load {name} of {unet.repo}: {error}") from error
        except EntryNotFoundError:
            return None
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise BundleError(f"networks.unet: cannot read {file}: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"networks.unet: {file} is not a JSON object")
    return content
