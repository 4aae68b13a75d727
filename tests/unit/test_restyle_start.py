"""Releases whose networks start from the photo: what `restyle` makes of a request that leaves the start to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restyle.release import Release, load_release
from restyle.request import InvalidRequest, Request, parse_request
from restyle.solver import DISTILLED, MAX_STEPS, SPACINGS
from tests.conftest import RELEASE
from tests.support.pictures import room
from tests.support.releases import read_document, write_document

PHOTO = room(96, 120)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    tiny = load_release()
    defaults = replace(tiny.defaults, steps=5, strength=0.2, start_noise=0.0)
    return replace(tiny, spacing="trailing", solvers=("ddim", "dpmpp_2m"), defaults=defaults)


def parse(release: Release, **values: Any) -> Request:
    arrays = {name: np.array([value]) for name, value in values.items()}
    return parse_request({"image": PHOTO, "prompt": ("a room",), **arrays}, release)


def test_silence_means_the_releases_own_start(release: Release) -> None:
    request = parse(release)
    assert (request.steps, request.strength) == (5, 0.2)
    table = release.table(request.solver, request.steps, request.strength)
    assert table.timesteps.tolist() == [199]
    assert table.start == pytest.approx((np.sqrt(release.alphas[199]), 0.0))


@pytest.mark.parametrize("solver", list(SPACINGS["trailing"]))
def test_any_number_of_steps_begins_where_the_networks_were_trained(release: Release, solver: str) -> None:
    for steps in range(1, MAX_STEPS + 1):
        request = parse(release, steps=steps)
        timesteps = release.table(solver, request.steps, request.strength).timesteps
        assert timesteps[0] == 199
        assert len(timesteps) == max(1, steps // 5)


def test_a_strength_that_is_asked_for_is_taken_as_it_is(release: Release) -> None:
    request = parse(release, steps=8, strength=np.float32(0.2))
    assert request.steps == 8
    assert len(release.table(request.solver, request.steps, request.strength)) == 1


@pytest.mark.parametrize("steps", [0, 101, 10_000, -5])
def test_steps_out_of_range_are_refused_as_they_were_asked_for(release: Release, steps: int) -> None:
    with pytest.raises(InvalidRequest, match=f"^steps must be 1 to 100, not {steps}$"):
        parse(release, steps=steps)


def test_an_upper_bound_never_raises_the_strength(release: Release) -> None:
    assert parse(release, max_strength=0.65).strength == 0.2
    assert parse(release, max_strength=0.1, steps=20).strength == pytest.approx(0.1)
    assert parse(release, max_strength=0.1, strength=0.8).strength == pytest.approx(0.8)
    from_noise = replace(release, defaults=replace(release.defaults, strength=1.0))
    request = parse(from_noise, max_strength=0.65, steps=3)
    assert request.strength == pytest.approx(0.65)
    assert request.steps == 3


@pytest.mark.parametrize("limit", [0.0, -1.0, 1.01, float("nan")])
def test_an_upper_bound_is_a_strength(release: Release, limit: float) -> None:
    with pytest.raises(InvalidRequest, match=r"^max_strength must be above 0 and at most 1, not "):
        parse(release, max_strength=limit)


def test_solvers_that_begin_elsewhere_are_refused(release: Release) -> None:
    with pytest.raises(InvalidRequest, match=r"^solver must be one of ddim, dpmpp_2m, not 'euler'$"):
        parse_request({"image": PHOTO, "prompt": (), "solver": ("euler",)}, release)


Change = Callable[[dict[str, Any]], None]


def written(folder: Path, change: Change) -> Path:
    """A folder with tiny's release.json, changed."""
    document = read_document(RELEASE)
    change(document)
    return write_document(folder, document)


def test_a_release_that_says_nothing_starts_from_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_document(RELEASE)["defaults"].keys() == {
        "solver", "steps", "guidance_scale", "control_scale",
    }  # fmt: skip
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    tiny = load_release()
    assert (tiny.defaults.strength, tiny.defaults.start_noise, tiny.spacing) == (1.0, 1.0, "diffusers")
    everyones = tuple(name for name in SPACINGS["diffusers"] if name not in DISTILLED)
    assert (tiny.solvers, tiny.palettes) == (everyones, ())
    request = parse(tiny)
    assert (request.strength, request.steps) == (1.0, tiny.defaults.steps)


def test_a_release_says_how_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(document: dict[str, Any]) -> None:
        document["defaults"] |= {"steps": 5, "strength": 0.2, "start_noise": 0.0}
        document["schedule"]["spacing"] = "trailing"
        document["palettes"] = [["sage green"], []]

    monkeypatch.setenv("REROOM_RELEASE", str(written(tmp_path, change)))
    read = load_release()
    assert (read.defaults.strength, read.defaults.start_noise, read.spacing) == (0.2, 0.0, "trailing")
    assert read.solvers == ("ddim", "euler", "dpmpp_2m"), "all that the spacing has"
    assert read.palettes == (("sage green",), ())


@pytest.mark.parametrize("spacing", ["leading", 1, None])
def test_a_spacing_that_restyle_does_not_know_is_refused(
    spacing: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(document: dict[str, Any]) -> None:
        document["schedule"]["spacing"] = spacing

    monkeypatch.setenv("REROOM_RELEASE", str(written(tmp_path, change)))
    with pytest.raises(ValueError, match=r"schedule\.spacing is .*, not one of diffusers, trailing"):
        load_release()


def test_a_style_may_have_a_denoiser_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_styles(variant: str) -> Change:
        def change(document: dict[str, Any]) -> None:
            document["styles"] = {"japandi": variant}

        return change

    monkeypatch.setenv("REROOM_RELEASE", str(written(tmp_path, with_styles("few_step"))))
    read = load_release()
    assert parse(read, style="japandi").tier == replace(read.defaults, variant="few_step")
    assert parse(read, style="japandi").tier.denoiser == "denoiser_few_step"
    for other in ({}, {"style": "modern"}, {"style": ""}):
        assert parse(read, **other).tier == read.defaults
    draft = replace(read.tiers["draft"], variant="of_its_own")
    assert read.in_style(draft, "japandi") is draft, "a tier's own denoiser goes before the style's"
    monkeypatch.setenv("REROOM_RELEASE", str(written(tmp_path / "wrong", with_styles("slow"))))
    with pytest.raises(ValueError, match=r"styles\.japandi is 'denoiser_slow', not one of"):
        load_release()
