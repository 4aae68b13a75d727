"""What would a step save if what is the same for all steps of a job were computed once?

    python -m benchmarks.hoisting                        # sd15_random and sd15_quarter, into results/hoisting.json
    python -m benchmarks.hoisting --timed tiny --pairs 5 --out few.json

Two things do not change between the steps of a job: the hints, embedded by the ControlNets, and the words' keys and
values in every layer of cross-attention. What is moved out of the step comes back as an input of every step, so that it
saves operations and costs bytes; both are counted for one photo at the native size. ``step_ratio`` is the time of a
step after / before, alternately in one run, in ONNX Runtime on this machine's cores, without what Triton's batcher adds
by copying the inputs. ``difference`` is the largest one of the outputs: it is the same step.

The served step does not do this: docs/proofs.md says why.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import RESULTS
from export.bundle import Bundle, load_bundle
from export.graphs.making import Order
from export.graphs.onnx import OPSET
from export.networks.denoiser import Denoiser
from export.networks.load import load_network, skeleton
from export.networks.modules import graph_networks
from export.release import sizes_of
from export.seats import CONTROLNETS
from measuring import report

GRAPH = "denoiser"
BEFORE, HINTS, KEYS = "before", "hints", "hints_and_keys"
NAMES = {BEFORE: "nothing", HINTS: "hints", KEYS: "hints and keys"}
WAYS = tuple(NAMES)


class _Slice(nn.Module):
    """In place of a projection of the words: its result, which the words hold already, from ``first`` on."""

    def __init__(self, first: int, width: int) -> None:
        super().__init__()
        self.first, self.width = first, width

    def forward(self, words: Tensor) -> Tensor:
        """[B,77,S] → [B,77,width]."""
        return words[..., self.first : self.first + self.width]


class Step(Denoiser):
    """The step that is given embedded hints [B,C,h,w] in place of hints, and after :func:`take_keys` the keys and
    values of all layers [B,N,77,S] in place of text."""

    def embedded(self, index: int, hint: Tensor) -> Tensor:
        return hint


class Once(nn.Module):
    """What is the same for every step of a job: hints as ``embed`` embeds them, and words through ``projections``."""

    def __init__(self, embed: Denoiser, projections: Sequence[nn.Module]) -> None:
        super().__init__()
        self.embed, self.projections = embed, nn.ModuleList(projections)

    def forward(self, text: Tensor, **hints: Tensor) -> dict[str, Tensor]:
        """text [B,N,77,D] and the hints UINT8, FP32 → the same names, as the step takes them."""
        words = torch.cat([project(text) for project in self.projections], -1) if self.projections else text
        return {"text": words} | {
            name: self.embed.embedded(index, hints[name]) for index, name in enumerate(self.embed.hints)
        }


def take_keys(step: Step) -> list[nn.Module]:
    """The projections of the words to keys and values of every cross-attention, which ``step`` has no more."""
    taken: list[nn.Module] = []
    first = 0
    for network in (step.unet, *step.controlnets):
        for name, attention in network.named_modules():
            for part in ("to_k", "to_v") if name.endswith("attn2") else ():
                projection = attention.get_submodule(part)
                assert isinstance(projection, nn.Linear)
                attention.set_submodule(part, _Slice(first, projection.out_features))
                taken.append(projection)
                first += projection.out_features
    return taken


class Way(NamedTuple):
    """The step, and what is computed once for it; None where nothing is."""

    step: Denoiser
    once: Once | None


def ways(bundle: Bundle, networks: Callable[[], Mapping[str, nn.Module]]) -> Iterator[tuple[str, Way]]:
    """Each way of the step, from ``networks``, which it takes over."""
    for name in WAYS:
        parts = networks()
        controlnets = {hint: parts[CONTROLNETS[hint]] for hint in bundle.seats}
        before = Denoiser(parts["unet"], controlnets).eval()
        if name == BEFORE:
            yield name, Way(before, None)
            continue
        step = Step(before.unet, {})
        step.hints, step.controlnets = before.hints, before.controlnets
        projections = take_keys(step) if name == KEYS else []
        yield name, Way(step.eval(), Once(before, projections).eval())


def counted(bundle: Bundle, rows: int) -> dict[str, dict[str, float]]:
    """By way: the operations of one step for one photo at the native size, and of what is computed once; the bytes of
    the step's inputs. ``rows`` of text."""
    found: dict[str, dict[str, float]] = {}
    for name, way in ways(
        bundle, lambda: {part: skeleton(bundle, part) for part in graph_networks(bundle)[GRAPH]}
    ):
        way.step.to("meta")
        inputs = {key: torch.from_numpy(array).to("meta") for key, array in example(bundle, 1, rows).items()}
        once = 0
        if way.once is not None:
            way.once.to("meta")
            once, given = _operations(way.once, {key: inputs[key] for key in ("text", *way.step.hints)})
            inputs |= given
        step, _ = _operations(way.step, inputs)
        found[name] = {
            "step_gflop": step / 1e9,
            "once_gflop": once / 1e9,
            "step_input_megabytes": sum(each.nbytes for each in inputs.values()) / 1e6,
        }
    return found


