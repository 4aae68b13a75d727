"""Can TensorRT compile every fp16 graph of every bundle, for the GPUs that serve them?

    python -m benchmarks.tensorrt_gate                     # tiny, dollhouse, sd15_quarter; into results/tensorrt.json
    python -m benchmarks.tensorrt_gate tiny --out tiny.json

Each bundle is exported in fp16 into ``build/gate`` and its graphs are compiled for compute capability 7.5 (T4), 8.0
(A100), 8.6 (A10) and 8.9 (L4), with the ranges of its buckets and batches (``export.proofs.tensorrt``). No GPU is
needed, and no number is compared. ``sm75_refused`` counts the graphs that do not compile for a T4. The status is 1 when
any graph is refused.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from benchmarks import RESULTS, ROOT
from export.proofs.tensorrt import Verdict, check_release, table
from measuring import report

BUNDLES = ("tiny", "dollhouse", "sd15_quarter")
FOLDER = ROOT / "build" / "gate"


def exported(bundle: str) -> Path:
    """The release of ``bundle`` in fp16, made anew. Raises CalledProcessError when the export fails."""
    shutil.rmtree(FOLDER / bundle, ignore_errors=True)
    command = [sys.executable, "-m", "export", bundle, "--precision", "fp16", "--releases", str(FOLDER)]
    subprocess.run(command, check=True, cwd=ROOT)
    return FOLDER / bundle


def document(verdicts: dict[str, list[Verdict]]) -> dict[str, Any]:
    """What goes into the JSON, but for the circumstances."""
    every = [verdict for found in verdicts.values() for verdict in found]
    return {
        "graphs": len(every),
        "refused": sum(bool(verdict.refused) for verdict in every),
        "sm75_built": sum(75 in verdict.capabilities and 75 not in verdict.refused for verdict in every),
        "sm75_refused": sum(75 in verdict.refused for verdict in every),
        "bundles": {bundle: msgspec.to_builtins(found) for bundle, found in verdicts.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tensorrt_gate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bundles", nargs="*", default=BUNDLES, metavar="BUNDLE", help=f"({', '.join(BUNDLES)})"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "tensorrt.json")
    given = parser.parse_args()
    around, console = report.circumstances(), Console()
    verdicts: dict[str, list[Verdict]] = {}
    for bundle in given.bundles:
        try:
            verdicts[bundle] = list(check_release(exported(bundle)))
        except subprocess.CalledProcessError as error:
            print(f"{bundle} could not be exported in fp16", file=sys.stderr)
            return error.returncode
        console.print(bundle, table(verdicts[bundle]))
    found = document(verdicts)
    report.write(given.out, found | around)
    console.print(f"{found['graphs']} graphs, {found['refused']} refused; wrote {given.out}")
    return int(found["refused"] > 0)


if __name__ == "__main__":
    sys.exit(main())
