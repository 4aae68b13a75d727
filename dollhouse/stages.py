"""The stages of ``python -m dollhouse``: which processes train what, side by side or in turn, and for how long."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dollhouse.train.processes import Part
from dollhouse.train.progress import last_line, last_steps

OTHER_SPLITS = {"held_out": 256, "classifier": 256}
"""Rooms of the splits that no network of the bundle learns from: never more than are rendered for training."""

GPU_MINUTES = 12.0
"""Minutes of training out of fifteen on a GPU; rendering and export take the others."""


@dataclass(frozen=True)
class Machine:
    """The machine that trains.

    A CPU trains the autoencoder and the perception networks side by side, each on half of its cores; a GPU trains one
    network after the other. The denoisers have the whole machine afterwards.
    """

    gpu: bool
    cores: int

    @property
    def threads(self) -> int:
        """Threads of one process while several run."""
        return self.cores if self.gpu else max(1, self.cores // 2)


@dataclass(frozen=True)
class TrainingOptions:
    """The options of the command line."""

    run: Path
    data: Path
    rooms: int
    side: int
    minutes: float | None
    """None = the usual time of the machine."""
    export: bool
    start: Path | None = None
    """The folder of networks to begin with; None = random ones."""


def render_parts(options: TrainingOptions, machine: Machine) -> list[Part]:
    """A part for each split."""
    splits = {name: min(options.rooms, rooms) for name, rooms in OTHER_SPLITS.items()} | {
        "train": options.rooms
    }
    # A GPU renders many rooms at once, a core one.
    processes = 1 if machine.gpu else machine.cores
    return [
        part(
            options,
            f"render-{split}",
            module(
                "data.dataset",
                folder=options.data,
                split=split,
                rooms=rooms,
                side=options.side,
                processes=processes,
            ),
        )
        for split, rooms in splits.items()
    ]


def training_stages(
    options: TrainingOptions, machine: Machine, taken: Collection[str] = ()
) -> list[list[list[Part]]]:
    """Lanes, stage by stage: first the autoencoder beside the perception networks, then the denoisers, which learn from
    the depth model's answers. ``taken``: perception networks that are trained already.

    With ``options.start`` the autoencoder is trained already too, and the denoisers get its time.
    """
    from .train import perception, presets

    restyling, perceiving = (presets.CUDA, perception.CUDA) if machine.gpu else (presets.CPU, perception.CPU)
    perception_minutes = {name: minutes for name, minutes in perceiving.minutes.items() if name not in taken}
    first = 0.0 if options.start else restyling.autoencoder_minutes
    second = restyling.diffusion_minutes + (restyling.autoencoder_minutes if options.start else 0.0)
    beside = sum(perception_minutes.values())
    usual = second + (first + beside if machine.gpu else max(first, beside))
    given = GPU_MINUTES if machine.gpu else usual
    share = (given if options.minutes is None else options.minutes) / usual
    places: dict[str, object] = {"data": options.data, "run": options.run}
    begins = {"start": options.start} if options.start else {}

    def restyle(name: str, minutes: float, threads: int) -> Part:
        arguments = {"rooms": options.rooms, "minutes": share * minutes, "threads": threads, "only": name}
        command = module("train.restyling", **places, **begins, **arguments)
        return part(options, name, command, {name: share * minutes})

    others = [
        part(
            options,
            name,
            module("train.perception", **places, only=name, minutes=share * minutes),
            {name: share * minutes},
        )
        for name, minutes in perception_minutes.items()
    ]
    autoencoder = restyle("autoencoder", first, machine.threads)
    diffusion = restyle("diffusion", second, machine.cores)
    beginning = [[autoencoder, *others]] if machine.gpu else [[autoencoder], others]
    return [beginning, [[diffusion]]]


def module(name: str, **arguments: object) -> list[str]:
    """A module of this package and its options, as arguments of ``python -m``."""
    values = {
        key: f"{value:.4f}" if isinstance(value, float) else str(value) for key, value in arguments.items()
    }
    return [f"{__package__}.{name}", *(word for key, value in values.items() for word in (f"--{key}", value))]


def part(
    options: TrainingOptions, name: str, module: list[str], minutes: Mapping[str, float] | None = None
) -> Part:
    """A process that runs ``module``, with a log in the run's folder.

    ``minutes``: by the network's folder, how long it is trained; its log.jsonl shows the progress. Without them the
    last line of the output does.
    """
    log = options.run / f"{name}.log"
    progress = partial(last_steps, options.run, minutes) if minutes else partial(last_line, log)
    return Part(name, [sys.executable, "-m", *module], log, progress)
