"""Proof of the whole: `restyle` with a release's graphs paints what diffusers' pipeline paints with their source.

Graph by graph, parity leaves out what lies between: the solver's table, guidance, which hint goes where, the order of
the prompts, the scaling of latents. Here both sides get the same photo, noise, hints and words, and their pictures are
compared before rounding: one guided step and one whole picture for each shape, with seeds of their own.

`restyle` runs as a program (``export.proofs.rehearsal``). diffusers runs in this process for small networks, otherwise
as a program too, ``python -m export.proofs.whole``, after the other one has ended: the two are never in memory at once.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from export.bundle import BUNDLES, Bundle, Variant
from export.networks.load import Network, load_network
from export.networks.modules import bundle_of_graph
from export.proofs.diffusers_pipeline import (
    ALWAYS,
    Pipeline,
    hint,
    photo_latents,
    pipeline_networks,
    scheduler,
)
from export.proofs.parity import ParityError
from export.proofs.rehearsal import REPOSITORY, rehearse
from export.releases.folder import live_document
from export.sampling import Defaults, Quality
from export.sources.tokenizer import load_tokenizer

TOLERANCES = {"fp32": 0.05, "fp16": 10.0}
"""By the graphs' precision: how far a value of a picture, 0..255 before rounding, may be from diffusers'.

Measured: 0.003 in FP32 (`tiny`; `dollhouse` 0.001, `sd15_quarter` 0.004), and 3.4 in FP16 (`tiny`), whose steps are
rounded to 11 bits while diffusers computes in FP32 with the source's own weights. Swapped hints move the same pictures
by more than 200, a guidance scale of 7.4 in place of 7.5 by 1.2: FP16's tolerance finds gross faults only.
"""

SMALL = 100_000_000
"""Bytes of a denoiser up to which every shape gets a whole picture, and diffusers runs in this process."""

FEW = 2
"""Steps of the one whole picture that larger networks paint."""

GUIDANCE = 2.0
"""Of single steps, at least: so that both rows of text count, also where pictures are made without guidance."""

WORDS = (
    ("a modern living room, warm light", "blurry, low quality"),
    ("an industrial loft with brick walls", "people, text"),
)
"""Prompts and negative prompts."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One picture that both sides paint."""

    height: int
    width: int
    """Of a bucket."""
    seed: int
    """Of the photo and the noise."""
    steps: int
    """As requested: with a strength below 1, that share of them is run."""
    guidance_scale: float
    quality: Quality | None = None
    """The tier; None where the bundle has none."""

    @property
    def words(self) -> tuple[str, str]:
        """Prompt and negative prompt."""
        return WORDS[self.seed % len(WORDS)]


class CaseFacts(Case, frozen=True, kw_only=True):
    """A case, and how far apart the two pictures are."""

    difference: float
    """The largest, 0..255."""
    at: tuple[int, int, int]
    """Row, column and channel of it."""
    latents: float
    """The largest difference of the latents that were decoded, in their own units."""
    contrast: float
    """Standard deviation of diffusers' picture: near 0, the comparison would prove little."""


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """The proof, as a release keeps it."""

    solver: str
    """Of requests that ask for no quality, and their strength."""
    strength: float
    """Below 1, `restyle` starts from the photo and runs this share of the steps."""
    tolerance: float
    cases: list[CaseFacts]

    @property
    def worst(self) -> CaseFacts:
        return max(self.cases, key=lambda case: case.difference)


@dataclass(frozen=True)
class Pair:
    """What both sides made of one case: FP64 [H,W,3] before rounding; and of what, UINT8."""

    case: CaseFacts
    photo: NDArray[np.uint8]
    hints: dict[str, NDArray[np.uint8]]
    """[H,W] or [H,W,3], by name."""
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64]


