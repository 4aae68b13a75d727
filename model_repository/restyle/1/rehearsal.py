"""Whether `restyle` can run a release: checks its settings and paints one picture, without a server.

    python model_repository/restyle/1/rehearsal.py RELEASE [--settings] [--paint CASES.npz PAINTED.npz]

The exporter calls it before it publishes. Its status is 0, or 1 with one sentence that says what does not work.
RELEASE is laid out like a published release; with --settings its graphs may be missing.

With --paint it also paints given cases, whose pictures the exporter compares with those of another program. For each
case i CASES.npz holds ``photo_i`` UINT8 [H,W,3] and ``request_i``, a JSON object: more inputs of `restyle` by name,
each a list. Where there is ``noise_i`` FP32 [C,h,w] it is started from, in place of the seed's, and the photo has the
sides of a bucket. PAINTED.npz gets ``pixels_i`` FP32 [H,W,3], 0..255 before rounding, ``latents_i`` FP32 [1,C,h,w]
that were decoded, ``hint_i_NAME`` UINT8 [H,W] or [H,W,3] that the ControlNets were shown, and ``ids_i`` INT64
[rows,77] that the text encoder got.
"""

import argparse
import asyncio
import importlib.util
import itertools
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restyle.events import Result
from restyle.models import ModelFailed
from restyle.pipeline import Restyler
from restyle.prompt import Prompts
from restyle.release import Defaults, Release, load_release
from restyle.request import MAX_GUIDANCE, InvalidRequest, Values, parse_request
from restyle.solver import GRIDDED, LCM_STEPS, MAX_STEPS, SPACINGS

STEPS = 2
"""The steps that are run, from the release's usual start: enough for every graph to get the outputs of another."""

GUIDANCE = 2.0
"""Above 1, so that the text encoder gets two prompts at once and the denoiser two rows of text."""


class Unfit(Exception):
    """The release does not work; the message is one sentence."""


KEPT_BYTES = 1_000_000_000
"""Of graphs' files that may be loaded at a time, but for one that is larger: ONNX Runtime holds weights up to twice."""


class Graphs:
    """The models of a release in ONNX Runtime, each loaded when it is called, and `edges`.

    Small graphs stay loaded; those of a large release, which would not fit into memory together, make room for each
    other.
    """

    def __init__(self, folder: Path, release: Release) -> None:
        self._folder, self._release = folder / "models", release
        self._sessions: dict[str, tuple[Any, int]] = {}
        """By model, the first loaded first; with the bytes of its files."""
        self._drawn = {"edges": _load("canny").canny, "lines": _load("lines").straight_lines}

    async def __call__(self, model: str, outputs: tuple[str, ...], **tensors: np.ndarray) -> list[np.ndarray]:
        """Run ``model``; returns ``outputs`` in that order. Raises ModelFailed."""
        if model == "edges":
            return [self._drawn[output](tensors["image"]) for output in outputs]
        try:
            found: list[np.ndarray] = self._session(model).run(list(outputs), tensors)
            return found
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelFailed(f"{model}: {error}") from error

    def _session(self, model: str) -> Any:
        import onnxruntime  # late: settings are checked without it

        if model not in self._sessions:
            name, version = self._release.model(model)
            folder = self._folder / name / str(version)
            size = sum(file.stat().st_size for file in folder.iterdir())
            while self._sessions and size + sum(kept for _, kept in self._sessions.values()) > KEPT_BYTES:
                del self._sessions[next(iter(self._sessions))]
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3  # errors only
            # Stable Diffusion's denoiser kept 3 GB more for every shape that it was run with, over 22 GB in all; so it
            # takes 9.5 at most.
            options.enable_cpu_mem_arena = options.enable_mem_pattern = False
            session = onnxruntime.InferenceSession(
                folder / "model.onnx", options, providers=["CPUExecutionProvider"]
            )
            self._sessions[model] = session, size
        return self._sessions[model][0]


