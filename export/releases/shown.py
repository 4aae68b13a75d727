"""What the commands print of releases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from export.releases.checksums import ReleaseDamaged, read_checked
from export.releases.folder import PROFILE, agent_runs, document_of, live_version, version_folder, versions
from export.releases.rollout import Rollout
from export.releases.verifying import unverified


def states(release: Path, rollout: Rollout, version: int) -> list[str]:
    """What a version is at the moment, in words."""
    found = []
    if rollout.live == version:
        found.append("live")
    if live_version(release) == version and rollout.live != version:
        found.append("still live on this host")
    if rollout.previous == version:
        found.append("a rollback goes here")
    if rollout.canary is not None and rollout.canary.version == version:
        kind = "shadows every" if rollout.canary.mode == "shadow" else "gets every"
        found.append(f"on trial: {kind} {_share(rollout.canary.share)}")
    if version in rollout.withdrawn:
        found.append("withdrawn")
    return found


def _share(share: float) -> str:
    return "job" if share >= 1 else f"{1 / share:.3g}th job"


def listed(release: Path, rollout: Rollout) -> dict[str, Any]:
    """What there is of a bundle, the newest version first."""
    found = []
    for version in versions(release):
        document = _document(release, version)
        folder = version_folder(release, version)
        made = datetime.fromtimestamp((folder / "release.json").stat().st_mtime, UTC)
        reason = unverified(release, version)
        found.append(
            {
                "version": version,
                "made": made.strftime("%Y-%m-%d %H:%M"),
                "precision": document["precision"],
                "graphs": len(document["models"]),
                "bytes": sum(facts.get("bytes", 0) for facts in document["models"].values()),
                "verified": read_checked(release, version).get("when") if reason is None else None,
                "unverified": reason,
                "states": states(release, rollout, version),
            }
        )
    return {
        "bundle": release.name,
        "live": rollout.live,
        "previous": rollout.previous,
        "withdrawn": rollout.withdrawn,
        "revision": rollout.revision,
        "changed": rollout.changed,
        "by": rollout.by,
        "agent": agent_runs(release),
        "versions": found,
    }


def _document(release: Path, version: int) -> dict[str, Any]:
    try:
        return document_of(release, version)
    except ReleaseDamaged:
        return {"precision": "?", "models": {}}


def list_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The list for people."""
    live = (
        f"{facts['bundle']}-{facts['live']} is live"
        if facts["live"]
        else f"nothing of {facts['bundle']} is live"
    )
    changed = f" since {facts['changed']}, by {facts['by']}" if facts["changed"] else ""
    yield live + changed
    rows = [("version", "made (UTC)", "precision", "size", "verified", "")]
    for each in facts["versions"]:
        rows.append(
            (
                str(each["version"]),
                each["made"],
                each["precision"],
                f"{each['bytes'] / 1e6:.1f} MB",
                each["verified"] or "no",
                ", ".join(each["states"]),
            )
        )
    yield from columns(rows)


def columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows of text under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def shown(release: Path, rollout: Rollout, document: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a version pins, and what is known of it here."""
    version = int(document["release"].rpartition("-")[2])
    folder = version_folder(release, version)
    checked = read_checked(release, version)
    profile = folder / PROFILE
    return {
        **document,
        "states": states(release, rollout, version),
        "unverified": unverified(release, version),
        "verified": {key: checked[key] for key in ("when", "by", "device") if key in checked},
        "profile": json.loads(profile.read_bytes()) if profile.is_file() else None,
    }


def show_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    state = ", ".join(facts["states"]) or "published"
    yield f"{facts['release']} ({state}): {facts['precision']}"
    checked = facts["verified"]
    yield (
        f"verified {checked['when']} by {checked['by']} on {checked['device'] or 'an unknown device'}"
        if facts["unverified"] is None
        else f"not verified: it {facts['unverified']}"
    )
    yield ""
    rows = [("graph", "version", "computes in", "size", "SHA-256", "differs from torch by at most")]
    for name, graph in facts["models"].items():
        model = graph.get("model", name)
        worst = max(graph.get("parity", {}).items(), key=lambda item: item[1], default=None)
        rows.append(
            (
                name if model == name else f"{name} (as {model})",
                str(graph["version"]),
                graph.get("precision", "fp32"),
                f"{graph['bytes'] / 1e6:.1f} MB",
                " ".join(digest[:12] for digest in graph["sha256"].values()),
                f"{worst[0]} {worst[1]:.2g}" if worst else "",
            )
        )
    yield from columns(rows)
    for heading in ("sources", "defaults", "tiers", "targets", "budgets", "tools"):
        if heading in facts:
            yield ""
            yield heading
            yield from _members(facts[heading])
    for licence in facts.get("licences", []):
        yield ""
        yield f"licence {licence['name']}: {', '.join(licence['networks'])}"
        yield f"  {licence['url']}"
    if facts["profile"]:
        yield ""
        yield f"times on {facts['profile']['device']}, in ms a sample"
        for graph, by in facts["profile"]["seconds"].items():
            times = ", ".join(f"{bucket} {1000 * seconds[0]:.3g}" for bucket, seconds in by.items())
            yield f"  {graph}: {times}"


def _members(values: Any) -> Iterator[str]:
    if isinstance(values, dict):
        for name, value in values.items():
            yield f"  {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
    else:
        yield f"  {', '.join(map(str, values))}"
