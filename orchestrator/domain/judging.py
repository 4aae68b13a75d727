"""The sequential test of a release on trial. It may look after every picture: its errors are controlled all the same.

*Means* of differences have a confidence sequence, intervals of which all hold at once with probability 1 − α: Robbins'
normal mixture with the variance estimated, one-sided. See Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences" (Annals of Statistics 49, 2021), and Waudby-Smith, Arbour, Sinha,
Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (Annals of Statistics 52,
2024), for the one with an estimated variance that is used here. It holds from some number of pairs on, hence BURN_IN;
tests/unit/test_canary_errors.py counts the errors on numbers of several shapes.

*Rates* of rare events have an e-process: the likelihood under a mixture of all rates above the tolerated one, over that
under the tolerated rate. Under any rate that is tolerated it exceeds 1/α with probability at most α, ever (Ville); see
Ramdas, Grünwald, Vovk & Shafer, "Game-theoretic statistics and safe anytime-valid inference" (Statistical Science 38,
2023). The other way round it proves that a rate is below a limit.

*Decisions.* Worse: one of the tests shows a loss, each at FALSE_ROLLBACK divided by their number, so that a release
that loses nothing is rolled back with probability FALSE_ROLLBACK at most. Not worse: each of the tests shows that the
loss is below its margin, at MISSED, so that a release with a real loss, the margin or more, is promoted with
probability MISSED at most. A loss that is real but certainly below the margin does not count as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from orchestrator.domain.comparing import (
    FAILED,
    OPTIONAL,
    OVER_BUDGET,
    PAIRS,
    RUINS,
    THINGS,
    Sums,
    failed_together,
    measurable,
    moments,
    tiers,
)

FALSE_ROLLBACK = 0.05
MISSED = 0.025
BURN_IN = 40
"""Pairs before the first interval."""
LEAST_PAIRS = 80
"""Pairs before a promotion."""
MOST_PAIRS = 1000
"""Pairs after which an operator is told that nothing was decided."""
TUNED_FOR = 100
"""The number of pairs for which the intervals are narrowest."""
PRIOR_PAIRS = 10
"""How many pairs the assumed spread counts for beside the measured one: equal pictures have none to measure."""
OFTEN = 0.2
"""The share of the pairs in which something must have been measured for a promotion to wait for it."""
LEAST_EVENTS = 3
"""Events before a rollback for their rate. An outage counts as one, however many pictures it cut off: it must not look
like a fault of the release."""

Verdict = Literal["worse", "not_worse", "open"]
Decision = Literal["running", "promote", "roll_back", "undecided"]


class Margin(NamedTuple):
    """``loss``: what may be lost in the mean; ``spread``: the assumed standard deviation of a difference."""

    loss: float
    spread: float


# The spreads are about those of slightly different networks on 32 rendered rooms (docs/canary.md); the margins are what
# such spreads let one prove with a hundred pairs or two.
MARGINS = {
    "score": Margin(0.015, 0.02),
    "changed": Margin(0.03, 0.02),
    "openings": Margin(0.05, 0.12),
    "lines": Margin(0.025, 0.03),
    "camera": Margin(0.025, 0.03),
    "planes": Margin(0.025, 0.03),
    "colours": Margin(1.0, 0.5),
    # Not from there: one thing of a photo's six or so.
    THINGS: Margin(1.0, 1.0),
    "speed": Margin(math.log(1.2), 0.15),
    # Half of OFTEN: what a kind loses is compared only in the pictures of both that it could be measured in.
    **{measurable(name): Margin(0.1, 0.2) for name in OPTIONAL},
}


class Limit(NamedTuple):
    """``tolerated``: a rate that is no fault; ``limit``: one that is not promoted."""

    tolerated: float
    limit: float


LIMITS = {FAILED: Limit(0.02, 0.06), RUINS: Limit(0.02, 0.06), OVER_BUDGET: Limit(0.05, 0.15)}
GROUPS = ("score", "changed", "lines", "planes", "speed")
"""What is compared between the groups of users' jobs, for services that are never idle enough for pairs. The keys of
one group may have other rooms than those of the other; so groups only roll back, and only for more than the margin."""
LEAST_UNITS = 10
"""Keys, or jobs without one, without which a group is no sample of anything."""
TESTS = len(MARGINS) + len(LIMITS) + len(GROUPS)
"""How many tests may find a loss."""
_ALPHA = FALSE_ROLLBACK / TESTS

NAMES = {
    "score": "Quality score",
    "changed": "How much was restyled",
    "openings": "Windows and doors",
    "lines": "Straight lines",
    "camera": "Camera",
    "planes": "Floor, walls and ceiling",
    "colours": "Nearness to the wanted colours",
    THINGS: "Things seen in the photo",
    "speed": "Speed",
    measurable("openings"): "Pictures with windows and doors to compare",
    measurable("planes"): "Pictures with floor, walls and ceiling to compare",
    FAILED: "Failures",
    RUINS: "Ruined pictures",
    OVER_BUDGET: "Pictures over the latency budget",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one test says. Values of a mean are gains: below 0 the canary is worse. Those of a rate are shares of the
    pictures. ``low`` and ``high``, where the true value is: absent before there is enough to say so."""

    name: str
    what: Literal["pairs", "groups", "rate"]
    n: int
    value: float
    low: float | None = None
    high: float | None = None
    margin: float
    """The loss, or the rate, from which on it is not promoted."""
    verdict: Verdict
    required: bool
    """Whether a promotion waits for it."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    decision: Decision
    reason: str
    """One sentence."""
    pairs: int
    findings: list[Finding]


def judge(sums: Sums, units: int) -> Judgement:
    """What is known by now; ``units`` is the number of keys, or of jobs without one, that had its pictures. It may be
    asked after every picture."""
    pairs = round(sums.get(PAIRS, 0))
    findings = [
        *(_mean(sums, name, pairs) for name in MARGINS),
        *(_rate(sums, name) for name in LIMITS),
        *(_group(sums, name, units) for name in GROUPS),
    ]
    found = [each for each in findings if each is not None]
    worse = [each for each in found if each.verdict == "worse"]
    waits = [each for each in found if each.required and each.verdict != "not_worse"]
    decision: Decision = "running"
    if worse:
        decision, reason = "roll_back", f"It is worse: {'; '.join(sentence(each, sums) for each in worse)}."
    elif pairs >= LEAST_PAIRS and not waits:
        decision, reason = "promote", f"It is not worse: {pairs} pairs show no loss beyond the margins."
    elif pairs >= MOST_PAIRS:
        names = ", ".join(NAMES[each.name].lower() for each in waits)
        decision, reason = "undecided", f"{pairs} pairs did not decide about: {names}. Decide by the report."
    else:
        reason = f"{pairs} pairs are not enough yet."
    return Judgement(decision=decision, reason=reason, pairs=pairs, findings=found)


def sentence(finding: Finding, sums: Sums) -> str:
    """A loss in words."""
    name = NAMES[finding.name].lower()
    if finding.what == "rate":
        codes = sorted(key.removeprefix("code:") for key in sums if key.startswith("code:"))
        by = f" ({', '.join(codes)})" if finding.name == FAILED and codes else ""
        return f"{name}: {100 * finding.value:.0f} % of {finding.n}{by}"
    where = f"{finding.n} pairs" if finding.what == "pairs" else f"{finding.n} jobs of users"
    if finding.name == "speed":
        return f"{name}: {100 * (math.exp(-finding.value) - 1):.0f} % more time in {where}"
    return f"{name}: {finding.value:+.3f} in {where}"


def _mean(sums: Sums, name: str, pairs: int) -> Finding | None:
    found, margin = moments(sums, f"pair:{name}"), MARGINS[name]
    if found.n == 0:
        return None
    low = high = None
    verdict: Verdict = "open"
    if found.n >= BURN_IN:
        spread = _spread(found.squares, found.n, margin.spread)
        low = found.mean - half_width(found.n, spread, MISSED)
        high = found.mean + half_width(found.n, spread, _ALPHA)
        verdict = "not_worse" if low > -margin.loss else "worse" if high < 0 else "open"
    return Finding(
        name=name,
        what="pairs",
        n=found.n,
        value=found.mean,
        low=low,
        high=high,
        margin=margin.loss,
        verdict=verdict,
        required=found.n >= OFTEN * pairs,
    )


def _group(sums: Sums, name: str, units: int) -> Finding | None:
    """The difference of the groups, tier by tier, weighed as the canary's jobs have them."""
    margin = MARGINS[name]
    parts = [
        (moments(sums, f"group:canary:{tier}:{name}"), moments(sums, f"group:live:{tier}:{name}"))
        for tier in tiers(sums, name)
    ]
    # The variance of a small group is as good as unknown.
    parts = [(mine, other) for mine, other in parts if min(mine.n, other.n) >= BURN_IN]
    n = sum(mine.n for mine, _ in parts)
    if n == 0:
        return None
    mean = sum(mine.n / n * (mine.mean - other.mean) for mine, other in parts)
    variance = sum(
        (mine.n / n) ** 2
        * sum(_spread(each.squares, each.n, margin.spread) ** 2 / each.n for each in (mine, other))
        for mine, other in parts
    )
    spread = math.sqrt(variance * n)
    high = mean + half_width(n, spread, _ALPHA)
    return Finding(
        name=name,
        what="groups",
        n=n,
        value=mean,
        low=mean - half_width(n, spread, _ALPHA),
        high=high,
        margin=margin.loss,
        verdict="worse" if high < -margin.loss and units >= LEAST_UNITS else "open",
        required=False,
    )


