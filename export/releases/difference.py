"""What changed from one version of a release to another, in words: lines under headings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from export.releases.folder import PROFILE, version_folder
from export.releases.specs import release_specs
from export.spec import Tensor

Lines = list[str]

_SETTINGS = (
    "schedule",
    "solvers",
    "hints",
    "labels",
    "palettes",
    "quality_threshold",
    "buckets",
    "preview_matrix",
)
"""Members of release.json that say how the networks are used."""


def differences(release: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Lines]:
    """By heading; ``before`` and ``after`` are release.json of two versions in the folder ``release``."""
    found = {
        "networks": _networks(before, after),
        "sources": _changed(before["sources"], after["sources"]),
        "licences": _changed(_licences(before), _licences(after)),
        "tensors": list(_tensors(before, after)),
        "sizes": _changed(before["sizes"], after["sizes"]),
        "precision": _changed(_precision(before), _precision(after)),
        "defaults": _changed(before["defaults"], after["defaults"]),
        "tiers": _changed(_tiers(before), _tiers(after)),
        "styles": _changed(before.get("styles", {}), after.get("styles", {})),
        "settings": _changed(_some(before, _SETTINGS), _some(after, _SETTINGS)),
        "hardware": _changed(_some(before, ("targets", "budgets")), _some(after, ("targets", "budgets"))),
        "tools": _changed(before["tools"], after["tools"]),
        "proofs": list(_proofs(release, before, after)),
        "times": list(_times(release, before, after)),
    }
    return {heading: lines for heading, lines in found.items() if lines}


def _networks(before: Mapping[str, Any], after: Mapping[str, Any]) -> Lines:
    old, new = before["models"], after["models"]
    lines = [f"{name} is new ({_size(new[name]['bytes'])})" for name in new if name not in old]
    lines += [f"{name} is gone" for name in old if name not in new]
    same = []
    for name in old:
        if name not in new:
            continue
        if old[name]["sha256"] == new[name]["sha256"]:
            same.append(name)
            continue
        sizes = _size(old[name]["bytes"]), _size(new[name]["bytes"])
        size = f"{sizes[0]} as before" if sizes[0] == sizes[1] else f"{sizes[0]} → {sizes[1]}"
        lines.append(f"{name} is another graph ({size})")
    if lines and same:
        lines.append(f"unchanged: {', '.join(same)}")
    return lines


def _licences(document: Mapping[str, Any]) -> dict[str, Any]:
    return {licence["name"]: ", ".join(licence["networks"]) for licence in document.get("licences", [])}


def _precision(document: Mapping[str, Any]) -> dict[str, Any]:
    graphs = {
        name: f"computes in {facts.get('precision', 'fp32')}, stored in {facts.get('stored', 'fp32')}"
        for name, facts in document["models"].items()
    }
    return {"release": document["precision"], **graphs}


def _tensors(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = release_specs(before), release_specs(after)
    for name in (name for name in old if name in new):
        if old[name].name != new[name].name:
            yield f"{name} is Triton's model {new[name].name}, before {old[name].name}"
        if old[name].max_batch_size != new[name].max_batch_size:
            yield f"{name}: batches of up to {old[name].max_batch_size} → {new[name].max_batch_size}"
        for kind in ("inputs", "outputs"):
            was = {tensor.name: _tensor(tensor) for tensor in getattr(old[name], kind)}
            now = {tensor.name: _tensor(tensor) for tensor in getattr(new[name], kind)}
            for line in _changed(was, now):
                yield f"{name}, {kind[:-1]} {line}"


def _tensor(tensor: Tensor) -> str:
    return f"{tensor.dtype} [{', '.join('any' if dim < 0 else str(dim) for dim in tensor.triton_dims)}]"


def _tiers(document: Mapping[str, Any]) -> dict[str, Any]:
    tiers = {
        f"{name}.{key}": value
        for name, tier in document.get("tiers", {}).items()
        for key, value in tier.items()
    }
    return {**tiers, **_some(document, ("quality",))}


def _proofs(release: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Figures that differ by more than a tenth: machines differ in the last digits."""
    for name, facts in after["models"].items():
        if name not in before["models"]:
            continue
        for kind, words in (("parity", "from torch"), ("rounding", "by FP16's rounding")):
            old, new = before["models"][name].get(kind, {}), facts.get(kind, {})
            for output in new:
                if output in old and _differ(old[output], new[output]):
                    yield f"{name}.{output} differs {words} by {old[output]:.2g} → {new[output]:.2g}"
    was, now = (_worst(_read(release, document, "proof.json")) for document in (before, after))
    if was is not None and now is not None and _differ(was, now):
        yield f"pictures differ from diffusers' by at most {was:.2g} → {now:.2g} of 255"


def _worst(proof: Mapping[str, Any]) -> float | None:
    return max((case["difference"] for case in proof.get("whole", {}).get("cases", [])), default=None)


def _times(release: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Of graphs that were timed on the same device, where that was done (benchmarks.profile)."""
    old, new = (_read(release, document, PROFILE) for document in (before, after))
    if not old or not new:
        return
    if old.get("device") != new.get("device"):
        yield f"not comparable: timed on {old.get('device')}, then on {new.get('device')}"
        return
    for name, by in new["seconds"].items():
        was = old["seconds"].get(name, {})
        for bucket, seconds in by.items():
            if bucket in was and _differ(was[bucket][0], seconds[0]):
                yield f"{name} at {bucket}: {1000 * was[bucket][0]:.3g} → {1000 * seconds[0]:.3g} ms"


def _read(release: Path, document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A file of figures beside a release.json; {} where there is none."""
    version = int(document["release"].rpartition("-")[2])
    try:
        found: dict[str, Any] = json.loads((version_folder(release, version) / name).read_bytes())
        return found
    except (OSError, ValueError):
        return {}


def _differ(old: float, new: float) -> bool:
    return abs(new - old) > 0.1 * max(abs(old), abs(new))


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Lines:
    lines = [
        f"{key}: {_words(old[key])} → {_words(new[key])}"
        for key in old
        if key in new and old[key] != new[key]
    ]
    lines += [f"{key} is new: {_words(new[key])}" for key in new if key not in old]
    return lines + [f"{key} is gone: {_words(old[key])}" for key in old if key not in new]


def _some(document: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: document[name] for name in names if name in document}


def _words(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