class Watched:
    """Graphs, and what they were last given."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self.given: dict[str, dict[str, np.ndarray]] = {}

    async def __call__(self, model: str, outputs: tuple[str, ...], **tensors: np.ndarray) -> list[np.ndarray]:
        """As of Graphs."""
        self.given[model] = tensors
        return await self._graphs(model, outputs, **tensors)


def _load(module_of_edges: str) -> Any:
    file = Path(__file__).parents[2] / "edges" / "1" / f"{module_of_edges}.py"
    spec = importlib.util.spec_from_file_location(module_of_edges, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_settings(release: Release) -> None:
    """Check that the release's numbers serve a request of every quality without options, and every solver. Raises
    Unfit."""
    _check_solvers(release)
    for quality, tier in _tiers(release):
        _check_tier(release, quality, tier)
    for palette in release.palettes:
        try:
            parse_request(_request(release) | {"palette": palette}, release)
        except InvalidRequest as error:
            raise Unfit(f"palettes: {error}") from error
    rows = len(release.preview_matrix), release.latent_channels + 1
    if release.preview_matrix.shape[1:] != (3,) or rows[0] != rows[1]:
        given = "×".join(map(str, release.preview_matrix.shape))
        raise Unfit(f"preview_matrix must be {rows[1]}×3 for {rows[1] - 1} latent channels, not {given}")
    if not np.isfinite(release.preview_matrix).all():
        raise Unfit("preview_matrix has values that are not finite numbers")


def _tiers(release: Release) -> list[tuple[str | None, Defaults]]:
    """The tiers by their quality, which is None where the release has none."""
    return list(release.tiers.items()) or [(None, release.defaults)]


def _check_solvers(release: Release) -> None:
    known = SPACINGS[release.spacing]
    if not release.solvers:
        raise Unfit("solvers is empty: leave it out for all")
    for solver in release.solvers:
        if solver not in known:
            raise Unfit(
                f"solvers: with the spacing {release.spacing!r} there are {', '.join(known)}, not {solver!r}"
            )


def _check_tier(release: Release, quality: str | None, tier: Defaults) -> None:
    # What the usual tier leaves out is in the defaults, and most often that is all.
    where = "defaults" if quality == release.defaults.quality else f"tiers.{quality}"
    asked = {"quality": (quality,)} if quality else {}
    try:
        steps = parse_request(_request(release) | asked, release).steps
    except InvalidRequest as error:
        raise Unfit(f"{where}: {error}") from error
    if not 0.0 <= tier.start_noise <= 1.0:
        raise Unfit(f"{where}: start_noise must be 0 to 1, not {tier.start_noise:g}")
    if steps != tier.steps:
        raise Unfit(
            f"{where}: strength {tier.strength:g} of {tier.steps} steps is no whole number, and would be "
            f"run of {steps}: write so"
        )
    low, high = tier.guidance_interval
    if not 0.0 <= low < high:
        raise Unfit(
            f"{where}: guidance_interval must be two noise levels, the lower first, not {low:g} and {high:g}"
        )
    trained = len(release.alphas)
    falling = all(after < before for before, after in itertools.pairwise((trained, *tier.grid)))
    if not falling or (tier.grid and tier.grid[-1] < 0):
        raise Unfit(f"{where}: grid must be timesteps that fall, of {trained - 1} … 0")
    if tier.grid and tier.solver not in GRIDDED:
        raise Unfit(f"{where}: {tier.solver} cannot be given a grid; those that can: {', '.join(GRIDDED)}")
    spacing = tier.spacing or release.spacing
    if tier.solver not in SPACINGS.get(spacing, ()):
        raise Unfit(f"{where}: there is no {tier.solver} with the spacing {spacing!r}")
    for graph in (tier.denoiser, tier.decoder):
        if release.versions and graph not in release.versions:
            raise Unfit(f"{where}: the release has no graph {graph}")
    _check_tables(release, where, tier)


def _check_tables(release: Release, where: str, tier: Defaults) -> None:
    spacing = tier.spacing or release.spacing
    solvers = {tier.solver, *release.solvers} & SPACINGS[spacing].keys()
    for solver, strength in itertools.product(sorted(solvers), {1.0, tier.strength}):
        for steps in {1, tier.steps, LCM_STEPS if solver == "lcm" else MAX_STEPS}:
            with np.errstate(all="ignore"):
                try:
                    table = release.table(solver, steps, strength, tier)
                    finite = bool(np.isfinite(table.rows).all())
                except (ArithmeticError, IndexError, ValueError):
                    finite = False
            if not finite:
                raise Unfit(
                    f"schedule: {solver} with {steps} steps has no finite table on it ({where}); train_steps must be "
                    f"more than {MAX_STEPS}, and the betas between 0 and 1"
                )


async def paint(release: Release, models: Graphs) -> None:
    """Paint one picture of every quality, with a part of the photo kept so that every graph is called. Raises Unfit."""
    for quality, tier in _tiers(release):
        await _paint(release, models, quality, tier)


async def _paint(release: Release, models: Graphs, quality: str | None, tier: Defaults) -> None:
    request = _request(release)
    height, width, _ = request["image"].shape
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2] = 255
    guidance = min(max(GUIDANCE, tier.guidance_scale), MAX_GUIDANCE)
    request |= {
        "keep_mask": mask,
        "steps": np.array([min(MAX_STEPS, math.ceil(STEPS / tier.strength - 1e-9))]),
        "guidance_scale": np.array([guidance]),
        "preview_every": np.array([1]),
        "seed": np.array([0]),
        **({"quality": (quality,)} if quality else {}),
    }
    try:
        restyler = Restyler(release, Prompts(release.tokenizer, release.frame), models)
        async for event in restyler.restyle(parse_request(request, release)):
            # The lower quarter has no kept pixels.
            if isinstance(event, Result) and np.ptp(event.pixels[3 * height // 4 :], axis=(0, 1)).max() < 1.0:
                raise Unfit("the picture is all of one colour: the networks do not work together")
    except (InvalidRequest, ModelFailed) as error:
        raise Unfit(str(error)) from error


async def paint_cases(release: Release, models: Graphs, cases: Path, painted: Path) -> None:
    """Paint what the file ``cases`` asks for, and write ``painted``. Raises Unfit."""
    made: dict[str, np.ndarray] = {}
    prompts = Prompts(release.tokenizer, release.frame)
    with np.load(cases) as given:
        for index in range(sum(name.startswith("request_") for name in given)):
            values = {
                name: tuple(value) for name, value in json.loads(str(given[f"request_{index}"])).items()
            }
            values |= {"image": given[f"photo_{index}"]}
            if f"noise_{index}" in given:
                values["latents"] = given[f"noise_{index}"]
            watched = Watched(models)
            try:
                request = parse_request(values, release)
                async for event in Restyler(release, prompts, watched).restyle(request):
                    if isinstance(event, Result):
                        made[f"pixels_{index}"] = event.pixels
            except (InvalidRequest, ModelFailed) as error:
                raise Unfit(f"case {index}: {error}") from error
            tier = request.tier
            for name in release.hints:
                made[f"hint_{index}_{name}"] = watched.given[tier.denoiser][name][0]
            made[f"latents_{index}"] = watched.given[tier.decoder]["latents"]
            made[f"ids_{index}"] = watched.given["text_encoder"]["input_ids"]
    np.savez(painted, allow_pickle=False, **made)


def _request(release: Release) -> Values:
    """A photo of the largest bucket, a plain room, and words."""
    height, width = max(release.buckets)
    rows, columns = np.mgrid[:height, :width]
    photo: NDArray[np.uint8] = np.stack(
        [rows * 255 // height, columns * 255 // width, 128 + 64 * (rows > height // 2)], axis=-1
    ).astype(np.uint8)
    return {"image": photo, "prompt": ("a modern living room",), "negative_prompt": ("blurry",)}


def rehearse(folder: Path, settings_only: bool, paint_from_to: tuple[Path, Path] | None = None) -> None:
    """Raises Unfit."""
    os.environ["REROOM_RELEASE"] = str(folder)
    try:
        release = load_release()
        Prompts(release.tokenizer, release.frame)
    except ValueError as error:
        raise Unfit(str(error)) from error
    check_settings(release)
    graphs = Graphs(folder, release)
    if not settings_only:
        asyncio.run(paint(release, graphs))
    if paint_from_to is not None:
        asyncio.run(paint_cases(release, graphs, *paint_from_to))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="rehearsal.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", type=Path)
    parser.add_argument("--settings", action="store_true", help="check these alone")
    parser.add_argument("--paint", type=Path, nargs=2, metavar=("CASES", "PAINTED"), help="also paint cases")
    given = parser.parse_args()
    try:
        rehearse(given.release, given.settings, given.paint)
    except Unfit as error:
        print(*str(error).split(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
