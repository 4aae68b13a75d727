"""The report of a trial of a release: one HTML file with its pictures inside, without a script."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from html import escape

from orchestrator.api.responses.release_data import failures
from orchestrator.domain.comparing import Measured
from orchestrator.domain.judging import FALSE_ROLLBACK, MISSED, NAMES, Finding
from orchestrator.domain.releases import rfc3339
from orchestrator.ports import Pair, Trial
from orchestrator.services.releases.control import Report, shown

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 76rem; padding: 1rem }
h1 { font-size: 1.5rem; line-height: 1.2 }
h2 { font-size: 1.15rem; margin-top: 2rem }
.decision { border-left: .4rem solid #777; padding: .2rem 1rem }
.promote { border-color: #1a7f37 }
.roll_back { border-color: #c0342b }
.undecided { border-color: #a66a00 }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #8886; padding: .35rem .6rem; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; white-space: normal }
.worse { color: #c0342b; font-weight: 700 }
.not_worse { color: #1a7f37 }
.pair { display: grid; gap: .5rem; grid-template-columns: repeat(3, 1fr); margin: 1rem 0 .2rem }
figure { margin: 0 }
img, .none { aspect-ratio: 4 / 3; background: #8883; display: block; object-fit: contain; width: 100% }
.none { align-items: center; display: flex; justify-content: center }
figcaption, .small { font-size: .85rem }
.wide { overflow-x: auto }
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""The Content-Security-Policy that it is sent with."""

_DECISIONS = {
    "running": "The trial runs",
    "promote": "Promoted: it is not worse",
    "roll_back": "Rolled back: it is worse",
    "undecided": "Undecided",
}
_VERDICTS = {"worse": "worse", "not_worse": "not worse", "open": "open"}
_WHAT = {"pairs": "same photo and seed", "groups": "jobs of users", "rate": "share of the pictures"}


def report_page(report: Report) -> str:
    """The whole file."""
    trial, judgement = report.trial, report.judgement
    canary, judged = trial.canary, trial.judged
    decision = judgement.decision if judged is None else judged.decision
    reason = judgement.reason if judged is None else judged.reason
    heading = _DECISIONS[decision]
    if not report.running and judged is None:
        heading, reason = "Ended by an operator", f"Until then: {reason}"
    title = f"Version {canary.version} on trial beside version {trial.live}"
    how = (
        f"users got its pictures for {100 * canary.share:g} % of the jobs"
        if canary.mode == "share"
        else f"in the shadow of {100 * canary.share:g} % of the jobs: users got the live version's pictures"
    )
    when = f"since {canary.since}" + ("" if judged is None else f", decided {rfc3339(judged.at)}")
    made = [
        f"{round(trial.sums.get(f'made:{arm}', 0))} of users' pictures by the {name} version"
        for arm, name in (("canary", "new"), ("live", "live"))
        if canary.mode == "share"
    ]
    counts = ", ".join([f"{judgement.pairs} photos were restyled by both", *made])
    body = (
        f"<h1>{title}</h1>"
        f'<div class="decision {decision}"><p><strong>{heading}.</strong> {escape(reason)}</p></div>'
        f"<p>{escape(how[0].upper() + how[1:])}; {escape(when)}; {escape(counts)}.</p>"
        f"{_failures(trial)}{_figures(judgement.findings)}{_pairs(trial, report.pictures)}"
        '<p class="small">The pictures were made by AI from users\' photos; they go when their job is erased.</p>'
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="robots" content="noindex"><title>{title}</title><style>{STYLE}</style></head>'
        f"<body>{body}</body></html>"
    )


def _failures(trial: Trial) -> str:
    found = failures(trial.sums)
    if not found:
        return ""
    said = ", ".join(f"{escape(code)} {number}×" for code, number in found.items())
    return f"<p>Pictures that it failed to make, and the live version made: {said}.</p>"


