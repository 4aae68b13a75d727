"""Makes the plans of a release on the GPU that will run them, and proves each there before it is served."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from export.contract import Sizes
from export.digests import sha256
from export.graphs.apart import ProcessDied, apart
from export.graphs.triton_config import PLAN_FILE
from export.plans.engines import EngineError, Engines, PlanError
from export.plans.folder import Plans, Verdict, keep_verdict, kept_verdict, lay_out, make_current
from export.plans.key import Machine, plan_key
from export.proofs import parity
from export.proofs.parity import ParityError, Reference
from export.releases.folder import live_document
from export.releases.specs import graph_file, release_sizes, release_specs
from export.releases.staging import staging_folder
from export.spec import ModelSpec

Report = Callable[[str], None]

_SIDES = ("TensorRT", "ONNX Runtime")


def make_plans(
    release: Path, plans: Path, engines: Engines, report: Report = print, again: bool = False
) -> Plans:
    """A plan for each graph of the live version of ``release``, in ``plans``; returns what became of each.

    A plan whose key fits is kept, and so is the verdict on a graph that had none; ``again`` makes all anew. A graph
    that cannot be compiled, or whose plan gives other numbers than ONNX Runtime, is served from its ONNX graph.

    Raises NoGpuError when this machine has no GPU for it, FileNotFoundError when there is no release, PlanError when
    its files are not those that were published, BlockingIOError while another call is at work, OSError when there is
    too little room. What was served before then goes on being served, and graphs that were done are not done again.
    """
    document = json.loads(live_document(release).read_bytes())
    machine = engines.machine()
    report(f"{machine.gpu}, compute capability {machine.compute_capability}, TensorRT {machine.tensorrt}")
    check_files(release, document)
    folder = plans / document["bundle"]
    with staging_folder(plans, document["bundle"]) as staging:
        folder.mkdir(exist_ok=True)
        graphs = {}
        work = _Work(release, document, folder, machine, engines)
        for index, name in enumerate(document["models"], 1):
            place = f"{index} of {len(document['models'])} · {name}"
            graphs[name] = work.verdict(name, staging / name, _prefixed(report, place), again)
        made = Plans(release=document["release"], machine=machine, graphs=graphs)
        staged = staging / "repository"
        lay_out(staged, folder, release, document, made, release_specs(document), release_sizes(document))
        make_current(folder, staged, made)
    return made


def check_files(release: Path, document: Mapping[str, Any]) -> None:
    """Raises PlanError when a graph's file is not the one that was published."""
    for name, facts in document["models"].items():
        for file, digest in facts["sha256"].items():
            path = graph_file(release, document, name).with_name(file)
            if not path.is_file():
                raise PlanError(f"there is no {path}: export {document['bundle']} again, as its next version")
            if sha256(path) != digest:
                raise PlanError(
                    f"{path} is not the file that {document['release']} was published with: restore it, or export "
                    f"{document['bundle']} again"
                )


def _prefixed(report: Report, place: str) -> Report:
    return lambda line: report(f"{place}: {line}")


class _Work:
    """The graphs of one release on one machine."""

    def __init__(
        self, release: Path, document: Mapping[str, Any], folder: Path, machine: Machine, engines: Engines
    ) -> None:
        self._release, self._document, self._folder = release, document, folder
        self._machine, self._engines = machine, engines
        self._specs, self._sizes = release_specs(document), release_sizes(document)

    def verdict(self, name: str, staged: Path, report: Report, again: bool) -> Verdict:
        """The verdict on one graph, kept from before or made now; ``staged`` is where its plan is made."""
        spec, facts = self._specs[name], self._document["models"][name]
        key = plan_key(spec, facts, self._machine)
        found = None if again else kept_verdict(self._folder, name, key)
        if found is not None:
            report(
                "its plan fits"
                if found.planned
                else f"no plan, as before; --again tries anew: {found.why_not}"
            )
            return found
        staged.mkdir()
        report("TensorRT compiles it …")
        graph, plan = graph_file(self._release, self._document, name), staged / PLAN_FILE
        found = Verdict(graph=name, key=key, planned=False)
        try:
            seconds = self._engines.build(graph, spec, plan, self._timing)
            size = plan.stat().st_size
            report(f"{size / 1e6:,.1f} MB in {seconds:.0f} s; its outputs against ONNX Runtime's …")
            differences = compare_with_graph(self._engines, graph, plan, spec, self._sizes, key.precision)
        except (EngineError, ParityError) as error:
            plan.unlink(missing_ok=True)
            found = msgspec.structs.replace(found, why_not=str(error))
            report(f"no plan, it is served from its ONNX graph: {error}")
        else:
            found = msgspec.structs.replace(
                found,
                planned=True,
                parity={output: difference.largest for output, difference in differences.items()},
                share=max(difference.share for difference in differences.values()),
                plan_bytes=size,
                seconds=seconds,
            )
            words = ", ".join(f"{output} {value:.2g}" for output, value in found.parity.items())
            report(f"differs from ONNX Runtime by {words}: {found.share:.0%} of what is allowed")
        keep_verdict(self._folder, found, staged)
        return found

    @property
    def _timing(self) -> Path:
        words = "-".join(msgspec.structs.astuple(self._machine))
        return self._folder / f"timing-{''.join(c if c.isalnum() or c in '.-' else '_' for c in words)}.cache"


def compare_with_graph(
    engines: Engines, graph: Path, plan: Path, spec: ModelSpec, sizes: Sizes, precision: str
) -> dict[str, parity.Difference]:
    """How far the plan's outputs are from those of its graph in ONNX Runtime, on the CPU, at the corners of what a
    service sends. Raises EngineError and ParityError."""
    inputs = [spec.example(batch, axes) for batch, axes in parity.corner_cases(spec, sizes)]
    try:
        expected = apart(onnx_outputs, spec, graph, inputs)
    except ProcessDied as error:
        raise EngineError("its proof died: ONNX Runtime crashed, or memory ran out") from error
    actual = engines.run(plan, spec, inputs)
    return parity.largest_differences(
        parity.compare(
            spec, ours, Reference(arrays, tuple(theirs.values())), parity.ENGINES[precision], _SIDES
        )
        for arrays, ours, theirs in zip(inputs, actual, expected, strict=True)
    )


def onnx_outputs(
    spec: ModelSpec, graph: Path, inputs: Sequence[dict[str, np.ndarray]]
) -> list[dict[str, np.ndarray]]:
    """:func:`export.proofs.parity.graph_outputs` as a list."""
    return list(parity.graph_outputs(spec, graph, inputs))
