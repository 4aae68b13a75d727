"""The folder of a machine's plans: see the package for its layout. Whatever has a name that is read is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from export.contract import Sizes
from export.graphs.triton_config import PLAN_CONFIG, PLAN_FILE, config_text, tensorrt_config_text
from export.plans.key import Machine, PlanKey
from export.releases.specs import graph_file
from export.spec import ModelSpec

CURRENT = "current"
REPORT = "plan.json"
VERDICT = "verdict.json"
ONNX_LINK = "onnx"
"""A link to a folder: ONNX Runtime reads weights that lie beside a graph only where both lead to the same folder."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one graph on one machine."""

    graph: str
    key: PlanKey
    planned: bool
    """Whether it is served from its plan; otherwise from its ONNX graph."""
    why_not: str = ""
    """Of a graph without plan: one sentence."""
    parity: dict[str, float] = {}
    """Largest difference from ONNX Runtime per output, in the output's own units."""
    share: float = 0.0
    """The largest of them as a share, 0..1, of what is allowed."""
    plan_bytes: int = 0
    seconds: float = 0.0
    """What compiling it took."""


class Plans(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's plans for one version of a release: the content of plan.json."""

    release: str
    """Such as dollhouse-4."""
    machine: Machine
    graphs: dict[str, Verdict]


def read_plans(folder: Path) -> Plans | None:
    """What the folder of a bundle's plans holds now; None = nothing that this version can read."""
    return _read(folder / CURRENT / REPORT, Plans)


def built_folder(folder: Path, graph: str, key: PlanKey) -> Path:
    """Where the verdict on a graph and its plan are kept."""
    return folder / "built" / f"{graph}-{key.digest}"


def kept_verdict(folder: Path, graph: str, key: PlanKey) -> Verdict | None:
    """An earlier verdict on the very same graph, machine and shapes."""
    place = built_folder(folder, graph, key)
    verdict = _read(place / VERDICT, Verdict)
    return verdict if verdict is not None and verdict.key == key and plan_is_whole(place, verdict) else None


def plan_is_whole(place: Path, verdict: Verdict) -> bool:
    """Whether the plan in ``place`` has the size that the verdict says. What else is wrong with it Triton finds."""
    file = place / PLAN_FILE
    return not verdict.planned or (file.is_file() and file.stat().st_size == verdict.plan_bytes)


def keep_verdict(folder: Path, verdict: Verdict, staged: Path) -> None:
    """Write the verdict into ``staged``, beside the plan if there is one, and move both to where they are kept."""
    (staged / VERDICT).write_bytes(_text(verdict))
    place = built_folder(folder, verdict.graph, verdict.key)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    os.replace(staged, place)


def configs(spec: ModelSpec, sizes: Sizes, verdict: Verdict) -> dict[str, str]:
    """The texts of a graph's configurations by their paths in its folder."""
    onnx = f"{ONNX_LINK}/model.onnx"
    return {
        "config.pbtxt": config_text(spec, onnx),
        f"configs/{PLAN_CONFIG}.pbtxt": tensorrt_config_text(
            spec, sizes, PLAN_FILE if verdict.planned else onnx
        ),
    }


def lay_out(
    staged: Path,
    folder: Path,
    release: Path,
    document: Mapping[str, Any],
    plans: Plans,
    specs: Mapping[str, ModelSpec],
    sizes: Sizes,
) -> None:
    """Write plan.json and the model repository into the empty folder ``staged``. Plans are linked, not copied."""
    for name, verdict in plans.graphs.items():
        graph = graph_file(release.resolve(), document, name)
        model = staged / "models" / specs[name].name
        version = model / graph.parent.name
        version.mkdir(parents=True)
        (version / ONNX_LINK).symlink_to(graph.parent)
        if verdict.planned:
            os.link(built_folder(folder, name, verdict.key) / PLAN_FILE, version / PLAN_FILE)
        for path, text in configs(specs[name], sizes, verdict).items():
            file = model / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
    (staged / REPORT).write_bytes(_text(plans))


def make_current(folder: Path, staged: Path, plans: Plans) -> None:
    """Put ``staged`` in the place of what is current, in one rename, and remove what is no longer used.

    A Triton that runs has read its files when it started.
    """
    numbers = [int(place.name.rpartition("-")[2]) for place in folder.glob("repository-*")]
    place = folder / f"repository-{max(numbers, default=0) + 1}"
    os.replace(staged, place)
    link = folder / f".{CURRENT}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(place.name)
    os.replace(link, folder / CURRENT)
    used = {place} | {built_folder(folder, name, verdict.key) for name, verdict in plans.graphs.items()}
    for other in (*folder.glob("repository-*"), *folder.glob("built/*")):
        if other not in used:
            shutil.rmtree(other)


def _read(file: Path, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _text(content: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
