"""Several photos side by side: submit, watch, save; one that fails leaves the others alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from reroom import errors
from reroom._async import AsyncClient
from reroom._cli.common import FAILED, OK, Problem, exit_code, problem, say, sentence, stderr, warn
from reroom._cli.display import Display
from reroom._cli.outputs import STDOUT, is_stdout, write_stdout
from reroom._http import RetryPolicy
from reroom.models import JobStatus, Preferences, Submitted

CANCEL_SECONDS, ANSWER_SECONDS = 5.0, 2.0
"""After Ctrl-C: how long cancelling a job may take, and the answer to a submission that was on its way."""


@dataclass(frozen=True)
class Order:
    """A photo and where its result goes; None = nobody waits for it."""

    photo: Path
    output: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of an order."""

    order: Order
    job: Submitted | JobStatus | None = None
    error: Problem | None = None

    @property
    def code(self) -> int:
        return OK if self.error is None else exit_code(self.error)

    def data(self) -> dict[str, Any]:
        """For ``--json``."""
        told: dict[str, Any] = {"photo": str(self.order.photo)}
        if self.error is not None:
            return problem(sentence(self.error), self.code, self.error) | told
        if self.order.output is not None:
            told["output"] = self.order.output
        return {"success": True, **told, "data": self.job}


def code_of(outcomes: Sequence[Outcome]) -> int:
    """The exit code for all of them, as EXIT_CODES has it."""
    codes = {outcome.code for outcome in outcomes} - {OK}
    return OK if not codes else codes.pop() if len(codes) == 1 else FAILED


class Batch:
    """Runs orders, ``at_once`` of them side by side. What is printed of each begins with its photo, if there are more.

    ``display`` makes the display for a label. With ``quiet`` paths are not printed on stdout.
    """

    def __init__(
        self,
        url: str,
        style: str,
        preferences: Preferences,
        *,
        timeout: float | None,
        at_once: int,
        display: Callable[[str], Display],
        quiet: bool,
    ) -> None:
        self._url, self._style, self._preferences, self._timeout = url, style, preferences, timeout
        self._places = asyncio.Semaphore(at_once)
        self._display, self._quiet = display, quiet

    async def run(self, orders: Sequence[Order]) -> list[Outcome]:
        """What became of each. Cancelled, it cancels the jobs that it waits for."""
        many = len(orders) > 1
        async with AsyncClient(self._url) as client, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._carry_out(client, order, f"{order.photo}: " if many else ""))
                for order in orders
            ]
        return [task.result() for task in tasks]

    async def _carry_out(self, client: AsyncClient, order: Order, label: str) -> Outcome:
        async with self._places:
            try:
                return Outcome(order, await self._restyle(client, order, label))
            except (errors.ReroomError, OSError) as error:
                say(f"reroom: {label}{sentence(error)}")
                return Outcome(order, error=error)

    async def _restyle(self, client: AsyncClient, order: Order, label: str) -> Submitted | JobStatus:
        job = await self._submit(client, order.photo)
        if order.output is None:
            self._print(job.job_id)
            return job
        say(f"{label}job {job.job_id}")
        try:
            show = self._display(label).show
            done = await client.wait(job, after="0", timeout=self._timeout, on_event=show)
        except asyncio.CancelledError:
            await cancel_after_interrupt(self._url, job.job_id)
            raise
        warn(done, label)
        await self._save(client, done, order.output)
        return done

    async def _submit(self, client: AsyncClient, photo: Path) -> Submitted:
        submitting = asyncio.ensure_future(client.submit(photo, self._style, self._preferences))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # The service may have the job already; only its answer has the id to cancel it by.
            with suppress(errors.ReroomError, OSError, TimeoutError):
                job = await asyncio.wait_for(submitting, ANSWER_SECONDS)
                await cancel_after_interrupt(self._url, job.job_id)
            raise

    async def _save(self, client: AsyncClient, done: JobStatus, output: str) -> None:
        assert done.result is not None, "a completed job has a result"
        url = done.result.transformed_url
        if output == STDOUT:
            write_stdout(await client.picture(url))
        else:
            await client.download(url, output)
            if not is_stdout(output):
                self._print(output)

    def _print(self, line: str) -> None:
        if self._quiet:
            return
        if sys.stdout.isatty() and stderr.is_terminal:
            # The same terminal: above the bars, not through them.
            say(line)
        else:
            click.echo(line)


async def cancel_after_interrupt(url: str, job: str) -> None:
    """Ctrl-C: stop the work, with a new client (the old one's connections may be in any state) and little patience."""
    try:
        async with AsyncClient(url, timeout=CANCEL_SECONDS, retry=RetryPolicy(attempts=1)) as client:
            await client.cancel(job)
    except errors.Conflict:
        say(f"reroom: job {job} had ended already")
    except errors.ReroomError as error:
        say(f"reroom: job {job} may go on: {error}")
    else:
        say(f"reroom: cancelled job {job}")
