"""``make dollhouse``: from nothing to a published release of the bundle ``dollhouse`` and its model card.

    python -m dollhouse                        # everything, as the machine allows
    python -m dollhouse --minutes 20           # less training, in the same proportions
    python -m dollhouse --run .run/more --start export/bundles/dollhouse       # train what is there further

Renders rooms, trains all networks, keeps them in export/bundles/dollhouse, exports them as the next version and writes
the card. Every part is a process with a log in the run's folder. Run it again after it was stopped, in whatever way,
and it goes on. With --start, the autoencoder and the perception networks are taken as they are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dollhouse.train.processes import Part, run_lanes
from dollhouse.train.progress import last_line, last_steps
from export.bundle import NETWORKS, PERCEPTION
from export.publish import live_version
from measuring.machine import usable_cores
from stack.process import StackError
from stack.terminal import Report, ending_on_signals, only_one

ROOT = Path(__file__).parents[1]
RELEASE = ROOT / "releases" / "dollhouse"
RUN = ROOT / ".run" / "dollhouse"
INTERRUPTED = 130

ROOMS = 1024
OTHER_SPLITS = {"held_out": 256, "classifier": 256}
"""Rooms that no network of the bundle learns from; fewer when fewer than that are learnt from."""

GPU_MINUTES = 12.0
"""Of fifteen; the rest is for rendering and export."""


@dataclass(frozen=True)
class Machine:
    """What trains. On a CPU the autoencoder and what sees are trained side by side, each on half of the cores; on a GPU
    one after the other. What restyles has the whole machine afterwards."""

    gpu: bool
    cores: int

    @property
    def threads(self) -> int:
        """Of one process."""
        return self.cores if self.gpu else max(1, self.cores // 2)


@dataclass(frozen=True)
class TrainingRun:
    """What is asked for."""

    run: Path
    data: Path
    rooms: int
    side: int
    minutes: float | None
    export: bool
    start: Path | None = None
    """The folder of networks to begin with."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 = done, 1 = a part failed, 2 = wrong usage, 130 = interrupted."""
    order = parse(arguments)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{(time.monotonic() - began) / 60.0:5.1f} min] {line}", flush=True)

    try:
        with (
            ending_on_signals(),
            only_one(order.run, f"another training runs in {order.run}: wait for it, or stop it"),
        ):
            make(order, say)
    except ModuleNotFoundError as error:
        print(
            f"training needs {error.name}: run `make dollhouse`, or pip install '.[export]'", file=sys.stderr
        )
        return 2
    except StackError as error:
        say(str(error))
        say("what was done is kept: run it again and it goes on")
        return 1
    except KeyboardInterrupt:
        say("interrupted: run it again and it goes on")
        return INTERRUPTED
    return 0


def parse(arguments: list[str] | None) -> TrainingRun:
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
    return TrainingRun(run, data, given.rooms, given.side, given.minutes, not given.skip_export, start)


def make(order: TrainingRun, say: Report) -> None:
    """Everything, stage by stage. Raises StackError."""
    # These import torch, which takes seconds: wrong usage has been reported before.
    from dollhouse.train.loop import pick_device

    from .evaluate import facts
    from .train import weights

    machine = Machine(pick_device().type == "cuda", usable_cores())
    facts.note_machine(order.run)
    run_lanes([render_parts(order, machine)], {"OMP_NUM_THREADS": "1"}, say)
    start = weights.begin(order.run, order.start)
    if order.start and start is None:
        say(f"{order.run} began without --start, and goes on so")
    taken = () if start is None else weights.take_perception(start, order.run)
    for lanes in training_stages(replace(order, start=start), machine, taken):
        run_lanes(lanes, {"OMP_NUM_THREADS": str(machine.threads)}, say)
    if not order.export:
        say(f"networks in {order.run / 'networks'}")
        return
    run_lanes([[_part(order, "keep", _module("train.weights", run=order.run))]], {}, say)
    version = live_version(RELEASE)
    if facts.released_weights(RELEASE) != weights.digests(order.run / "networks"):
        version = facts.next_version(RELEASE)
        run_lanes([[_part(order, "export", ["export", "dollhouse", "--version", str(version)])]], {}, say)
    run_lanes([[_part(order, "pack", ["export.kept", "dollhouse"])]], {}, say)
    run_lanes([[_part(order, "card", _module("evaluate.card", run=order.run, data=order.data))]], {}, say)
    say(f"dollhouse-{version} is in {RELEASE}, described by its MODEL_CARD.md")