def prove_whole(
    bundle: Bundle, release: Path, work: Path, tolerance: float | None = None
) -> tuple[Whole, list[Pair]]:
    """Rehearse the live version of ``release``, made of ``bundle``, and compare its pictures with diffusers'.

    ``work`` is a folder, made if need be, for files that pass between the programs. They stay there: when the same is
    asked again, nothing is painted. ``tolerance`` None means that of the release's precision. Raises ParityError when
    a picture differs by more, RehearsalError when `restyle` cannot paint.
    """
    work.mkdir(parents=True, exist_ok=True)
    document = msgspec.json.decode(live_document(release).read_bytes())
    tolerance = TOLERANCES[document["precision"]] if tolerance is None else tolerance
    small = document["models"]["denoiser"]["bytes"] <= SMALL
    cases = cases_of(bundle, [tuple(size) for size in document["buckets"]], small)
    asked, painted, answer, done = (
        work / name for name in ("cases.npz", "restyle.npz", "diffusers.npz", "done")
    )
    fingerprint = _fingerprint(bundle, cases, document)
    if not (done.is_file() and done.read_text() == fingerprint):
        done.unlink(missing_ok=True)
        np.savez(asked, allow_pickle=False, **_requests(bundle, cases, document["sizes"]))
        rehearse(release, paint=(asked, painted))
        if small:
            with one_thread():
                paint_with_diffusers(bundle, cases, asked, painted, answer)
        else:
            paint_apart(bundle, cases, work, asked, painted, answer)
        done.write_text(fingerprint)
    pairs = compare(cases, asked, painted, answer)
    found = [pair.case for pair in pairs]
    _, usual = bundle.usual
    return judge(Whole(solver=usual.solver, strength=usual.strength, tolerance=tolerance, cases=found)), pairs


def judge(whole: Whole) -> Whole:
    """``whole``. Raises ParityError when a picture differs by more than its tolerance."""
    worst = whole.worst
    if not worst.difference <= whole.tolerance:
        raise ParityError(
            f"the {worst.quality or 'usual'} picture of {worst.width}×{worst.height} with seed {worst.seed} and "
            f"{worst.steps} steps differs from diffusers' by {worst.difference:.3g} of 255 (row {worst.at[0]}, column "
            f"{worst.at[1]}), allowed {whole.tolerance:g}"
        )
    return whole


def cases_of(bundle: Bundle, shapes: list[tuple[int, int]], small: bool) -> list[Case]:
    """One guided step for each corner of the bundle's ``shapes`` (height, width), and one whole picture: for each too
    when the networks are ``small``, else of FEW steps for the native shape. Of every further quality one whole picture
    of the native shape, of few steps likewise."""
    (usual_quality, usual), native = bundle.usual, (bundle.native_size, bundle.native_size)

    def area(shape: tuple[int, int]) -> int:
        return shape[0] * shape[1]

    corners = [min(shapes, key=area), native, max(shapes, key=area)]
    if small:
        corners += [min(shapes), max(shapes)]  # the widest and the tallest
    cases: list[Case] = []

    def few(kind: Defaults) -> int:
        """FEW; along a grid more, so that the middle is among them, and so many that they lie on it."""
        gaps = len(kind.grid) - 1
        return next((steps for steps in range(FEW + 1, gaps + 2) if gaps % (steps - 1) == 0), FEW)

    def add(shape: tuple[int, int], quality: Quality | None, steps: int, guidance_scale: float) -> None:
        kind = bundle.kinds[quality]
        # With a strength below 1, so many must be asked for that these are run.
        steps = math.ceil(min(steps, kind.steps) / kind.strength - 1e-9) if steps < kind.steps else kind.steps
        height, width = shape
        cases.append(
            Case(
                height=height,
                width=width,
                seed=len(cases),
                steps=steps,
                guidance_scale=guidance_scale,
                quality=quality,
            )
        )

    for shape in dict.fromkeys(corners):
        add(shape, usual_quality, 1, max(GUIDANCE, usual.guidance_scale))
        if small or shape == native:
            add(shape, usual_quality, usual.steps if small else few(usual), usual.guidance_scale)
    for quality, kind in bundle.kinds.items():
        if quality != usual_quality:
            add(native, quality, kind.steps if small else few(kind), kind.guidance_scale)
    return cases


def _fingerprint(bundle: Bundle, cases: list[Case], document: dict[str, Any]) -> str:
    """SHA-256 of everything that the pictures depend on."""
    graphs = {name: facts["sha256"] for name, facts in document["models"].items()}
    digest = hashlib.sha256(msgspec.json.encode((bundle, cases, graphs, document["tools"])))
    for folder in (Path(__file__).parents[1], REPOSITORY):
        for code in sorted(folder.rglob("*.py")):
            digest.update(code.read_bytes())
    return digest.hexdigest()