def _rate(sums: Sums, name: str) -> Finding | None:
    n, k = round(sums.get(f"event:{name}:n", 0)), round(sums.get(f"event:{name}:k", 0))
    if n == 0:
        return None
    limit = LIMITS[name]
    # A loss is certain only by events that had nothing to do with each other; an upper limit holds for all.
    again = failed_together(sums) if name == FAILED else 0
    events, of = k - again, n - again
    verdict: Verdict = "open"
    if events >= LEAST_EVENTS and log_evidence_above(limit.tolerated, events, of) >= -math.log(_ALPHA):
        verdict = "worse"
    elif log_evidence_below(limit.limit, k, n) >= -math.log(MISSED):
        verdict = "not_worse"
    return Finding(
        name=name,
        what="rate",
        n=n,
        value=k / n,
        low=_lowest(events, of),
        high=_highest(k, n),
        margin=limit.limit,
        verdict=verdict,
        required=True,
    )


def half_width(n: int, spread: float, alpha: float) -> float:
    """Of the one-sided interval after ``n`` numbers, which all hold at once with probability 1 − ``alpha``."""
    tuned = -2 * math.log(2 * alpha)
    rho = (tuned + math.log(tuned + 1)) / TUNED_FOR
    scale = n * rho + 1
    return spread * math.sqrt(2 * scale / (n * n * rho) * math.log1p(math.sqrt(scale) / (2 * alpha)))


