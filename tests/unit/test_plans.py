"""Plans: what a file of them may say, and the one sentence about what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.__main__ import main
from orchestrator.domain.plans import Plan, PlansError, day_of, load_plans, next_day, next_month, parse_plans
from orchestrator.settings import SettingsError, load_store_settings
from tests.conftest import ROOT

GOOD = """
[default]
requests_per_minute = 60

[premium]
priority = "high"
weight = 2.5
qualities = ["draft", "best"]
styles = ["boho"]
gpu_seconds_per_day = 3600
"""


def test_without_a_file_nothing_is_limited() -> None:
    assert load_plans(None).by_name == {"default": Plan()}


def test_a_file_of_plans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plans.toml"
    file.write_text(GOOD)
    plans = load_plans(file)
    assert plans.of("default").requests_per_minute == 60
    premium = plans.of("premium")
    assert (premium.priority, premium.weight, premium.gpu_seconds_per_day) == ("high", 2.5, 3600.0)
    assert [premium.allows_quality(quality) for quality in ("draft", "standard", None)] == [True, False, True]
    assert [premium.allows_style(style) for style in ("boho", "modern")] == [True, False]
    own = parse_plans('[own]\nstyles = ["custom", "boho"]', ["boho"]).of("own")
    assert [own.allows_style(style) for style in ("my-boho", "boho", "modern")] == [True, True, False]
    assert plans.of("gone") is plans.of("default"), "a key of a plan that is gone is not without limits"
    assert main(["plans", "check", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "default: requests_per_minute 60"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[free", "this is not TOML: "),
        ("requests_per_minute = 3", "requests_per_minute stands outside of a plan"),
        ("[Free]", "'Free' is no name of a plan"),
        ("[free]\nrequests_per_day = 3", "free: Object contains unknown field `requests_per_day`"),
        ("[free]\nrequests_per_minute = 0", "free.requests_per_minute: Expected `int` >= 1"),
        ('[free]\nqualities = ["superb"]', "free.qualities["),
        ('[free]\nstyles = ["rococo"]', "free.styles: there is no style 'rococo', only "),
        ("[free]\ncustom_styles = 51", "free.custom_styles: Expected `int` <= 50"),
        ("[free]\nwaiting_jobs = 3\nconcurrent_jobs = 2", "free.waiting_jobs is more than concurrent_jobs"),
    ],
)
def test_a_wrong_file_gets_one_sentence(
    text: str,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(PlansError) as refused:
        parse_plans(text)
    assert str(refused.value).startswith(sentence)
    file = tmp_path / "plans.toml"
    file.write_text(text)
    assert main(["plans", "check", str(file)]) == 1
    assert capsys.readouterr().err.startswith(f"{file}: {sentence}")
    monkeypatch.setenv("REROOM_KEY_PLANS", str(file))
    with pytest.raises(SettingsError, match="REROOM_KEY_PLANS: ") as refused_start:
        load_store_settings()
    assert sentence in str(refused_start.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(PlansError, match=r"^nowhere\.toml cannot be read: No such file or directory$"):
        load_plans(Path("nowhere.toml"))


def test_days_and_months_are_those_of_utc() -> None:
    late = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert day_of(late) == "2026-12-31"
    assert day_of(next_day(late)) == day_of(next_month(late)) == "2027-01-01"
    assert day_of(next_month(datetime(2026, 1, 31, tzinfo=UTC).timestamp())) == "2026-02-01"
    assert next_day(late) == next_month(late) == late + 1


def test_the_containers_example_is_a_file_of_plans() -> None:
    plans = load_plans(ROOT / "docker" / "plans" / "example.toml")
    assert set(plans.by_name) == {"default", "free", "premium"}
