"""A cheap look at all files of a bundle, before minutes are spent: seconds, and no network in memory.

Names and shapes of tensors are read from the headers of the files and compared with the networks that the config.json
files describe; every number is looked at once, for what is none. All that is wrong is told at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import transformers
from transformers import CLIPTokenizer

from export.bundle import SINGLE_FILE, Bundle, BundleError, Lora, Variant, Weights, refuse
from export.networks.load import ONNX, Network, empty_network, skeleton
from export.proofs.checks import bundle_problems, schedule_problems, unserved_unet
from export.sources.configuration import CONFIG, is_diffusers, read_config
from export.sources.headers import PICKLES, Header, pickled, read_header
from export.sources.lora import LORA_NETWORKS, find_changes
from export.sources.single_file import converted, foreign_model, names_of, weights_file
from export.sources.tokenizer import load_tokenizer
from export.sources.weights_from_graphs import is_packed

ABSENT = {
    # Trained, and left out of the file by transformers' conversion, because the first fusion layer has no use for it.
    "depth": re.compile(r"neck\.fusion_stage\.layers\.0\.residual_layer1\..*"),
}
"""By network: tensors that a complete file may lack."""
UNUSED = re.compile(r".*\.?position_ids")
"""Tensors that a file may hold though the network has none of this name: older versions of transformers kept them."""
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names in VAEs of 2022; diffusers renames them when it loads them."""

_VOCABULARIES = (("vocab.json", "merges.txt"), ("tokenizer.json",))
_VOCABULARIES_IN_WORDS = " or ".join(" and ".join(files) for files in _VOCABULARIES)

Shape = tuple[int, ...]


def inspect_bundle(bundle: Bundle) -> None:
    """Look at everything of a bundle that is on this machine. Raises BundleError, a line for each problem."""
    refuse(find_problems(bundle))


def find_problems(bundle: Bundle) -> list[str]:
    """All that keeps a bundle from being exported, as far as its files on this machine say, with file and remedy.

    What comes from a model hub is not fetched: it is looked at when its files are here.
    """
    problems: list[str] = []
    networks: dict[str, Network] = {}
    for name in bundle.used:
        weights = bundle.networks[name]
        where = f"{bundle.name}.toml: networks.{name}: "
        try:
            if missing := _missing(bundle, weights):
                raise BundleError(missing)
            if (weights.path or "").endswith(ONNX):
                skeleton(bundle, name)
                continue
            network = empty_network(name, read_config(weights)) if _config_is_here(weights) else None
            if network is not None:
                networks[name] = network
            problems += [where + problem for problem in _network_problems(name, weights, network)]
        except BundleError as error:
            lines = str(error).splitlines()
            problems += [where + line.removeprefix(f"networks.{name}: ") for line in lines]
    tokenizer = None
    if bundle.tokenizer.repo is None:
        try:
            if missing := _missing(bundle, bundle.tokenizer):
                raise BundleError(missing)
            tokenizer = _tokenizer(bundle.tokenizer)
        except BundleError as error:
            problems.append(f"{bundle.name}.toml: tokenizer: {error}")
    problems += bundle_problems(bundle, networks, tokenizer)
    if bundle.networks["unet"].repo is None:
        problems += schedule_problems(bundle)
    changed = {name: network for name, network in networks.items() if name in LORA_NETWORKS}
    if "unet" in changed and unserved_unet(changed["unet"].config):
        del changed["unet"]  # that it does not fit is told above
    problems += [f"{bundle.name}.toml: loras: {problem}" for problem in _lora_problems(bundle.loras, changed)]
    for name, variant in bundle.variants.items():
        where = f"{bundle.name}.toml: variants.{name}: "
        problems += [where + problem for problem in _lora_problems(variant.loras, changed)]
        problems += [where + problem for problem in _text_problems(variant, changed)]
    return list(dict.fromkeys(problems))


def _config_is_here(weights: Weights) -> bool:
    """Whether the configuration can be read without a model hub."""
    if weights.like is not None and (weights.is_file or weights.repo is not None):
        return _config_is_here(weights.like)
    return weights.repo is None


def _missing(bundle: Bundle, weights: Weights) -> str | None:
    """The sentence for a source that does not exist."""
    if weights.path is None or Path(weights.source or "").exists():
        return None
    advice = f": run `{bundle.made_by}`" if bundle.made_by else ": correct the path"
    return f"there is no {Path(weights.source or '').resolve()}{advice}"


def _tokenizer(weights: Weights) -> CLIPTokenizer:
    folder = Path(weights.source or "", weights.subfolder)
    # Of a folder without these, transformers makes a tokenizer that knows no words.
    if not any(all((folder / file).is_file() for file in files) for files in _VOCABULARIES):
        raise BundleError(f"{folder} holds no tokenizer: name a folder with {_VOCABULARIES_IN_WORDS}")
    try:
        return load_tokenizer(weights)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"{folder} holds no tokenizer of CLIP ({reason}): name one that does") from error


def _text_problems(variant: Variant, networks: Mapping[str, Network]) -> Iterator[str]:
    """A variant has the text encoder of the bundle."""
    here = [lora for lora in variant.loras if lora.path is not None]
    changes, problems = find_changes(networks, here)
    if not problems and "text_encoder" in changes:
        change = next(iter(changes["text_encoder"].values()))[0]
        yield (
            f"{change.header.path}: {change.down} changes the text encoder, which all denoisers of a release share: "
            "take a LoRA of the UNet alone"
        )


