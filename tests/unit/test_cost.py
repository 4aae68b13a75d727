"""What jobs cost: calculated, and by a profile."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from orchestrator.domain.cost import Kind, Profile, WorkTable
from restyle.pictures.images import fit_photo
from restyle.release import PROFILE, load_release_of
from restyle.work import work_of
from tests.conftest import RELEASE
from tests.support.releases import read_document, write_document

SD = WorkTable(
    buckets=[(512, 512), (384, 768), (768, 384)],
    side=512,
    kinds={
        "best": Kind(steps=20, run=20, guided=20),
        "standard": Kind(steps=10, run=10, guided=7),
        "draft": Kind(steps=4, run=4, guided=0, denoiser="denoiser_few_step", decoder="tiny_decoder"),
    },
    quality="best",
    max_batch=4,
)


def profile(**changes: list[float]) -> Profile:
    """Of one bucket, 512x512; names have _ for a space."""
    found = {"vae_decoder": [1.0, 2.0, 4.0], "tiny_decoder": [0.1, 0.2, 0.4], "perception": [0.5]}
    for name in ("denoiser", "denoiser_few_step"):
        found |= {f"{name} guided": [2.0, 2.6, 3.8], f"{name} plain": [1.2, 1.5, 2.1]}
    found |= {name.replace("_", " "): times for name, times in changes.items()}
    return Profile(batches=[1, 2, 4], seconds={name: {"512x512": times} for name, times in found.items()})


def cost(table: WorkTable, quality: str, **asked: float) -> float:
    return table.work(512, 512, quality=quality, **asked).cost  # type: ignore[arg-type]


def test_a_default_picture_costs_one_and_others_by_their_halves() -> None:
    assert SD.work(1024, 1024).cost == pytest.approx(1.0)
    whole = 40 + 1.8 + 0.8
    assert cost(SD, "standard") == pytest.approx((17 + 1.8 + 0.8) / whole)
    assert cost(SD, "draft") == pytest.approx((4 + 0.1 + 0.8) / whole)
    assert SD.work(1024, 1024, quality="unheard of").cost == pytest.approx(1.0), "as restyle takes it"


def test_pixels_are_those_of_the_photos_bucket() -> None:
    wide = SD.work(300, 600)
    assert SD.bucket(300, 600) == (384, 768)
    assert SD.bucket(3000, 2900) == (512, 512)
    assert wide.cost == pytest.approx(384 * 768 / 512**2)


@pytest.mark.parametrize(
    ("asked", "steps", "halves"),
    [
        ({"steps": 40}, 40, 80),
        ({"strength": 0.5}, 10, 20),
        ({"max_strength": 0.65}, 13, 26),
        ({"strength": 0.9, "max_strength": 0.1}, 18, 36),
        ({"strength": 0.01}, 1, 2),
        ({"guidance_scale": 1.0}, 20, 20),
        ({"guidance_scale": 9.0}, 20, 40),
    ],
)
def test_what_a_user_sets_counts(asked: dict[str, float], steps: int, halves: float) -> None:
    work = SD.work(512, 512, quality="best", **asked)  # type: ignore[arg-type]
    assert work.steps == steps
    assert work.steps * work.step * SD.unit == pytest.approx(halves)


def test_guidance_of_a_kind_without_one_doubles_it_and_an_interval_stays() -> None:
    plain, guided = (SD.work(512, 512, quality="draft", guidance_scale=scale) for scale in (1.0, 5.0))
    assert guided.step == pytest.approx(2 * plain.step)
    assert SD.work(512, 512, quality="standard", guidance_scale=5.0) == SD.work(512, 512, quality="standard")


def test_a_profile_takes_the_place_of_what_is_calculated() -> None:
    table = msgspec.structs.replace(SD, profile=profile())
    assert table.unit == pytest.approx(20 * 2.0 + 1.0 + 0.5)
    assert cost(table, "standard") == pytest.approx((7 * 2.0 + 3 * 1.2 + 1.5) / table.unit)
    work = table.work(512, 512, quality="best")
    assert work.shared == pytest.approx(1 - (3.8 - 2.0) / 3 / 2.0), "three more cost 1.8 of 3 × 2.0"
    assert (work.shape, work.most) == ("denoiser 512x512", 4)
    assert table.work(300, 600).step / work.step == pytest.approx(384 * 768 / 512**2)


@pytest.mark.parametrize(
    "wrong",
    [
        msgspec.structs.replace(profile(), seconds={}),
        msgspec.structs.replace(profile(), batches=[2, 4]),
        profile(denoiser_plain=[]),
        profile(perception=[0.0]),
    ],
)
def test_a_profile_that_lacks_something_is_not_used(wrong: Profile) -> None:
    table = msgspec.structs.replace(SD, profile=wrong)
    assert table.work(512, 512) == SD.work(512, 512)


def test_without_a_profile_nothing_is_said_to_be_saved_by_batches() -> None:
    assert SD.work(512, 512).shared == 0.0


def test_restyle_tells_its_kinds() -> None:
    release = load_release_of(RELEASE)
    told = work_of(release)
    table = msgspec.convert(told, WorkTable)
    assert {name: (kind.run, kind.guided) for name, kind in table.kinds.items()} == {
        "best": (8, 8),
        "standard": (5, 3),
        "draft": (4, 0),
    }
    assert (table.kinds["draft"].denoiser, table.kinds["draft"].decoder) == (
        "denoiser_few_step",
        "tiny_decoder",
    )
    assert (table.quality, table.side, table.max_batch, table.profile) == ("best", 128, 8, None)
    for size in ((100, 150), (640, 480), (300, 900), (128, 128)):
        assert table.bucket(*size) == fit_photo(*size, release.buckets).bucket
    usual = dataclasses.replace(release.defaults, quality=None)
    one_kind = dataclasses.replace(release, tiers={}, defaults=usual)
    plain = msgspec.convert(work_of(one_kind), WorkTable)
    assert list(plain.kinds) == [""]
    assert plain.work(128, 128).steps == 8


def test_a_profile_beside_the_release_is_told(tmp_path: Path) -> None:
    folder = write_document(tmp_path, read_document(RELEASE))
    file = folder / "versions" / "1" / PROFILE
    file.write_bytes(msgspec.json.encode(profile()))
    table = msgspec.convert(work_of(load_release_of(folder)), WorkTable)
    assert table.profile == profile()
    file.write_text("{")
    with pytest.raises(ValueError, match=r"cannot read .*profile\.json .*: remove it, or measure again"):
        load_release_of(folder)
