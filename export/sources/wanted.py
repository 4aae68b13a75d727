"""Which files of a model hub's repository each network needs (a pipeline's repository holds five times as much)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

import msgspec

from export.bundle import Bundle, BundleError, Lora, Weights
from export.seats import SEATS

_COMMIT = re.compile(r"[0-9a-f]{40}")

_DIFFUSERS = ("config.json", "diffusion_pytorch_model.safetensors")
_TRANSFORMERS = ("config.json", "model.safetensors")
_PICTURES = ("preprocessor_config.json",)
_SCHEDULER = "scheduler/scheduler_config.json"
LICENCES = ("LICENSE", "LICENSE.md", "LICENSE.txt")

# The configuration comes first.
_NEEDED = {
    "unet": _DIFFUSERS,
    **dict.fromkeys(SEATS, _DIFFUSERS),
    "vae": _DIFFUSERS,
    "tiny_decoder": _DIFFUSERS,
    "text_encoder": _TRANSFORMERS,
    "depth": _TRANSFORMERS,
    "detector": _TRANSFORMERS,
    "segments": _TRANSFORMERS,
    "upscaler": _TRANSFORMERS,
    "tokenizer": ("tokenizer_config.json",),
}
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Older tokenizers consist of the two, newer ones of the first, some repositories have all."""
_WELCOME = {
    "depth": _PICTURES,
    "detector": _PICTURES,
    "segments": _PICTURES,
    "tokenizer": (*chain(*_TOKENIZERS), "special_tokens_map.json", "added_tokens.json"),
}
"""What some repositories have, beside what they need to have."""


class Repo(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at a commit."""

    name: str
    revision: str

    def __str__(self) -> str:
        return f"{self.name}@{self.revision[:8]}"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Names of files, as the hub has them."""

    needed: tuple[str, ...]
    welcome: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...] = ()
    """Of the welcome ones: all files of one of these are needed."""


LIKE = ".like"
"""After a network's name: the network whose configuration it has, of which no weights are wanted."""


def parts(bundle: Bundle) -> dict[str, Weights]:
    """By name, what the bundle takes from a hub: networks, the tokenizer, configurations of single files."""
    everything = {**bundle.networks, "tokenizer": bundle.tokenizer}
    everything |= {f"{name}{LIKE}": weights.like for name, weights in everything.items() if weights.like}
    return {name: weights for name, weights in everything.items() if weights.repo is not None}


def hub_loras(bundle: Bundle) -> dict[str, Lora]:
    """The LoRAs that the bundle takes from a hub, its variants' among them, by a name that says which file it is."""
    variants = (lora for variant in bundle.variants.values() for lora in variant.loras)
    return {f"LoRA {lora.source}": lora for lora in (*bundle.loras, *variants) if lora.repo is not None}


def repo_of(bundle: Bundle, name: str, weights: Weights | Lora) -> Repo:
    """Raises BundleError when the revision is no commit: what a branch or a tag names may change."""
    if weights.repo is None or weights.revision is None or not _COMMIT.fullmatch(weights.revision):
        raise BundleError(
            f"{bundle.name}.toml: {name}: revision {weights.revision!r} of {weights.repo} can move: write the commit, "
            "40 hexadecimal digits, that the repository's history shows"
        )
    return Repo(name=weights.repo, revision=weights.revision)


def wanted_files(bundle: Bundle) -> dict[Repo, Wanted]:
    """By repository, the files that the bundle takes from it. Raises BundleError as :func:`repo_of` does."""
    needed: dict[Repo, list[str]] = {}
    welcome: dict[Repo, list[str]] = {}
    alternatives: dict[Repo, list[tuple[str, ...]]] = {}
    for name, weights in parts(bundle).items():
        repo = repo_of(bundle, name, weights)
        network, like, _ = name.partition(LIKE)
        files = _NEEDED[network][:1] if like else _NEEDED[network]
        needed.setdefault(repo, []).extend(_inside(weights.subfolder, files))
        others = welcome.setdefault(repo, list(LICENCES))
        others.extend(_inside(weights.subfolder, _WELCOME.get(network, ())))
        if network == "unet":
            others.append(_SCHEDULER)
        if network == "tokenizer":
            alternatives[repo] = [tuple(_inside(weights.subfolder, files)) for files in _TOKENIZERS]
    for name, lora in hub_loras(bundle).items():
        repo = repo_of(bundle, name, lora)
        assert lora.filename is not None
        needed.setdefault(repo, []).append(lora.filename)
        welcome.setdefault(repo, list(LICENCES))
    return {
        repo: Wanted(
            needed=tuple(dict.fromkeys(files)),
            welcome=tuple(dict.fromkeys(welcome[repo])),
            alternatives=tuple(alternatives.get(repo, ())),
        )
        for repo, files in needed.items()
    }


def _inside(subfolder: str, files: Iterable[str]) -> list[str]:
    return [f"{subfolder}/{file}" if subfolder else file for file in files]