def _requests(bundle: Bundle, cases: list[Case], sizes: dict[str, int]) -> dict[str, NDArray[Any]]:
    """What `restyle` is asked for; ``sizes`` of the release."""
    channels, factor = sizes["latent_channels"], sizes["vae_factor"]
    found: dict[str, NDArray[Any]] = {}
    for index, case in enumerate(cases):
        prompt, negative_prompt = case.words
        kind = bundle.kinds[case.quality]
        request = {
            **({"quality": [case.quality]} if case.quality else {}),
            "prompt": [prompt],
            "negative_prompt": [negative_prompt],
            "palette": [],
            "seed": [case.seed],
            "steps": [case.steps],
            "guidance_scale": [case.guidance_scale],
            "strength": [kind.strength],
            # The network's own picture: without the photo's detail, at the bucket's size.
            "detail": [0.0],
        }
        shape = (channels, case.height // factor, case.width // factor)
        found[f"request_{index}"] = np.array(msgspec.json.encode(request).decode())
        found[f"photo_{index}"] = room(case.height, case.width, case.seed)
        found[f"noise_{index}"] = np.random.default_rng(case.seed).standard_normal(shape, np.float32)
    return found


def room(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A photo of a sort, UINT8 [H,W,3]: wall, floor, window, door and furniture in colours of the seed, some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    picture = np.empty((height, width, 3))
    picture[:] = rng.uniform(150, 230, 3) - 50 * np.abs(x - 0.4)[..., None]
    floor = y > 0.66 + 0.2 * np.abs(x - 0.5)
    picture[floor] = rng.uniform(70, 150, 3)
    things = (  # left, top, right, bottom
        *((0.10, 0.15, 0.32, 0.48), (0.80, 0.22, 0.94, 0.78), (0.38, 0.52, 0.72, 0.84)),
        *((0.42, 0.46, 0.68, 0.60), (0.14, 0.62, 0.24, 0.92), (0.45, 0.16, 0.60, 0.34)),
    )
    for left, top, right, bottom in things:
        inside = (left < x) & (x < right) & (top < y) & (y < bottom)
        picture[inside] = rng.uniform(30, 250, 3) * (1.1 - 0.3 * y[inside])[:, None]
    picture += rng.normal(0, 2, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def paint_with_diffusers(bundle: Bundle, cases: list[Case], asked: Path, painted: Path, answer: Path) -> None:
    """Paint ``cases`` with diffusers: photo and noise of the file ``asked``, hints of the file ``painted``; writes
    ``answer`` with ``pixels_i``, ``latents_i`` and ``ids_i`` as `restyle` does."""
    tokenizer = load_tokenizer(bundle.tokenizer)
    networks: dict[str, Network] = {}
    denoiser = ""
    made: dict[str, NDArray[Any]] = {}
    with np.load(asked) as given, np.load(painted) as ours, torch.no_grad():
        # One quality after the other: no two UNets are in memory together, and nothing is loaded twice in a row.
        for quality, kind in bundle.kinds.items():
            chosen = [(index, case) for index, case in enumerate(cases) if case.quality == quality]
            if not chosen:
                continue
            if kind.denoiser != denoiser:
                networks.pop("unet", None)
                networks = load_pipeline(bundle, kind, networks)
                denoiser = kind.denoiser
            pipeline = pipeline_of(bundle, kind, tokenizer, networks)
            for index, case in chosen:
                prompt, negative_prompt = case.words
                photo = given[f"photo_{index}"]
                latents = pipeline.latents(
                    case.steps,
                    [hint(ours[f"hint_{index}_{name}"]) for name in bundle.seats],
                    given[f"noise_{index}"][None],
                    photo_latents(photo, pipeline.vae) if kind.strength < 1.0 else None,
                    case.seed,
                    prompt=prompt,
                    negative_prompt=negative_prompt,
                    guidance_scale=case.guidance_scale,
                    controlnet_conditioning_scale=list(kind.control_scale),
                )
                words = [prompt] if case.guidance_scale <= 1.0 else [negative_prompt, prompt]
                framed = tokenizer(words, padding="max_length", truncation=True, return_tensors="np")
                made[f"ids_{index}"] = framed.input_ids
                made[f"latents_{index}"] = latents
                made[f"pixels_{index}"] = pipeline.picture(latents)
            del pipeline
    np.savez(answer, allow_pickle=False, **made)


def load_pipeline(
    bundle: Bundle, kind: Defaults, loaded: Mapping[str, Network] | None = None
) -> dict[str, Network]:
    """The networks of diffusers' pipeline for one kind of the bundle's pictures; those of ``loaded`` stay. Raises
    BundleError."""
    weights, loaded = bundle_of_graph(bundle, kind.denoiser), loaded or {}
    return {
        name: loaded[name] if name in loaded else load_network(weights, name)
        for name in pipeline_networks(bundle.seats)
    }


def pipeline_of(bundle: Bundle, kind: Defaults, tokenizer: Any, networks: Mapping[str, Network]) -> Pipeline:
    """diffusers' pipeline for one kind of the bundle's pictures, with its networks. Raises BundleError."""
    return Pipeline(
        networks,
        tokenizer,
        scheduler(kind.solver, **_schedule(bundle, kind)),
        kind.strength,
        kind.start_noise,
        bundle.seats,
        kind.guidance_interval or ALWAYS,
        load_network(bundle, kind.decoder) if kind.decoder == "tiny_decoder" else None,
    )


def _schedule(bundle: Bundle, kind: Defaults) -> dict[str, Any]:
    """The keywords of :func:`scheduler`."""
    spacing = kind.spacing or bundle.schedule.spacing
    return msgspec.structs.asdict(bundle.schedule) | {"spacing": spacing, "grid": kind.grid}


class _Job(msgspec.Struct):
    """What the program is given: a bundle whose paths are whole, and the cases."""

    bundle: Bundle
    cases: list[Case]


def paint_apart(
    bundle: Bundle, cases: list[Case], work: Path, asked: Path, painted: Path, answer: Path
) -> None:
    """As :func:`paint_with_diffusers`, in a process of its own. Raises ParityError when that fails."""

    def whole(source: Any) -> Any:
        path = source.path
        return (
            source if path is None else msgspec.structs.replace(source, path=str((BUNDLES / path).resolve()))
        )

    changes: dict[str, Any] = {
        "networks": {name: whole(weights) for name, weights in bundle.networks.items()},
        "loras": [whole(lora) for lora in bundle.loras],
        "variants": {
            name: Variant(loras=[whole(lora) for lora in variant.loras])
            for name, variant in bundle.variants.items()
        },
    }
    bundle = msgspec.structs.replace(bundle, **changes, tokenizer=whole(bundle.tokenizer))
    job = work / "job.json"
    job.write_bytes(msgspec.json.encode(_Job(bundle, cases)))
    files = map(str, (job, asked, painted, answer))
    done = subprocess.run(
        [sys.executable, "-m", "export.proofs.whole", *files],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise ParityError(f"diffusers could not paint with the source's networks: {lines[-1]}")


@contextmanager
def one_thread() -> Iterator[None]:
    """torch in a single thread: small networks take several times as long in two, which wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(cases: list[Case], asked: Path, painted: Path, answer: Path) -> list[Pair]:
    """The two sides' pictures of ``cases``, from the three files. Raises ParityError when one side reads words as
    other tokens or paints another size."""
    pairs = []
    with np.load(asked) as given, np.load(painted) as ours, np.load(answer) as theirs:
        for index, case in enumerate(cases):
            ids = ours[f"ids_{index}"], theirs[f"ids_{index}"]
            if not np.array_equal(*ids):
                raise ParityError(f"restyle reads {case.words} as other tokens than diffusers does")
            pixels = ours[f"pixels_{index}"].astype(np.float64), theirs[f"pixels_{index}"]
            if pixels[0].shape != pixels[1].shape:
                raise ParityError(f"restyle's picture is {pixels[0].shape}, diffusers' {pixels[1].shape}")
            # What is no number differs by more than any number.
            apart = np.nan_to_num(np.abs(pixels[0] - pixels[1]), nan=np.inf)
            row, column, channel = np.unravel_index(apart.argmax(), apart.shape)
            facts = CaseFacts(
                **msgspec.structs.asdict(case),
                difference=float(apart.max()),
                at=(int(row), int(column), int(channel)),
                latents=float(np.abs(ours[f"latents_{index}"] - theirs[f"latents_{index}"]).max()),
                contrast=float(pixels[1].std()),
            )
            start = f"hint_{index}_"
            shown = {name.removeprefix(start): ours[name] for name in ours if name.startswith(start)}
            pairs.append(Pair(facts, given[f"photo_{index}"], shown, *pixels))
    return pairs


def main() -> int:
    """Paint the cases of a job with diffusers."""
    parser = argparse.ArgumentParser(
        prog="python -m export.proofs.whole", description="Paint an export's cases with diffusers."
    )
    for name, meaning in {
        "job": "bundle and cases, JSON",
        "asked": "what restyle was asked for, .npz",
        "painted": "what it painted, .npz",
        "answer": "is written: what diffusers paints, .npz",
    }.items():
        parser.add_argument(name, type=Path, help=meaning)
    given = parser.parse_args()
    job = msgspec.json.decode(given.job.read_bytes(), type=_Job)
    paint_with_diffusers(job.bundle, job.cases, given.asked, given.painted, given.answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
