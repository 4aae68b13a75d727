"""Bundles: the weights of a service, and how they are to be run. One TOML file each in ``export/bundles/``."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from export.sampling import Defaults, Quality, Schedule, Tier, tier_problems
from export.seats import CONTROLNETS, SEATS, chosen_hints
from export.validation import every_problem

BUNDLES = Path(__file__).parent / "bundles"
SINGLE_FILE = ".safetensors"

NAME = re.compile("[a-z0-9][a-z0-9_-]*")
RESERVED = ("add", "plan")
"""Commands of ``python -m export``."""

NETWORKS = ("unet", "controlnet_depth", "controlnet_canny", "vae", "text_encoder", "depth", "detector")
"""The networks of a bundle whose ControlNets are shown depth and edges; see ``Bundle.used``."""
FURTHER = ("segments", "tiny_decoder", "upscaler")
"""Networks that only some bundles have."""
KNOWN_NETWORKS = (*NETWORKS, *(name for name in SEATS if name not in NETWORKS), *FURTHER)
"""All that a bundle can name."""
PERCEPTION = ("depth", "detector")
"""Networks that analyse photos and can be used alone; the others belong together."""

_ONLY_FOR = {"input_size": ("depth", "detector", "segments"), "depth_direction": ("depth",)}
"""Fields of ``Weights`` that only some networks have."""


FLOAT_TOLERANCE = 5e-5
"""The default of ``Bundle.tolerance``."""


class BundleError(ValueError):
    """The bundle cannot be used; each line of the message names a field or a file, what is wrong and the remedy."""


def refuse(problems: Iterable[str]) -> None:
    """Raises BundleError with all of ``problems``, a line each, if there are any."""
    if lines := list(problems):
        raise BundleError("\n".join(lines))


class Weights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one network comes from: the Hub (``repo``, ``revision``, ``subfolder``), a local folder or
    ``.safetensors`` file (``path``), or random numbers (``config``, the arguments of its configuration class)."""

    repo: str | None = None
    revision: str | None = None
    subfolder: str = ""
    path: str | None = None
    like: Weights | None = None
    """The network whose configuration these weights have, where their own config.json is not at hand: a single file has
    none (left out, it has that of the base bundle's network), and the Hub's is not here before it is fetched."""
    config: dict[str, Any] | None = None
    redraw: float = 0.0
    """For random weights: the standard deviation with which tensors that start at zero are drawn anew."""
    gain: dict[str, float] = {}
    """For random weights: factors on the matrices and kernels under a name prefix ("" = all), so that inputs still
    have an effect at the far end."""
    input_size: tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]] | None = None
    """Of networks that look at photos: the (height, width) in pixels that a photo is resized to. None = what its
    preprocessor_config.json or config.json says (see ``export.networks.preparation``)."""
    depth_direction: Literal["inverse", "distance"] | None = None
    """Of a depth model: ``inverse`` where its large numbers are near, ``distance`` where they are far. None = as its
    class is known to."""

    @property
    def source(self) -> str | None:
        """What ``from_pretrained`` takes; a relative ``path`` starts at the folder of the bundle files."""
        return str(BUNDLES / self.path) if self.path is not None else self.repo

    @property
    def is_file(self) -> bool:
        """Whether the weights are a single ``.safetensors`` file."""
        return self.path is not None and self.path.endswith(SINGLE_FILE)