def _figures(findings: list[Finding]) -> str:
    rows = "".join(_row(each) for each in findings)
    head = "".join(
        f"<th>{name}</th>"
        for name in (
            "",
            "Compared by",
            "Pictures",
            "Gain, or rate",
            "Certainly between",
            "Allowed",
            "Verdict",
        )
    )
    return (
        f'<h2>Figures</h2><div class="wide"><table><tr>{head}</tr>{rows}</table></div>'
        '<p class="small">A gain below 0 is a loss. The intervals hold however often one looks: a release that '
        f"loses nothing is rolled back with a probability of {100 * FALSE_ROLLBACK:g} % at most, and one that loses as "
        f"much as “allowed” in anything is promoted with about {100 * MISSED:g} % at most.</p>"
    )


def _row(finding: Finding) -> str:
    if finding.what == "rate":
        value, allowed = f"{100 * finding.value:.1f} %", f"below {100 * finding.margin:.0f} %"
        low, high = (None if each is None else f"{100 * each:.1f} %" for each in (finding.low, finding.high))
    elif finding.name == "speed":
        value, allowed = _faster(finding.value), f"{_faster(-finding.margin)}"
        low, high = (None if each is None else _faster(each) for each in (finding.low, finding.high))
    else:
        value, allowed = f"{finding.value:+.3f}", f"{-finding.margin:+.2f}"
        low, high = (None if each is None else f"{each:+.3f}" for each in (finding.low, finding.high))
    between = "not known yet" if low is None or high is None else f"{low} … {high}"
    cells = (
        _WHAT[finding.what],
        str(finding.n),
        value,
        between,
        allowed,
        f'<span class="{finding.verdict}">{_VERDICTS[finding.verdict]}</span>',
    )
    return f"<tr><td>{NAMES[finding.name]}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _faster(logarithm: float) -> str:
    """What a gain in speed means for the time of a picture."""
    return f"{100 * math.expm1(-logarithm):+.0f} % time"


def _pairs(trial: Trial, pictures: Mapping[str, bytes]) -> str:
    pairs = shown(trial)
    if not pairs:
        none = "No photo was restyled by both yet: that is done when no job of a user waits or runs."
        return f"<h2>Pictures</h2><p>{none}</p>"
    names = (
        ("photo", "Photo"),
        ("live", f"Version {trial.live}"),
        ("canary", f"Version {trial.canary.version}"),
    )
    parts = [
        f'<div class="pair">{"".join(_figure(pair, name, caption, pictures) for name, caption in names)}</div>'
        f'<p class="small">{escape(pair.style)}, {rfc3339(pair.at)}, job <code>{escape(pair.job_id)}</code></p>'
        for pair in pairs
    ]
    return f"<h2>Pictures: the worst pairs, then the newest</h2>{''.join(parts)}"


def _figure(pair: Pair, name: str, caption: str, pictures: Mapping[str, bytes]) -> str:
    measured = {"live": pair.live, "canary": pair.canary}.get(name)
    said = caption if measured is None else f"{caption}: {_measures(measured)}"
    data = pictures.get(pair.pictures.get(name, ""))
    if data is None:
        shown_instead = "failed" if measured is not None and measured.failure else "erased"
        picture = f'<div class="none">{shown_instead}</div>'
    else:
        encoded = base64.b64encode(data).decode()
        picture = f'<img src="data:image/jpeg;base64,{encoded}" alt="{escape(caption)}: a room">'
    return f"<figure>{picture}<figcaption>{escape(said)}</figcaption></figure>"


def _measures(measured: Measured) -> str:
    if measured.failure is not None:
        return measured.failure
    named = [
        f"{NAMES[name].lower()} {value:.2f}"
        for name, value in sorted(measured.values.items(), key=lambda each: each[0] != "score")
        if name in NAMES and name != "colours"
    ]
    return ", ".join([*named, f"{measured.seconds:.2f} s"])
