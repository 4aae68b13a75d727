"""A release's report for people: ``report.md``, and ``report.html``, one page that needs no other file and no script.

Every figure comes from the release's document and from its proof (:class:`Proof`, kept beside them as ``proof.json``).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.proofs.whole import CaseFacts, Pair, Whole

SHOWN = 3
"""Cases whose pictures the page shows."""


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """What it took to make and prove a graph."""

    seconds: float
    peak_bytes: int
    """Of memory."""
    share: float = 0.0
    """Of its outputs' differences from torch, the largest as a share of what is allowed, 0..1."""
    allowed: dict[str, str]
    """By output, in words: how far it may be from torch's."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a release; machines differ in the last digits, so it is no part of release.json."""

    whole: Whole
    graphs: dict[str, Took]


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading; columns that begin with ">" hold numbers."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def write_report(folder: Path, description: str, document: Any, proof: Proof, pairs: list[Pair]) -> None:
    """Write ``REPORTS`` into ``folder``; ``document`` is its release.json, ``description`` the bundle's."""
    facts = msgspec.to_builtins(document)
    (folder / "proof.json").write_bytes(msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n")
    (folder / "report.md").write_text(markdown(description, facts, proof))
    (folder / "report.html").write_text(page(description, facts, proof, pairs))


def markdown(description: str, document: Mapping[str, Any], proof: Proof) -> str:
    """The report without pictures."""
    lines = [f"# {document['release']}", "", description, "", summary(document, proof), ""]
    lines += ["Pictures: [report.html](report.html).", ""]
    for table in tables(document, proof):
        bars = ["---:" if column.startswith(">") else "---" for column in table.columns]
        heads = [column.removeprefix(">") for column in table.columns]
        rows = [[cell.replace("|", "\\|") for cell in row] for row in table.rows]
        lines += [f"## {table.title}", "", *([table.note, ""] if table.note else [])]
        lines += [f"| {' | '.join(row)} |" for row in (heads, bars, *rows)]
        lines.append("")
    return "\n".join(lines)


def page(description: str, document: Mapping[str, Any], proof: Proof, pairs: list[Pair]) -> str:
    """The report as one HTML document."""
    parts = [f"<h1>{escape(document['release'])}</h1>", f"<p class=lead>{escape(description)}</p>"]
    figures = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in key_figures(document, proof).items()
    )
    parts += [f"<dl>{figures}</dl>", f"<p>{escape(summary(document, proof))}</p>"]
    if pairs:
        parts.append("<h2>Side by side</h2>")
        parts += [_row(pair) for pair in _shown(pairs)]
    parts += [_html_table(table) for table in tables(document, proof)]
    return _PAGE.format(title=escape(document["release"]), style=_STYLE, body="\n".join(parts))


def key_figures(document: Mapping[str, Any], proof: Proof) -> dict[str, str]:
    """The figures that a hurried reader wants."""
    models, worst = document["models"].values(), proof.whole.worst
    return {
        "computes in": document["precision"],
        "size of the graphs": _size(sum(facts["bytes"] for facts in models)),
        "picture against diffusers": f"{_number(worst.difference)} of 255",
        "allowed": f"{proof.whole.tolerance:g} of 255",
        "graphs made and proved in": _time(sum(took.seconds for took in proof.graphs.values())),
    }


def summary(document: Mapping[str, Any], proof: Proof) -> str:
    """The result in two sentences."""
    worst, cases = proof.whole.worst, len(proof.whole.cases)
    return (
        f"All {len(document['models'])} graphs hold the weights of their source and give the outputs of torch within "
        f"what is allowed. The pictures that restyle paints with them were compared with those of diffusers in {cases} "
        f"cases: the values, 0 to 255 before rounding, differ by {_number(worst.difference)} at most "
        f"({_case(worst)}; row {worst.at[0]}, column {worst.at[1]}), and {proof.whole.tolerance:g} is allowed."
    )


def tables(document: Mapping[str, Any], proof: Proof) -> Iterator[Table]:
    """Everything in figures."""
    yield Table(
        "Graphs",
        "Largest difference of each graph's outputs from torch's, in the output's own units: at the native shape, a "
        "full batch of the smallest and one sample of the largest. What is allowed is relative to the output's largest "
        "value (at least 1), or in levels of 255, to which depth is rounded. The version is that of the first release "
        "with this graph. Every weight was compared with its source by name.",
        (
            "graph",
            "version",
            "computes in",
            ">size",
            "worst output",
            ">difference",
            "allowed",
            ">time",
            ">memory",
        ),
        [_graph(name, facts, proof.graphs.get(name)) for name, facts in document["models"].items()],
    )
    roundings = [
        (name, output, _number(value))
        for name, facts in document["models"].items()
        for output, value in facts.get("rounding", {}).items()
    ]
    if roundings:
        yield Table(
            "Rounding",
            "What computing in FP16 changes by itself, in torch, at the smallest shape.",
            ("graph", "output", ">difference"),
            roundings,
        )
    tiers = any(case.quality for case in proof.whole.cases)
    yield Table(
        "Whole pictures",
        f"restyle against diffusers' pipeline: same photo, hints, noise and words; solver {proof.whole.solver}"
        f"{', or that of the quality' if tiers else ''}. "
        f"{_run(proof.whole)}Differences are of 255; of latents, before these are decoded, in their own units. The "
        "contrast is the standard deviation of diffusers' picture: without any, the comparison would mean little.",
        (
            "width × height",
            *(("quality",) if tiers else ()),
            *(">seed", ">steps", ">guidance", ">difference", ">of latents", ">contrast"),
        ),
        [
            (
                f"{case.width} × {case.height}",
                *((case.quality or "",) if tiers else ()),
                *(str(case.seed), str(case.steps), f"{case.guidance_scale:g}"),
                *(_number(case.difference), _number(case.latents), f"{case.contrast:.0f}"),
            )
            for case in proof.whole.cases
        ],
    )
    licences = document.get("licences", [])
    yield Table(
        "Sources",
        document.get("modified", ""),
        ("network", "from", "licence"),
        [
            (
                name,
                source,
                ", ".join(each["name"] for each in licences if name in each["networks"]) or "not stated",
            )
            for name, source in document["sources"].items()
        ],
    )
    if licences:
        yield Table(
            "Licences",
            "",
            ("licence", "text", "restrictions"),
            [(each["name"], each["url"], each.get("restrictions", "none named")) for each in licences],
        )
    yield Table("Tools", "", ("tool", "version"), list(document["tools"].items()))