def log_evidence_above(rate: float, k: int, n: int) -> float:
    """The logarithm of the evidence that events come more often than at ``rate``, after k of n: e ≥ 1/α at any time has
    probability α at most if they do not."""
    return _log_mass(k, n, rate, above=True) - math.log1p(-rate) - _log_likelihood(rate, k, n)


def log_evidence_below(rate: float, k: int, n: int) -> float:
    """The same, that they come less often."""
    return _log_mass(k, n, rate, above=False) - math.log(rate) - _log_likelihood(rate, k, n)


def _log_likelihood(rate: float, k: int, n: int) -> float:
    return k * math.log(rate) + (n - k) * math.log1p(-rate)


def _log_mass(k: int, n: int, rate: float, *, above: bool) -> float:
    """log ∫ q^k (1 − q)^(n − k) dq over q > rate, or q < rate. The part of a beta distribution below a point is a tail
    of a binomial one: I_x(k + 1, n − k + 1) = P(Bin(n + 1, x) > k)."""
    beta = math.lgamma(k + 1) + math.lgamma(n - k + 1) - math.lgamma(n + 2)
    few = _log_binomial(n + 1, rate, range(k + 1))
    if above:
        return beta + few
    if few < -1e-6:
        return beta + math.log(-math.expm1(few))
    return beta + _log_binomial(n + 1, rate, range(k + 1, n + 2))


def _log_binomial(n: int, rate: float, values: range) -> float:
    """log P(Bin(n, rate) is one of the values)."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n + 1 - i)
        + i * math.log(rate) + (n - i) * math.log1p(-rate)
        for i in values
    ]  # fmt: skip
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs))


def _lowest(k: int, n: int) -> float:
    """The least rate that the evidence leaves possible."""
    if k == 0:
        return 0.0
    return _edge(lambda rate: log_evidence_above(rate, k, n) < -math.log(_ALPHA), 0.0, k / n)


def _highest(k: int, n: int) -> float:
    if k == n:
        return 1.0
    return _edge(lambda rate: log_evidence_below(rate, k, n) >= -math.log(MISSED), k / n, 1.0)


def _edge(beyond: Callable[[float], bool], low: float, high: float) -> float:
    """From where on it is true: never below ``low``, and always from ``high`` on."""
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high


def _spread(squares: float, n: int, assumed: float) -> float:
    return math.sqrt((squares + PRIOR_PAIRS * assumed**2) / (n + PRIOR_PAIRS))