class Lora(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A low-rank change of the UNet and the text encoder, which is added to their weights when they are loaded: a
    ``.safetensors`` file with the keys of kohya's scripts, peft or diffusers."""

    path: str | None = None
    """A file here; relative paths start at the folder of the bundle files."""
    repo: str | None = None
    revision: str | None = None
    filename: str | None = None
    """Or one of the Hub: the repository, its commit and the file's name in it."""
    scale: float = 1.0
    """The change is multiplied by this, beside the file's own alpha / rank."""

    @property
    def source(self) -> str:
        """In words."""
        return f"{self.repo}@{self.revision}/{self.filename}" if self.path is None else self.path

    @property
    def file(self) -> Path:
        """The file here; one of the Hub must have been fetched."""
        assert self.path is not None
        return BUNDLES / self.path


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another denoiser of the same release: the bundle's UNet and ControlNets, with further LoRAs."""

    loras: Annotated[list[Lora], Meta(min_length=1)]
    """Fused after the bundle's own, and into the UNet only."""


class Licence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A licence that some of the bundle's weights come under."""

    name: str
    url: str
    """Where its text can be read."""
    networks: list[str]
    """Names of networks and variants, ``tokenizer`` among them."""
    restrictions: str = ""
    """A sentence on what it asks of users and of who serves others."""
    sha256: str | None = None
    """SHA-256 of the text, where it was read."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that training measured: ``key`` of the JSON object in the file ``path``."""

    path: str
    key: str


Matrix = list[list[float]]
Stored = Literal["fp32", "fp16"]
Precision = Literal["fp32", "fp16"]


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a bundle's TOML file."""

    name: str
    description: str
    base: str | None = None
    """The bundle that everything comes from which the file leaves out; see :func:`inherit`."""
    native_size: Annotated[int, Meta(ge=64)]
    """Side in pixels of the square that the networks were made for."""
    max_batch_size: Annotated[int, Meta(ge=2)]
    """At least 2: `restyle` gives the text encoder both prompts at once."""
    objects: Annotated[int, Meta(ge=1)]
    """K: how many boxes the detector returns."""
    object_threshold: Annotated[float, Meta(ge=0.0, le=1.0)]
    quality_threshold: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Below this score a result is tried once more, when the request allows it."""
    networks: dict[str, Weights]
    hints: list[str] | None = None
    """What the two ControlNets are shown, in the order of their seats and of ``control_scale``; other ControlNets are
    left out. None = that of the two that there are."""
    tokenizer: Weights
    loras: list[Lora] = []
    """Fused into the UNet and the text encoder, wherever these come from."""
    variants: dict[str, Variant] = {}
    """Further denoisers by name, such as one for few steps."""
    styles: dict[str, str] = {}
    """By the name of a style, the variant that draws it, where the tier names none."""
    defaults: Defaults
    tiers: dict[Quality, Tier] = {}
    """Kinds of pictures that users may ask for, by quality: what they change of ``defaults``. Without any there is one
    kind."""
    quality: Quality | None = None
    """The tier of requests that ask for none."""
    schedule: Schedule
    solvers: list[str] | None = None
    """Solvers that begin where the networks were trained; others are refused. None = all that the spacing has."""
    palettes: list[list[str]] = []
    """Colours in words, as captions of the training name them; [] among them = the style's own. A request without a
    palette gets one of these: by its seed, or without one the first, which should be the style's own."""
    preview_matrix: Matrix | Measured
    """RGB in −1..1 from latents: [channels + 1][3], the last row added. :func:`preview_matrix` reads it."""
    stored: Stored = "fp32"
    """How the files hold the weights. With fp16 they are rounded to it when they are loaded; the graphs still compute
    in FP32, so this halves the files and nothing else."""
    precision: Precision = "fp32"
    """What the graphs compute in. fp16: FP32 at the edges, in norms, softmax, guidance and the solver's update; see
    ``export.networks.precision``."""
    fp32_graphs: list[str] = []
    """With precision fp16: graphs that stay in FP32 all the same, such as a "vae_decoder" that overflows."""
    targets: list[str] = []
    """The hardware that a release is for: "cpu", "gpu", or names of GPUs such as "Tesla T4"; no other gets it. [] =
    any, or with precision fp16 any GPU."""
    budgets: dict[str, dict[str, Annotated[float, Meta(gt=0.0)]]] = {}
    """By hardware, as in ``targets``, and by quality ("" where there are no tiers): the seconds that a picture may
    take."""
    made_by: str | None = None
    """The command that makes the local weights; messages name it when they are missing."""
    licences: list[Licence] = []
    """What is shown before the weights are fetched, and recorded in the release."""
    tolerance: float = FLOAT_TOLERANCE
    """By how much a float output of a graph may differ from torch, relative to the largest magnitude (at least 1)."""
    seed: int = 0

    @property
    def seats(self) -> tuple[str, str]:
        """The hints of the two seats. Raises BundleError when the ControlNets cannot take them."""
        try:
            return chosen_hints(self.networks, self.hints)
        except ValueError as error:
            raise BundleError(f"{self.name}.toml: {error}") from error

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the networks that a release of this bundle is made of. Raises BundleError."""
        return _used(self.seats, self.networks)

    @property
    def kinds(self) -> dict[Quality | None, Defaults]:
        """The kinds of pictures by quality; under None the only one, where there are no tiers."""
        plain = msgspec.to_builtins(self.defaults)
        return {
            quality: msgspec.convert(plain | msgspec.to_builtins(tier), Defaults)
            for quality, tier in self.tiers.items()
        } or {None: self.defaults}

    @property
    def usual(self) -> tuple[Quality | None, Defaults]:
        """The kind of pictures of requests that ask for none."""
        quality = self.quality if self.tiers else None
        return quality, self.kinds[quality]


def _used(hints: tuple[str, str], networks: Collection[str]) -> tuple[str, ...]:
    unet, *others = (name for name in NETWORKS if name not in SEATS)
    segments = ("segments",) if "segments" in hints else ()
    further = (name for name in ("tiny_decoder", "upscaler") if name in networks)
    return (unet, *(CONTROLNETS[hint] for hint in hints), *others, *segments, *further)


def load_bundle(name: str) -> Bundle:
    """Read ``export/bundles/<name>.toml`` and its base. Raises BundleError with all that is wrong with them."""
    return make_bundle(name, _read(name))


def make_bundle(name: str, document: dict[str, Any]) -> Bundle:
    """The bundle ``name`` with the content of its file and its base. Raises BundleError with all that is wrong."""
    file = f"{name}.toml"
    problems = every_problem(document, Bundle)
    if not NAME.fullmatch(name) or name in RESERVED:
        problems.append(
            f"{name!r} is no name for a bundle: give it small letters, digits, - and _, and not 'add'"
        )
    if document.get("name") != name:
        problems.append(f"name is {document.get('name')!r}: it must be that of the file, {name!r}")
    networks = document.get("networks")
    if isinstance(networks, dict):
        problems += _absences(networks, document.get("hints"))
        if foreign := [network for network in networks if network not in KNOWN_NETWORKS]:
            problems.append(
                f"there is no network {', '.join(foreign)}; there are: {', '.join(KNOWN_NETWORKS)}"
            )
        for source, weights in (networks | {"tokenizer": document.get("tokenizer")}).items():
            problems += [
                f"{source} {problem}" for problem in (*_mistakes(weights), *_misplaced(source, weights))
            ]
        problems += _untidy(document, networks)
    if isinstance(licences := document.get("licences"), list):
        variants = document.get("variants")
        known = (*KNOWN_NETWORKS, "tokenizer", *(variants if isinstance(variants, dict) else ()))
        problems += [problem for licence in licences for problem in _foreign(licence, known)]
    refuse(f"{file}: {problem}" for problem in problems)
    bundle = msgspec.convert(document, Bundle)
    # A base may have ControlNets whose seats are taken by others: they are neither fetched nor looked at.
    used = {network: weights for network, weights in bundle.networks.items() if network in bundle.used}
    return msgspec.structs.replace(bundle, networks=used)


def _untidy(document: dict[str, Any], networks: dict[str, Any]) -> list[str]:
    """What is wrong with the tables of LoRAs, variants and tiers, as sentences, beside their types."""
    tiers, variants = document.get("tiers", {}), document.get("variants", {})
    if not isinstance(tiers, dict) or not isinstance(variants, dict):
        return []
    loras = {"loras": document.get("loras", [])}
    loras |= {f"variants.{name}": v.get("loras", []) for name, v in variants.items() if isinstance(v, dict)}
    found = [
        f"{place}: {problem}"
        for place, given in loras.items()
        for lora in (given if isinstance(given, list) else [])
        for problem in _lora_mistakes(lora)
    ]
    found += [
        f"variants: {name!r} is no name: give it small letters, digits and _"
        for name in variants
        if not re.fullmatch("[a-z0-9_]+", name)
    ]
    styles = document.get("styles", {})
    found += [
        f"styles.{style}: there is no variant {variant!r}; variants: {', '.join(variants) or 'there are none'}"
        for style, variant in (styles.items() if isinstance(styles, dict) else ())
        if variant not in variants
    ]
    return [*found, *tier_problems(tiers, document.get("quality"), variants, networks)]


def _lora_mistakes(table: Any) -> list[str]:
    """What a LoRA's source lacks, as sentences; nothing for a table that is none."""
    try:
        lora = msgspec.convert(table, Lora)
    except msgspec.ValidationError:
        return []
    if (lora.path is None) == (lora.repo is None):
        return ["give a LoRA either path, or repo, revision and filename"]
    if lora.repo is not None and (lora.revision is None or lora.filename is None):
        return [f"the LoRA of {lora.repo} needs revision, the commit, and filename"]
    return []


def _absences(networks: dict[str, Any], hints: Any) -> list[str]:
    """What the networks of a bundle lack, as sentences. ``hints`` may be of any type: another check names that."""
    strings = isinstance(hints, list) and all(isinstance(hint, str) for hint in hints)
    try:
        used = _used(chosen_hints(networks, hints if strings else None), networks)
    except ValueError as error:
        missing = [name for name in NETWORKS if name not in SEATS and name not in networks]
        return [str(error), *([f"no weights for {', '.join(missing)}"] if missing else [])]
    missing = [name for name in used if name not in networks]
    return [f"no weights for {', '.join(missing)}"] if missing else []


def _mistakes(table: Any) -> list[str]:
    """What a source lacks, as the ends of sentences; nothing for a table that is none."""
    try:
        weights = msgspec.convert(table, Weights)
    except msgspec.ValidationError:
        return []
    given = [field for field in ("repo", "path", "config") if getattr(weights, field) is not None]
    found = []
    if len(given) != 1:
        found.append(f"has {' and '.join(given) or 'no source'}: give one of repo, path and config")
    if weights.repo is not None and weights.revision is None:
        found.append(f"comes from {weights.repo} at no fixed revision: name its commit")
    if weights.is_file and weights.like is None:
        found.append(
            f"is the single file {weights.path}, which has no config.json: name a base bundle whose network has its "
            "shape"
        )
    return found


def _foreign(table: Any, known: Collection[str]) -> list[str]:
    """What a licence names that is none of ``known``; nothing for a table that is none."""
    names = table.get("networks") if isinstance(table, dict) else None
    foreign = [str(name) for name in names if name not in known] if isinstance(names, list) else []
    return [f"licences: there is no network {', '.join(foreign)}; there are: {', '.join(known)}"] * bool(
        foreign
    )


def _misplaced(name: str, table: Any) -> list[str]:
    """Fields of a source that mean nothing for the network ``name``, as the ends of sentences."""
    given = table if isinstance(table, dict) else {}
    return [
        f"has {field}, which is for {', '.join(networks)} only"
        for field, networks in _ONLY_FOR.items()
        if field in given and name not in networks
    ]


def _read(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a bundle's file and of those that it is based on. ``above`` are the bundles that ask for it."""
    path = BUNDLES / f"{name}.toml"
    asked = f"{above[-1]}.toml: base: " if above else ""
    if name in above:
        raise BundleError(f"{asked}{name!r} is based on this bundle itself")
    if not path.is_file():
        raise BundleError(f"{asked}there is no bundle {name!r}; there are: {', '.join(bundle_names())}")
    return parse_bundle(name, path.read_text(errors="replace"), above)


def parse_bundle(name: str, text: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a bundle's file, which is ``text``, and of those that it is based on. Raises BundleError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BundleError(f"{name}.toml: {error}") from error
    base = document.get("base")
    return inherit(_read(base, (*above, name)), document) if isinstance(base, str) else document


def bundle_names() -> list[str]:
    """The bundles that there are."""
    return sorted(file.stem for file in BUNDLES.glob("*.toml"))


def inherit(base: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The content of a bundle's file and, for what it leaves out, that of its base.

    ``defaults`` and ``schedule`` are taken member by member, ``networks`` by name; everything else as a whole, so that
    ``tiers = {}`` leaves those of the base out.
    ``licences`` are added to those of the base: what is made from its networks stays under them. A single file is
    given the configuration of the base's network, unless it says which it has.
    """
    merged = base | document
    for table in ("defaults", "schedule", "networks"):
        ours, theirs = document.get(table, {}), base.get(table, {})
        if isinstance(ours, dict) and isinstance(theirs, dict):
            merged[table] = theirs | ours
    ours, theirs = document.get("licences"), base.get("licences")
    if isinstance(ours, list) and isinstance(theirs, list):
        merged["licences"] = theirs + [licence for licence in ours if licence not in theirs]
    if isinstance(document.get("networks"), dict) and isinstance(base.get("networks"), dict):
        merged["networks"] |= {
            name: _configured(weights, _alike(name, base["networks"]))
            for name, weights in document["networks"].items()
        }
    return merged


def _alike(name: str, networks: dict[str, Any]) -> Any:
    """The network that has the shape of the network ``name``: ControlNets of one UNet are alike."""
    others = (network for seat, network in networks.items() if seat in SEATS and name in SEATS)
    return networks.get(name) or next(others, None)


def _configured(weights: Any, base: Any) -> Any:
    if not isinstance(weights, dict) or not isinstance(base, dict) or "like" in weights:
        return weights
    single = isinstance(path := weights.get("path"), str) and path.endswith(SINGLE_FILE)
    return weights | {"like": base.get("like", base)} if single else weights


def local_path(bundle: Bundle, field: str, path: str) -> Path:
    """The file or folder at ``path``, relative to the bundle files. Raises BundleError when it does not exist."""
    found = BUNDLES / path
    if not found.exists():
        advice = f": run `{bundle.made_by}`" if bundle.made_by else ""
        raise BundleError(f"{field}: there is no {found.resolve()}{advice}")
    return found


def preview_matrix(bundle: Bundle) -> Matrix:
    """The bundle's matrix, from the file of the training that measured it if there is one. Raises BundleError."""
    if not isinstance(bundle.preview_matrix, Measured):
        return bundle.preview_matrix
    path = local_path(bundle, "preview_matrix", bundle.preview_matrix.path)
    try:
        return msgspec.convert(json.loads(path.read_text())[bundle.preview_matrix.key], Matrix)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"preview_matrix: {path} has no {bundle.preview_matrix.key}: {error!r}") from error