def _graph(name: str, facts: Mapping[str, Any], took: Took | None) -> tuple[str, ...]:
    output, difference = max(facts["parity"].items(), key=lambda item: item[1])
    return (
        *(name, str(facts["version"]), facts.get("precision", "fp32"), _size(facts["bytes"])),
        *(output, _number(difference), took.allowed[output] if took else ""),
        *(_time(took.seconds) if took else "", _size(took.peak_bytes) if took else ""),
    )


def _case(case: CaseFacts) -> str:
    steps = "1 step" if case.steps == 1 else f"{case.steps} steps"
    return f"{case.width} × {case.height}, seed {case.seed}, {steps}"


def _run(whole: Whole) -> str:
    """How many of the steps are run, where it is not all."""
    return (
        ""
        if whole.strength == 1
        else f"Of the steps, {100 * whole.strength:.0f} % are run: restyle starts from the photo. "
    )


def _number(value: float) -> str:
    """Two digits that count."""
    return "0" if value == 0 else f"{value:.2g}"


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _shown(pairs: list[Pair]) -> list[Pair]:
    """One for each shape, that with the most steps."""
    by_shape: dict[tuple[int, int], Pair] = {}
    for pair in sorted(pairs, key=lambda pair: pair.case.steps):
        by_shape[pair.case.height, pair.case.width] = pair
    return [pair for pair in pairs if pair in by_shape.values()][:SHOWN]


def _row(pair: Pair) -> str:
    """The pictures of one case beside each other."""
    apart = np.abs(pair.ours - pair.theirs).max(axis=-1)
    factor = amplification(float(apart.max()))
    pictures = {
        "photo": pair.photo,
        **{f"hint: {name}": picture for name, picture in pair.hints.items()},
        "diffusers": pair.theirs,
        "restyle": pair.ours,
        f"difference × {factor:,}": apart * factor,
    }
    figures = "".join(
        f'<figure><img src="{data_uri(picture)}" alt="{escape(name)}"><figcaption>{escape(name)}</figcaption></figure>'
        for name, picture in pictures.items()
    )
    words = f"{_case(pair.case)}: at most {_number(pair.case.difference)} of 255"
    return f"<section><h3>{escape(words)}</h3><div class=row>{figures}</div></section>"


def amplification(largest: float) -> int:
    """The largest of 1, 2, 5, 10, 20, … that keeps differences up to ``largest`` within 0..255; 1 for none at all."""
    if not 0 < largest < 255:
        return 1
    power = 10 ** int(np.floor(np.log10(255 / largest)))
    return max(step * power for step in (1, 2, 5) if step * power * largest <= 255)


def data_uri(picture: NDArray[Any]) -> str:
    """A picture [H,W,3] or [H,W] with values 0..255 as a JPEG in a data URI."""
    stream = io.BytesIO()
    Image.fromarray(picture.round().clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _html_table(table: Table) -> str:
    numbers = [column.startswith(">") for column in table.columns]

    def cells(kind: str, texts: tuple[str, ...]) -> str:
        return "".join(
            f"<{kind}{' class=n' if number else ''}>{_linked(text)}</{kind}>"
            for number, text in zip(numbers, texts, strict=True)
        )

    heads = tuple(column.removeprefix(">") for column in table.columns)
    rows = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in table.rows)
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<h2>{escape(table.title)}</h2>{note}\n<div class=wide><table><thead><tr>{cells('th', heads)}</tr></thead>\n"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _linked(text: str) -> str:
    safe = escape(text)
    return f'<a href="{safe}">{safe}</a>' if text.startswith("https://") else safe


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1b1a; --soft: #6b6762; --line: #dedad4; --paper: #fbfaf8; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e6e1; --soft: #a09a92; --line: #3a3733; --paper: #191817; --card: #222120; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; letter-spacing: -.02em; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .4rem; }
h3 { font-size: .9rem; font-weight: 500; color: var(--soft); margin: 1rem 0 .4rem; }
p { margin: .4rem 0; max-width: 48rem; }
.lead, h2 + p { color: var(--soft); }
dl { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.5rem 0 1rem; }
dl div { flex: 1 1 10rem; padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
dt { font-size: .8rem; color: var(--soft); }
dd { margin: 0; font-size: 1.2rem; font-weight: 600; white-space: nowrap; }
.row { display: grid; grid-template-columns: repeat(6, 1fr); gap: .5rem; align-items: start; }
@media (max-width: 45rem) { .row { grid-template-columns: repeat(3, 1fr); } }
figure { margin: 0; }
img { display: block; width: 100%; border-radius: .3rem; border: 1px solid var(--line); }
figcaption { font-size: .78rem; color: var(--soft); margin-top: .2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th { font-weight: 500; color: var(--soft); text-align: left; white-space: nowrap; }
th, td { padding: .35rem 1.4rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.n { text-align: right; white-space: nowrap; }
a { color: inherit; }
@media print { body { max-width: none; padding: 0; } }
"""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<body>
{body}
</body>
</html>
"""
