"""NVIDIA's perf_analyzer on every model of the repository, `restyle` included.

    python -m benchmarks.perf                                # dollhouse, into results/perf_analyzer.json
    python -m benchmarks.perf --model denoiser --jobs 1 --jobs 8 --out denoiser.json
    python -m benchmarks.perf --inputs FOLDER                # only the input files and the commands, nothing is run

perf_analyzer is the one in tritonclient 2.50.0, which ``make .perf`` installs into .perf; two libraries that it
needs are those of the wheel in .triton. Where the system has it and them (NVIDIA's SDK container), --perf-analyzer
names it.

With --inputs, FOLDER gets a <model>.json for each model (its inputs, see benchmarks.perf_inputs), lib/ with links to
those two libraries, and commands.txt with a command line for each model, as it is printed too. They run as they stand,
in any folder, against any server of that bundle at --url, which is where `make up` has its first Triton:

    LD_LIBRARY_PATH=FOLDER/lib .perf/bin/perf_analyzer -m denoiser -x 1 -i grpc -u 127.0.0.1:8001 \\
        --input-data FOLDER/denoiser.json --concurrency-range 4 --request-count 100

`restyle` answers one request with many responses and so takes --async --streaming. perf_analyzer itself counts the
time to the *first* response there, and rounds the length of a short measurement up to seconds. So the figures here
are from its profile export (--profile-export-file): latency from a request to its last response, throughput by the
time between them. It asks for all outputs, also for the picture before rounding (``image_exact``, four times the
picture), which the client never does.

Each model is first warmed with the same number of jobs, which also measures how many requests fill --seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from benchmarks.perf_inputs import specs, write_inputs
from benchmarks.perf_program import PerfError, find_perf_analyzer
from export.spec import ModelSpec
from measuring import report
from measuring.figures import percentile
from measuring.releases import Release, ready_release
from measuring.serving import served

JOBS = (1, 4)
FEWEST, MOST = 8, 2000
"""Requests of a measurement."""
MEMORY, EXPANSION = 2e9, 18
"""Bytes that perf_analyzer may take. It keeps every tensor of every request for its profile export, and while it writes
that holds 18 times what comes out: 1.5 GB for 100 requests of a small picture."""
LIMIT = 600.0
"""Seconds that one perf_analyzer may take."""


@dataclass(frozen=True)
class Timed:
    """Requests of one measurement, in the order in which they were sent; times in seconds."""

    starts: list[float]
    ends: list[float]
    """Times of the last responses."""
    firsts: list[float]
    """Times of the first responses."""
    exported: int
    """Bytes of the profile export."""

    @property
    def latencies(self) -> list[float]:
        return [end - start for start, end in zip(self.starts, self.ends, strict=True)]

    @property
    def first_latencies(self) -> list[float]:
        return [first - start for start, first in zip(self.starts, self.firsts, strict=True)]

    @property
    def throughput(self) -> float:
        """Requests a second."""
        return len(self.starts) / (max(self.ends) - min(self.starts))


def read_profile(text: str) -> Timed:
    """A profile export of one experiment. Raises PerfError when a request has no response."""
    (experiment,) = json.loads(text)["experiments"]
    requests = sorted(experiment["requests"], key=lambda request: request["timestamp"])
    if not requests or not all(request["response_timestamps"] for request in requests):
        raise PerfError("perf_analyzer had requests without a response: the server's log has more")
    return Timed(
        [request["timestamp"] / 1e9 for request in requests],
        [max(request["response_timestamps"]) / 1e9 for request in requests],
        [min(request["response_timestamps"]) / 1e9 for request in requests],
        len(text),
    )


def arguments(
    spec: ModelSpec, release: Release, inputs: Path, url: str, jobs: int, requests: int
) -> list[str]:
    """perf_analyzer's for one model, ``jobs`` requests at once and ``requests`` in all."""
    facts = release.facts["models"].get(spec.name)
    return [
        *("-m", spec.name),
        # What restyle calls: the release's own version, which need not be the newest.
        *(("-x", str(facts["version"])) if facts else ()),
        *("-i", "grpc", "-u", url),
        *(("--async", "--streaming") if spec.decoupled else ()),
        *("--input-data", str(inputs)),
        *("--concurrency-range", str(jobs), "--request-count", str(requests)),
    ]


