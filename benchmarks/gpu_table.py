"""The table of ``benchmarks.gpu`` in Markdown, and the pages for people that show it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import ROOT

PAGES = (ROOT / "README.md", ROOT / "docs" / "gpu.md")
BEGIN, END = "<!-- benchmarks.gpu -->", "<!-- /benchmarks.gpu -->"
"""Between these lines stands the table."""
NOT_RUN = "not run yet"
TIERS, BATCHES = ("draft", "standard", "best"), (1, 2, 4)
"""Rows of the table that has not been measured."""

_HEAD = (
    "| quality | batch | ours, s a picture | diffusers, eager | diffusers, compiled | ours / eager | ours / compiled "
    "| SM clock | power |\n|---|---|---|---|---|---|---|---|---|\n"
)


def markdown(document: Mapping[str, Any]) -> str:
    """The table of a measurement, which ``benchmarks.gpu`` writes as JSON; {} = of none."""
    if not document:
        rows = [
            f"| {tier} | {batch} |" + f" {NOT_RUN} |" * 3 + " |" * 4 for tier in TIERS for batch in BATCHES
        ]
        return _HEAD + "\n".join(rows) + "\n"
    return f"{_HEAD}{''.join(map(_row, document['cells']))}\n{about(document)}\n"


def about(document: Mapping[str, Any]) -> str:
    """Where and with what it was measured, in sentences."""
    card, versions = document["gpu"], document["versions"]
    where = (
        f"{card['name']}, driver {card['driver']}, up to {_number(card['power_limit_watts'], 'W')} and "
        f"{_number(card['sm_mhz_at_most'], 'MHz')}"
        if card
        else f"no GPU: {document['cores']} cores of {document['cpu']}"
    )
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    turns = "ours before diffusers" if document["apart"] else "in turns"
    side = document["side"]
    return (
        f"{document['release']}, {document['precision']}, {side}×{side} pixels, two ControlNets; {where}; load average "
        f"{document['load_average']:g}; {document['date']}; medians of {document['rounds']} rounds, {turns}. {known}. "
        "Nothing was locked."
    )


def _row(cell: Mapping[str, Any]) -> str:
    seconds, ratio = cell["seconds"], cell["ratio"]
    failed, card = cell.get("failed", {}), cell.get("gpu", {}).get("ours", {})
    sides = [
        f"{seconds[side]:.3f}" if side in seconds else "failed" if side in failed else ""
        for side in ("ours", "eager", "compiled")
    ]
    ratios = [f"{ratio[side]:.2f}" if side in ratio else "" for side in ("eager", "compiled")]
    told = [_number(card.get("sm_mhz"), "MHz"), _number(card.get("watts"), "W")]
    return f"| {' | '.join([cell['quality'] or 'usual', str(cell['batch']), *sides, *ratios, *told])} |\n"


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.0f} {unit}"


def shown(page: str, table: str) -> str:
    """A page's text with ``table`` between the two lines. Raises ValueError where it lacks them."""
    before, begin, rest = page.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"\n{END}")
    if not begin or not end:
        raise ValueError(f"a page without the lines {BEGIN} and {END}")
    return f"{before}{begin}\n{table}{end}{after}"


def write_pages(document: Mapping[str, Any], pages: tuple[Path, ...] = PAGES) -> None:
    """Show a measurement on the pages."""
    for page in pages:
        page.write_text(shown(page.read_text(), markdown(document)))
