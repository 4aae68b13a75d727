"""How often the sequential test of a trial errs, counted on made-up pictures: never those by which its margins and its
burn-in were chosen (seed 1 of the same shapes; docs/canary.md), but others."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.domain import judging
from orchestrator.domain.comparing import (
    FAILED,
    KINDS,
    OPTIONAL,
    OUTAGES,
    Measured,
    arm_sums,
    measurable,
    pair_sums,
    tried_sums,
)
from orchestrator.domain.judging import (
    BURN_IN,
    FALSE_ROLLBACK,
    LEAST_PAIRS,
    LEAST_UNITS,
    LIMITS,
    MARGINS,
    MISSED,
    MOST_PAIRS,
    PRIOR_PAIRS,
    TESTS,
    half_width,
    judge,
    log_evidence_above,
    log_evidence_below,
)

Floats = NDArray[np.float64]
RUNS, PAIRS = 600, 400


def shapes(random: np.random.Generator) -> dict[str, Callable[[tuple[int, int]], Floats]]:
    """Differences of mean 0 and standard deviation 1, of shapes that are ever worse to judge."""

    def mostly_none(size: tuple[int, int]) -> Floats:
        return np.where(random.random(size) < 0.1, random.normal(0, math.sqrt(10), size), 0.0)

    return {
        "normal": lambda size: random.normal(0, 1, size),
        "heavy tails": lambda size: random.standard_t(3, size) / math.sqrt(3),
        "mostly none": mostly_none,
        "few large losses": lambda size: 1 - random.exponential(1, size),
        "few large gains": lambda size: random.exponential(1, size) - 1,
    }


def looked_at(differences: Floats, name: str) -> tuple[float, float]:
    """The shares of trials (rows) that this measure alone rolls back, and promotes, looking after each pair."""
    margin, alpha = MARGINS[name], FALSE_ROLLBACK / TESTS
    n = np.arange(1, differences.shape[1] + 1)
    mean = np.cumsum(differences, 1) / n
    squares = np.maximum(0, np.cumsum(differences**2, 1) - n * mean**2)
    spread = np.sqrt((squares + PRIOR_PAIRS * margin.spread**2) / (n + PRIOR_PAIRS))
    widths = {each: np.array([half_width(int(k), 1.0, each) for k in n]) for each in (alpha, MISSED)}
    fine = (mean - widths[MISSED] * spread > -margin.loss) & (n >= LEAST_PAIRS)
    worse = (
        (mean + widths[alpha] * spread < 0)
        & ~(mean - widths[MISSED] * spread > -margin.loss)
        & (n >= BURN_IN)
    )

    def first(found: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.where(found.any(1), found.argmax(1), len(n))

    return float((first(worse) < first(fine)).mean()), float((first(fine) < first(worse)).mean())


@pytest.mark.parametrize("times", [1.0, 2.5])
def test_errors_of_the_means(times: float) -> None:
    """At the assumed spread and at two and a half times it."""
    random = np.random.default_rng(20261127)
    for shape, draw in shapes(random).items():
        for name in ("score", "lines"):
            margin = MARGINS[name]
            noise = draw((RUNS, PAIRS)) * margin.spread * times
            false, _ = looked_at(noise, name)
            _, missed = looked_at(noise - margin.loss, name)
            _, gross = looked_at(noise - 2 * margin.loss, name)
            # Of one of the tests; each may err with 0.3 %, but few large gains hide behind many small losses.
            assert false <= (FALSE_ROLLBACK if shape == "few large gains" else 0.01), (shape, name, false)
            assert missed <= (0.06 if shape == "few large losses" else 0.03), (shape, name, missed)
            assert gross <= 0.002, (shape, name, gross)


@pytest.mark.parametrize("flicker", [0.01, 0.05, 0.15])
def test_errors_of_what_can_be_measured(flicker: float) -> None:
    """A detector that was trained again sees windows in ``flicker`` of the photos where the live one sees none, and
    none in as many where that sees some."""
    random, name = np.random.default_rng(20261127), measurable("openings")

    def ends(lost: float) -> tuple[float, float]:
        either = [lost, flicker, 1 - lost - flicker]
        return looked_at(random.choice([-1.0, 1.0, 0.0], (RUNS, PAIRS), p=either), name)

    # Few pictures lose much, as in that shape of the means.
    assert ends(flicker)[0] <= 0.01
    assert ends(flicker + MARGINS[name].loss)[1] <= 0.06
    assert ends(flicker + 2 * MARGINS[name].loss)[1] <= 0.002


def test_errors_of_the_rates() -> None:
    limit, random = LIMITS[FAILED], np.random.default_rng(20261127)
    known: dict[tuple[int, int], str] = {}

    def verdict(k: int, n: int) -> str:
        if (k, n) not in known:
            above = log_evidence_above(limit.tolerated, k, n) >= math.log(TESTS / FALSE_ROLLBACK)
            below = log_evidence_below(limit.limit, k, n) >= -math.log(MISSED)
            known[k, n] = "worse" if above and k >= judging.LEAST_EVENTS else "fine" if below else ""
        return known[k, n]

    def ends(rate: float) -> dict[str, float]:
        found = {"worse": 0, "fine": 0, "": 0}
        for events in np.cumsum(random.random((RUNS, PAIRS)) < rate, 1):
            looks = (verdict(int(k), n) for n, k in enumerate(events, 1))
            found[next((each for each in looks if each), "")] += 1
        return {name: number / RUNS for name, number in found.items()}

    assert ends(0.0)["fine"] == 1.0
    assert ends(limit.tolerated)["worse"] <= 2 * FALSE_ROLLBACK / TESTS
    assert ends(limit.limit)["fine"] <= 1.5 * MISSED
    assert ends(5 * limit.limit)["worse"] == 1.0


def test_one_outage_is_no_loss_of_the_release() -> None:
    """It counts once, however many pictures it cut off; for a promotion each of them counts."""

    def found(outages: int, cut_off: int, made: int) -> str:
        sums = Made(1)
        for _ in range(made):
            sums.add()
        for failure in range(cut_off):
            sums.note(tried_sums("unavailable") | ({OUTAGES: 1.0} if failure < outages else {}))
        return judge(sums.sums, 0).decision

    assert found(outages=2, cut_off=60, made=0) == "running"
    assert found(outages=3, cut_off=3, made=0) == "roll_back"
    assert found(outages=3, cut_off=30, made=4) == "roll_back"
    assert found(outages=1, cut_off=8, made=120) == "running"
    assert found(outages=1, cut_off=8, made=400) == "promote"


class Made:
    """Sums of made-up pairs of a whole trial."""

    def __init__(self, seed: int) -> None:
        self.random, self.sums = np.random.default_rng(seed), dict[str, float]()

    def add(self, **losses: float) -> None:
        """A pair whose differences are of the assumed spread, around these losses."""
        names = ("score", "changed", *KINDS)
        before = {name: 0.9 for name in names}
        after = {
            name: 0.9 + self.random.normal(0, MARGINS[name].spread * 0.7) - losses.get(name, 0.0)
            for name in names
        }
        slower = math.exp(self.random.normal(0, 0.1) + losses.get("speed", 0.0))
        live = Measured(values=before, seconds=2.0)
        failed = self.random.random() < losses.get("failed", 0.0)
        other = Measured(failure="model_error") if failed else Measured(values=after, seconds=2.0 * slower)
        self.note(pair_sums(live, other) | tried_sums(other.failure))

    def note(self, sums: dict[str, float]) -> None:
        for name, amount in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + amount


def whole_trial(seed: int, **losses: float) -> tuple[str, int]:
    made = Made(seed)
    for pair in range(1, MOST_PAIRS + 1):
        made.add(**losses)
        if (decision := judge(made.sums, 0).decision) != "running":
            return decision, pair
    raise AssertionError("it is told at the end")


def test_whole_trials_come_to_their_ends() -> None:
    """All tests together: a good release is promoted, one with a fault of twice the margin is rolled back."""
    good = [whole_trial(seed) for seed in range(30)]
    assert sum(decision == "promote" for decision, _ in good) >= 29, good
    assert max(pairs for _, pairs in good) <= 400
    for fault in (
        {"score": 0.03},
        {"lines": 0.05},
        {"changed": 0.06},
        {"speed": math.log(1.44)},
        {"failed": 0.3},
    ):
        ends = [whole_trial(seed, **fault) for seed in range(100, 105)]
        assert {decision for decision, _ in ends} == {"roll_back"}, fault
        assert max(pairs for _, pairs in ends) <= 120, (fault, ends)


def without(names: set[str]) -> dict[str, float]:
    return {name: 0.9 for name in ("score", "changed", *KINDS) if name not in names}


@pytest.mark.parametrize("kind", OPTIONAL)
def test_a_kind_that_only_the_canary_lacks(kind: str) -> None:
    """In every second photo the live one sees what the other never does."""
    made = Made(1)
    for pair in range(BURN_IN):
        live = Measured(values=without({kind} if pair % 2 else set()), seconds=2.0)
        made.note(pair_sums(live, Measured(values=without({kind}), seconds=2.0)) | tried_sums(None))
    found = judge(made.sums, 0)
    assert found.decision == "roll_back"
    assert found.reason.endswith("to compare: -0.500 in 40 pairs.")


def test_a_kind_that_both_lack_is_no_loss() -> None:
    made = Made(1)
    for pair in range(100):
        both = Measured(values=without(set(OPTIONAL) if pair % 2 else set()), seconds=2.0)
        made.note(pair_sums(both, both) | tried_sums(None))
    assert judge(made.sums, 0).decision == "promote"


@pytest.mark.parametrize("name", ["score", "lines", "changed"])
def test_a_picture_that_lacks_what_is_measured_of_every_picture_is_ruined(name: str) -> None:
    made = Made(1)
    for _ in range(3):
        live, other = (Measured(values=without(lacks), seconds=2.0) for lacks in (set[str](), {name}))
        made.note(pair_sums(live, other) | tried_sums(None))
    assert judge(made.sums, 0).reason == "It is worse: ruined pictures: 100 % of 3."


def test_the_reason_names_what_is_worse() -> None:
    made = Made(1)
    for _ in range(60):
        made.add(speed=math.log(2))
    reason = judge(made.sums, 0).reason
    assert reason.startswith("It is worse: speed: ")
    assert "% more time in 60 pairs" in reason
    failing = Made(2)
    for _ in range(3):
        failing.note(tried_sums("model_error"))
    found = judge(failing.sums, 0)
    assert (found.decision, found.reason) == ("roll_back", "It is worse: failures: 100 % of 3 (model_error).")


def test_a_budget_takes_the_place_of_the_live_speed() -> None:
    made = Made(1)
    for _ in range(10):
        live, other = (
            Measured(values={"score": 0.9}, seconds=1.0),
            Measured(values={"score": 0.9}, seconds=3.0),
        )
        made.note(pair_sums(live, other, budget=4.0) | tried_sums(None))
    findings = {each.name: each for each in judge(made.sums, 0).findings}
    assert "speed" not in findings
    assert (findings["over_budget"].n, findings["over_budget"].value) == (10, 0.0)
    for _ in range(10):
        made.note(pair_sums(live, other, budget=2.0) | tried_sums(None))
    found = judge(made.sums, 0)
    assert (found.decision, "latency budget" in found.reason) == ("roll_back", True)


def test_groups_only_roll_back_for_more_than_the_margin() -> None:
    def of_groups(loss: float, units: int) -> str:
        made, random = Made(1), np.random.default_rng(5)
        for _ in range(300):
            for arm, less in (("live", 0.0), ("canary", loss)):
                for tier, level in (("draft", 0.6), ("best", 0.9)):
                    values = {"score": float(random.normal(level - less, 0.05))}
                    made.note(
                        arm_sums("live" if arm == "live" else "canary", Measured(tier=tier, values=values))
                    )
        return judge(made.sums, units).decision

    assert of_groups(0.0, LEAST_UNITS) == "running"
    assert of_groups(0.01, LEAST_UNITS) == "running"
    assert of_groups(0.08, LEAST_UNITS) == "roll_back"
    assert of_groups(0.08, LEAST_UNITS - 1) == "running"


def test_intervals_hold_the_truth() -> None:
    for k, n in ((0, 10), (1, 100), (7, 70), (50, 50), (500, 1000)):
        low, high = judging._lowest(k, n), judging._highest(k, n)
        assert 0 <= low <= k / n <= high <= 1
        if k > 1:
            assert log_evidence_above(low * 0.99, k, n) >= math.log(TESTS / FALSE_ROLLBACK)
        if k < n:
            assert log_evidence_below(min(1.01 * high, 0.999999), k, n) >= -math.log(MISSED) - 1e-6