@dataclass(frozen=True)
class Analyzer:
    """perf_analyzer against a running server."""

    program: Path
    env: Mapping[str, str]
    """Added to our own."""
    url: str
    release: Release
    inputs: Mapping[str, Path]
    folder: Path
    """For profile exports."""

    def run(self, spec: ModelSpec, jobs: int, requests: int) -> Timed:
        """Raises PerfError, with the program's output, when it fails."""
        export = self.folder / f"{spec.name}.profile.json"
        export.unlink(missing_ok=True)  # it would be refused
        given = arguments(spec, self.release, self.inputs[spec.name], self.url, jobs, requests)
        given += ["--profile-export-file", str(export)]
        done = subprocess.run(
            [self.program, *given],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if done.returncode:
            output = (done.stdout + done.stderr).strip().splitlines()
            raise PerfError(
                "\n    ".join(
                    [f"perf_analyzer ended with status {done.returncode} on {spec.name}:", *output[:20]]
                )
            )
        return read_profile(export.read_text())

    def measure(self, spec: ModelSpec, jobs: int, seconds: float) -> dict[str, float]:
        """Figures of one model with ``jobs`` requests at once, for about ``seconds``, after a warm-up."""
        warm = self.run(spec, jobs, 2 * jobs)
        fitting = MEMORY / (EXPANSION * warm.exported / len(warm.starts))
        requests = round(min(MOST, max(FEWEST, 2 * jobs, min(fitting, seconds * warm.throughput))))
        timed = self.run(spec, jobs, requests)
        figures = {
            "throughput": timed.throughput,
            "latency_mean": mean(timed.latencies),
            "latency_p50": percentile(timed.latencies, 50),
            "latency_p95": percentile(timed.latencies, 95),
            "requests": len(timed.starts),
        }
        return figures | (
            {"first_response_p50": percentile(timed.first_latencies, 50)} if spec.decoupled else {}
        )


def measure(
    release: Release, models: Sequence[str], jobs: Sequence[int], seconds: float, program: Path | None
) -> dict[str, Any]:
    """Everything that goes into the JSON."""
    around = report.circumstances()
    found: dict[str, dict[str, dict[str, float]]] = {}
    with TemporaryDirectory(prefix="reroom-perf-") as name:
        folder = Path(name)
        program, env = find_perf_analyzer(program, folder)
        inputs = write_inputs(release, folder)
        with served(release) as server:
            analyzer = Analyzer(program, env, server.grpc, release, inputs, folder)
            for model in models:
                spec = specs(release)[model]
                found[model] = {str(count): analyzer.measure(spec, count, seconds) for count in jobs}
                rates = ", ".join(f"{each['throughput']:.2f}" for each in found[model].values())
                print(f"{model}: {rates} a second", flush=True)
    return {
        "models": found,
        "jobs": list(jobs),
        **release.described,
        **around,
    }


def write_commands(
    release: Release,
    models: Sequence[str],
    folder: Path,
    url: str,
    jobs: Sequence[int],
    requests: int,
    program: Path | None,
) -> Path:
    """Input files, libraries and commands.txt for people; returns the latter. Raises PerfError."""
    folder = folder.resolve()
    libraries = folder / "lib"
    libraries.mkdir(parents=True, exist_ok=True)
    program, env = find_perf_analyzer(program, libraries)
    inputs = write_inputs(release, folder)
    begin = [*(f"{name}={shlex.quote(value)}" for name, value in env.items()), shlex.quote(str(program))]
    lines = []
    for model in models:
        for count in jobs:
            # perf_analyzer wants a request for each that runs at once.
            given = arguments(specs(release)[model], release, inputs[model], url, count, max(requests, count))
            lines.append(" ".join([*begin, shlex.join(given)]))
    commands = folder / "commands.txt"
    commands.write_text("\n".join(lines) + "\n")
    return commands


def table(document: dict[str, Any]) -> Table:
    made = Table(
        "model", "jobs at once", "per second", "mean, ms", "p50, ms", "p95, ms", "requests", box=None
    )
    for column in made.columns[1:]:
        column.justify = "right"
    for model, levels in document["models"].items():
        for jobs, figures in levels.items():
            times = [f"{figures[f'latency_{name}'] * 1e3:.1f}" for name in ("mean", "p50", "p95")]
            made.add_row(model, jobs, f"{figures['throughput']:.2f}", *times, str(figures["requests"]))
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.perf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="the bundle to serve (dollhouse)")
    parser.add_argument("--model", action="append", help="may be repeated (every model)")
    parser.add_argument(
        "--jobs", type=int, action="append", help="requests at once; may be repeated (1 and 4)"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement, about (4)")
    parser.add_argument("--inputs", type=Path, metavar="FOLDER", help="write input files and commands only")
    parser.add_argument(
        "--url", default="127.0.0.1:8001", help="of the server that the commands of --inputs name"
    )
    parser.add_argument(
        "--requests", type=int, default=100, help="of each command of --inputs, at least one a job (100)"
    )
    parser.add_argument("--perf-analyzer", type=Path, help="another one than that in .perf, by path or name")
    parser.add_argument("--out", type=Path, default=RESULTS / "perf_analyzer.json")
    given = parser.parse_args()
    release, console = ready_release(given.bundle), Console()
    models, jobs = given.model or list(specs(release)), given.jobs or JOBS
    if unknown := set(models) - specs(release).keys():
        parser.error(
            f"there is no model {', '.join(sorted(unknown))}; there are: {', '.join(specs(release))}"
        )
    try:
        if given.inputs:
            commands = write_commands(
                release, models, given.inputs, given.url, jobs, given.requests, given.perf_analyzer
            )
            print(commands.read_text(), end="")
            return 0
        document = measure(release, models, jobs, given.seconds, given.perf_analyzer)
    except PerfError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report.write(given.out, document)
    console.print(table(document))
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
