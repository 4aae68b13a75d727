"""``make dollhouse``: from nothing to a published release of the bundle ``dollhouse`` and its model card.

    python -m dollhouse                        # everything, as the machine allows
    python -m dollhouse --minutes 20           # less training, in the same proportions
    python -m dollhouse --run .run/more --start export/bundles/dollhouse       # train these networks further

It renders rooms, trains all networks, keeps them in export/bundles/dollhouse, exports them as the next version and
writes the card. Every part is a process with a log in the run's folder. After a stop of any kind, the same command
continues the run. With --start, the autoencoder and the perception networks are not trained again.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from dollhouse.stages import (
    GPU_MINUTES,
    Machine,
    TrainingOptions,
    module,
    part,
    render_parts,
    training_stages,
)
from dollhouse.train.processes import run_lanes
from export.bundle import NETWORKS, PERCEPTION
from export.releases.folder import live_version
from measuring.machine import usable_cores
from stack.process import StackError
from stack.terminal import Report, ending_on_signals, only_one

ROOT = Path(__file__).parents[1]
RELEASE = ROOT / "releases" / "dollhouse"
RUN = ROOT / ".run" / "dollhouse"
INTERRUPTED = 130

ROOMS = 1024


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 = done, 1 = a part failed, 2 = wrong usage, 130 = interrupted."""
    options = parse(arguments)
    began = time.monotonic()

    def report(line: str) -> None:
        print(f"[{(time.monotonic() - began) / 60.0:5.1f} min] {line}", flush=True)

    try:
        taken = f"another training runs in {options.run}: wait for it, or stop it"
        with ending_on_signals(), only_one(options.run, taken):
            make(options, report)
    except ModuleNotFoundError as error:
        print(
            f"training needs {error.name}: run `make dollhouse`, or pip install '.[export]'", file=sys.stderr
        )
        return 2
    except StackError as error:
        report(str(error))
        report("finished work is kept: run it again and it goes on")
        return 1
    except KeyboardInterrupt:
        report("interrupted: run it again and it goes on")
        return INTERRUPTED
    return 0


def parse(arguments: list[str] | None) -> TrainingOptions:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, help=f"of training (150 on a CPU, {GPU_MINUTES:g} on a GPU)")
    parser.add_argument("--rooms", type=int, default=ROOMS, help=f"to learn from ({ROOMS})")
    parser.add_argument("--side", type=int, default=256, help="of their pictures, in pixels (256)")
    parser.add_argument("--run", type=Path, default=RUN, help="checkpoints, logs, networks (.run/dollhouse)")
    parser.add_argument("--data", type=Path, help="the rooms (RUN/data)")
    parser.add_argument("--start", type=Path, help="networks to begin with, such as export/bundles/dollhouse")
    parser.add_argument("--skip-export", action="store_true", help="stop when the networks are trained")
    given = parser.parse_args(arguments)
    run = given.run.resolve()
    data = given.data.resolve() if given.data else run / "data"
    start = given.start.resolve() if given.start else None
    wanted = [] if start is None else [start / name for name in NETWORKS if name not in PERCEPTION]
    for folder in wanted:
        if not (folder / "config.json").is_file():
            parser.error(f"--start: there is no network in {folder}")
    return TrainingOptions(run, data, given.rooms, given.side, given.minutes, not given.skip_export, start)


def make(options: TrainingOptions, report: Report) -> None:
    """Render, train, keep, export and describe. Raises StackError."""
    # These import torch, which takes seconds: wrong usage is reported before that.
    from dollhouse.train.loop import pick_device

    from .evaluate import facts
    from .train import weights

    machine = Machine(pick_device().type == "cuda", usable_cores())
    facts.note_machine(options.run)
    run_lanes([render_parts(options, machine)], {"OMP_NUM_THREADS": "1"}, report)
    start = weights.begin(options.run, options.start)
    if options.start and start is None:
        report(f"{options.run} began without --start and goes on without it")
    taken = () if start is None else weights.copy_perception(start, options.run)
    for lanes in training_stages(replace(options, start=start), machine, taken):
        run_lanes(lanes, {"OMP_NUM_THREADS": str(machine.threads)}, report)
    if not options.export:
        report(f"networks in {options.run / 'networks'}")
        return
    run_lanes([[part(options, "keep", module("train.weights", run=options.run))]], {}, report)
    version = live_version(RELEASE)
    if facts.released_weights(RELEASE) != weights.digests(options.run / "networks"):
        version = facts.next_version(RELEASE)
        run_lanes(
            [[part(options, "export", ["export", "dollhouse", "--version", str(version), "--promote"])]],
            {},
            report,
        )
    run_lanes([[part(options, "pack", ["export.sources.weights_from_graphs", "dollhouse"])]], {}, report)
    run_lanes(
        [[part(options, "card", module("evaluate.card", run=options.run, data=options.data))]], {}, report
    )
    report(f"dollhouse-{version} is in {RELEASE}, described by its MODEL_CARD.md")


if __name__ == "__main__":
    sys.exit(main())