def _lora_problems(loras: Sequence[Lora], networks: Mapping[str, Network]) -> Iterator[str]:
    """Of those that are here; what comes from a hub is looked at when it is."""
    loras = [lora for lora in loras if lora.path is not None]
    yield from find_changes(networks, loras)[1]
    for lora in loras:
        try:
            yield from _not_finite(read_header(lora.file))
        except BundleError:
            continue  # told above


def _network_problems(name: str, weights: Weights, network: Network | None) -> Iterator[str]:
    """``network`` is None where its configuration is on a hub."""
    if weights.path is None:
        return
    if name == "unet" and network is not None and unserved_unet(network.config):
        return  # told where the networks are compared, and its shapes are others of course
    source = Path(weights.source or "", weights.subfolder)
    if weights.is_file:
        yield from _single_file_problems(name, source, network)
    elif network is not None and not is_packed(source):
        yield from _folder_problems(name, source, network)


def _single_file_problems(name: str, file: Path, network: Network | None) -> Iterator[str]:
    header = read_header(file)
    if model := foreign_model(header):
        yield f"{file}: is of {model}: take a checkpoint of Stable Diffusion 1.5's kind"
        return
    first = header.tensors.get("model.diffusion_model.input_blocks.0.0.weight")
    if name == "unet" and first is not None and first.shape[1:2] == (9,):
        yield (
            f"{file}: model.diffusion_model.input_blocks.0.0.weight has 9 channels: it is an inpainting network, which "
            "wants a mask too: take the checkpoint that it was made from"
        )
        return
    names = names_of(header, name)
    yield from _not_finite(header, names)
    if network is None:
        return
    found = {
        key.removeprefix("text_model.") if name == "text_encoder" else key: tuple(tensor.shape)
        for key, tensor in converted(header, name, network).items()
    }
    yield from _compare(file, name, _shapes(network), found)


def _folder_problems(name: str, folder: Path, network: Network) -> Iterator[str]:
    files = _weight_files(name, folder)
    headers = [read_header(file) for file in files]
    if is_diffusers(network):
        found = {
            _today(key): tuple(entry.shape) for header in headers for key, entry in header.tensors.items()
        }
        yield from _compare(files[0], name, _shapes(network), found)
    else:
        yield from _compare(files[0], name, *_as_transformers_sees(folder, network))
    for header in headers:
        yield from _not_finite(header)


def _weight_files(name: str, folder: Path) -> list[Path]:
    """The .safetensors files of a network. Raises BundleError when there is none, or other files in its place."""
    file = folder / weights_file(name)
    if file.is_file():
        return [file]
    index = folder / f"{file.name}.index.json"
    if index.is_file():
        try:
            return [
                folder / part for part in sorted(set(json.loads(index.read_text())["weight_map"].values()))
            ]
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise BundleError(f"{index}: lists no files ({error}): fetch it again") from error
    files = sorted(folder.iterdir())
    if others := [other.name for other in files if other.suffix == SINGLE_FILE]:
        raise BundleError(
            f"{folder}: has no {file.name}, but {', '.join(others)}: rename the one that is meant"
        )
    if pickles := [other for other in files if other.suffix in PICKLES]:
        raise BundleError(pickled(pickles[0]))
    if (folder / "model_index.json").is_file():
        raise BundleError(
            f"{folder}: is a whole pipeline: name the folder of the network in it, or subfolder"
        )
    raise BundleError(f"{folder}: has no weights: fetch {file.name}")


def _shapes(network: Network) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _today(key: str) -> str:
    return re.sub(
        r"(\.attentions\.\d+)\.(query|key|value|proj_attn)\.",
        lambda found: f"{found[1]}.{_OLD_ATTENTION[found[2]]}.",
        key,
    )


def _as_transformers_sees(folder: Path, network: Network) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """(expected, found) shapes of a folder's tensors, as far as they differ, after all the renaming that transformers
    does when it loads them.

    What the network has no use for is left out: files hold projections and heads of other tasks, and the last layers
    that a configuration skips.
    """
    verbosity = transformers.utils.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        _, seen = type(network).from_pretrained(
            folder, device_map="meta", output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder}: transformers cannot load it: {str(error).splitlines()[0]}") from error
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
        if bars:
            transformers.utils.logging.enable_progress_bar()
    shapes = _shapes(network)
    expected = {key: shapes.get(key, ()) for key in sorted(seen["missing_keys"])}
    found: dict[str, Shape] = {}
    for key, theirs, ours in sorted(seen["mismatched_keys"]):
        expected[key], found[key] = tuple(ours), tuple(theirs)
    return expected, found


def _compare(
    file: Path, name: str, expected: Mapping[str, Shape], found: Mapping[str, Shape]
) -> Iterator[str]:
    absent = ABSENT.get(name)
    missing = [key for key in expected if key not in found and not (absent and absent.fullmatch(key))]
    foreign = [key for key in found if key not in expected and not UNUSED.fullmatch(key)]
    other = [key for key in expected if key in found and found[key] != expected[key]]
    if other:
        yield (
            f"{file}: {other[0]} is {list(found[other[0]])}, and {list(expected[other[0]])} after the configuration"
            f"{_more(other)}: take the {CONFIG} that belongs to these weights"
        )
    if missing:
        yield f"{file}: lacks {missing[0]}{_more(missing)}: take the weights that belong to the {CONFIG}"
    if foreign:
        yield (
            f"{file}: holds {foreign[0]}{_more(foreign)}, which the network does not have: take weights of the kind "
            f"that the {CONFIG} describes"
        )


def _more(keys: list[str]) -> str:
    return f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""


def _not_finite(header: Header, names: Iterable[str] | None = None) -> Iterator[str]:
    if damaged := list(header.not_finite(names)):
        yield f"{header.path}: {damaged[0]}{_more(damaged)} has numbers that are not finite: take other weights"