def render_parts(order: TrainingRun, machine: Machine) -> list[Part]:
    """One for each split."""
    splits = {name: min(order.rooms, rooms) for name, rooms in OTHER_SPLITS.items()} | {"train": order.rooms}
    # A GPU renders many rooms at once, a core one.
    processes = 1 if machine.gpu else machine.cores
    return [
        _part(
            order,
            f"render-{split}",
            _module(
                "data.dataset",
                folder=order.data,
                split=split,
                rooms=rooms,
                side=order.side,
                processes=processes,
            ),
        )
        for split, rooms in splits.items()
    ]


def training_stages(
    order: TrainingRun, machine: Machine, taken: Collection[str] = ()
) -> list[list[list[Part]]]:
    """Lanes, stage by stage: first the autoencoder beside the perception networks, then what restyles, which learns
    from what the depth model sees; of the perception networks, those ``taken`` are ready.

    With a start there is no autoencoder to train, and the classifier, which only the benchmark uses, is trained first.
    """
    from .train import perception, presets

    restyling, perceiving = (presets.CUDA, perception.CUDA) if machine.gpu else (presets.CPU, perception.CPU)
    perception_minutes = {name: minutes for name, minutes in perceiving.minutes.items() if name not in taken}
    first = 0.0 if order.start else restyling.autoencoder_minutes
    second = restyling.diffusion_minutes + (restyling.autoencoder_minutes if order.start else 0.0)
    beside = sum(perception_minutes.values())
    usual = second + (first + beside if machine.gpu else max(first, beside))
    given = GPU_MINUTES if machine.gpu else usual
    share = (given if order.minutes is None else order.minutes) / usual
    places: dict[str, object] = {"data": order.data, "run": order.run}
    begins = {"start": order.start} if order.start else {}

    def restyle(part: str, minutes: float, threads: int) -> Part:
        options = {"rooms": order.rooms, "minutes": share * minutes, "threads": threads, "only": part}
        module = _module("train.restyling", **places, **begins, **options)
        return _part(order, part, module, {part: share * minutes})

    others = [
        _part(
            order,
            name,
            _module("train.perception", **places, only=name, minutes=share * minutes),
            {name: share * minutes},
        )
        for name, minutes in perception_minutes.items()
    ]
    autoencoder = restyle("autoencoder", first, machine.threads)
    diffusion = restyle("diffusion", second, machine.cores)
    beginning = [[autoencoder, *others]] if machine.gpu else [[autoencoder], others]
    return [beginning, [[diffusion]]]


def _module(name: str, **options: object) -> list[str]:
    """A module of this package and its options, as ``python -m`` takes them."""
    values = {
        key: f"{value:.4f}" if isinstance(value, float) else str(value) for key, value in options.items()
    }
    return [f"{__package__}.{name}", *(word for key, value in values.items() for word in (f"--{key}", value))]


def _part(
    order: TrainingRun, name: str, module: list[str], minutes: Mapping[str, float] | None = None
) -> Part:
    """``minutes``: those of each folder that it trains in; without any, its output tells how far it is."""
    log = order.run / f"{name}.log"
    progress = partial(last_steps, order.run, minutes) if minutes else partial(last_line, log)
    return Part(name, [sys.executable, "-m", *module], log, progress)


if __name__ == "__main__":
    sys.exit(main())
