"""The solver's table of a bundle's or a release's settings, as `restyle` makes it."""

from __future__ import annotations

from export.sampling import Defaults, Schedule
from restyle.solver import Table, alphas_cumprod, solver_table


def table_of(kind: Defaults, schedule: Schedule) -> Table:
    """The table of one kind of pictures."""
    return solver_table(
        kind.solver,
        kind.steps,
        kind.strength,
        alphas_cumprod(schedule.beta_start, schedule.beta_end, schedule.train_steps),
        schedule.prediction,
        spacing=kind.spacing or schedule.spacing,
        grid=kind.grid,
        start_noise=kind.start_noise,
    )
