"""Whether TensorRT can read and compile every graph of a release: ``python -m export.proofs.tensorrt RELEASE``.

It proves four things of a graph: that the parser knows its operators, that its types fit strong typing, that its axes
can have the ranges of the release's buckets and batches, and that it compiles for the GPUs named. **It proves nothing
about numbers**: that takes a GPU, and the same version of TensorRT as will serve there.

Each graph is compiled in a process of its own, which gives the memory back and may crash.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from export.graphs.tensorrt import RTX, Compiler
from export.releases.folder import live_document
from export.releases.specs import graph_file, release_specs
from export.spec import ModelSpec

CAPABILITIES = {"fp16": (75, 80, 86, 89), "fp32": (80, 86, 89)}
"""By a graph's precision: T4, A100, A10, L4. The library compiles no FP32 matrix product for 75, TensorRT does."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What TensorRT says to one graph."""

    graph: str
    capabilities: tuple[int, ...]
    refused: tuple[int, ...]
    """Those of ``capabilities`` for which it could not be built; all of them when it could not be parsed."""
    parsed: bool
    seconds: float
    engine_bytes: int
    peak_bytes: int
    """The most memory that parsing and building took."""
    error: str = ""


def check_graph(path: Path, spec: ModelSpec, capabilities: tuple[int, ...]) -> Verdict:
    """Compile the graph ``path`` once for all of ``capabilities``, which takes as long as for one of them; when that
    fails, for each of them, to tell which."""
    whole = Compiler(RTX, capabilities).compile(path, spec)
    refused: tuple[int, ...] = ()
    if not whole.built:
        alone = len(capabilities) > 1 and whole.parsed
        refused = tuple(
            capability
            for capability in capabilities
            if not alone or not Compiler(RTX, (capability,)).compile(path, spec).built
        )
        # Together they fail, each alone does not: still a failure.
        refused = refused or capabilities
    return Verdict(
        graph=spec.name,
        capabilities=capabilities,
        refused=refused,
        parsed=whole.parsed,
        seconds=whole.seconds,
        engine_bytes=whole.engine_bytes,
        peak_bytes=whole.peak_bytes,
        error=whole.error,
    )


def check_release(release: Path, capabilities: tuple[int, ...] = ()) -> Iterator[Verdict]:
    """The verdict on each graph of the live version of ``release``, as soon as it is known.

    Without ``capabilities`` those that belong to the graph's precision. Raises FileNotFoundError when there is no
    release, ValueError for a capability that the library does not know.
    """
    document = msgspec.json.decode(live_document(release).read_bytes())
    specs = release_specs(document)
    for name, facts in document["models"].items():
        path = graph_file(release, document, name)
        yield check_graph(path, specs[name], capabilities or CAPABILITIES[facts.get("precision", "fp32")])


def main(arguments: list[str] | None = None) -> int:
    """Print a row per graph; returns the exit code: 0 all compile, 1 some do not, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m export.proofs.tensorrt",
        description="Whether TensorRT can read and compile a release's graphs. Numbers are not compared.",
    )
    parser.add_argument("release", type=Path, help="a folder such as releases/tiny")
    parser.add_argument(
        "--capability",
        type=int,
        action="append",
        metavar="75",
        help="compute capability to compile for, again for more (default: those of each graph's precision)",
    )
    options = parser.parse_args(arguments)
    if importlib.util.find_spec(RTX) is None:
        print(f"this needs {RTX}: pip install '.[export,tensorrt]'", file=sys.stderr)
        return 2
    verdicts = []
    try:
        for verdict in check_release(options.release, tuple(options.capability or ())):
            verdicts.append(verdict)
            print(f"{verdict.graph} … {verdict.seconds:.1f} s", file=sys.stderr)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    Console(width=None if sys.stdout.isatty() else 110).print(table(verdicts))
    return int(any(verdict.refused for verdict in verdicts))


def table(verdicts: list[Verdict]) -> Table:
    """The verdicts, a row per graph."""
    found = Table("graph", "compiles for", "refused for", "seconds", "engine", "memory", "why not")
    for verdict in verdicts:
        fits = [capability for capability in verdict.capabilities if capability not in verdict.refused]
        found.add_row(
            verdict.graph,
            " ".join(map(str, fits)),
            " ".join(map(str, verdict.refused)),
            f"{verdict.seconds:.1f}",
            f"{verdict.engine_bytes / 1e6:.1f} MB",
            f"{verdict.peak_bytes / 1e6:.0f} MB",
            verdict.error,
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