def _operations(module: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[int, Any]:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outputs = module(**inputs)
    return int(counter.get_total_flops()), outputs


def example(bundle: Bundle, batch: int, rows: int) -> dict[str, np.ndarray]:
    """Inputs of the step as it is, at the native size."""
    sizes = sizes_of(bundle, {name: skeleton(bundle, name) for name in bundle.used})
    spec = Order(graph=GRAPH, bundle=bundle, sizes=sizes).spec
    return spec.example(batch, {"K": rows})


def timed(bundle: Bundle, rows: int, pairs: int, folder: Path) -> dict[str, Any]:
    """The ratios of a step's time, and the largest differences of its outputs, against the step as it is."""
    inputs = example(bundle, 1, rows)
    sessions: dict[str, tuple[onnxruntime.InferenceSession, dict[str, np.ndarray]]] = {}
    for name, way in ways(
        bundle, lambda: {part: load_network(bundle, part) for part in graph_networks(bundle)[GRAPH]}
    ):
        given = {key: torch.from_numpy(array) for key, array in inputs.items()}
        if way.once is not None:
            with torch.no_grad():
                given |= way.once(**{key: given[key] for key in ("text", *way.step.hints)})
        file = folder / f"{name}.onnx"
        program = torch.onnx.export(
            way.step, kwargs=given, dynamo=True, input_names=list(given), opset_version=OPSET, verbose=False
        )
        assert program is not None
        program.save(file)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        sessions[name] = session, {key: each.contiguous().numpy() for key, each in given.items()}
    outputs = {name: session.run(None, feeds) for name, (session, feeds) in sessions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(pairs):
        for name, (session, feeds) in sessions.items():
            begun = time.perf_counter()
            session.run(None, feeds)
            seconds[name].append(time.perf_counter() - begun)
    return {
        name: {
            "step_ratio": median(a / b for a, b in zip(seconds[name], seconds[BEFORE], strict=True)),
            "step_seconds": median(seconds[name]),
            "difference": float(
                max(np.abs(a - b).max() for a, b in zip(outputs[name], outputs[BEFORE], strict=True))
            ),
        }
        for name in sessions
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hoisting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--counted", default="sd15_random", help="the bundle whose operations are counted")
    parser.add_argument("--timed", default="sd15_quarter", help="the bundle whose steps are timed")
    parser.add_argument("--pairs", type=int, default=15, help="how often each step is timed")
    parser.add_argument("--out", type=Path, default=RESULTS / "hoisting.json")
    given = parser.parse_args()
    document = report.circumstances() | {"bundle": given.counted, "timed_bundle": given.timed}
    counts, times = load_bundle(given.counted), load_bundle(given.timed)
    for kind, rows in (("guided", 2), ("plain", 1)):
        with TemporaryDirectory() as folder:
            document[kind] = {
                "counted": counted(counts, rows),
                "timed": timed(times, rows, given.pairs, Path(folder)),
            }
    report.write(given.out, document)
    Console().print(table(document))
    return 0


def table(document: Mapping[str, Any]) -> Table:
    made = Table("step", "computed once", "GFLOP a step", "once", "MB of inputs", "time / before", box=None)
    for kind in ("guided", "plain"):
        for name in WAYS:
            counts, times = document[kind]["counted"][name], document[kind]["timed"][name]
            made.add_row(
                kind,
                NAMES[name],
                f"{counts['step_gflop']:.1f}",
                f"{counts['once_gflop']:.1f}",
                f"{counts['step_input_megabytes']:.2f}",
                f"{times['step_ratio']:.3f}",
            )
    return made


if __name__ == "__main__":
    sys.exit(main())
