"""Restyle several photos at once: submit, watch, save. One that fails does not stop the others."""

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
from reroom._cli.common import (
    FAILED,
    OK,
    Error,
    error_data,
    error_message,
    exit_code,
    print_stderr,
    print_warnings,
    stderr,
)
from reroom._cli.display import Display
from reroom._cli.outputs import STDOUT, is_stdout, write_stdout
from reroom._http import RetryPolicy
from reroom.models import JobResult, JobStatus, Preferences, Submitted

CANCEL_SECONDS, ANSWER_SECONDS = 5.0, 2.0
"""Limits after Ctrl-C: for cancelling a job, and for the answer to a submission that was under way."""


@dataclass(frozen=True)
class PhotoJob:
    """A photo to restyle ``variations`` times in each of ``styles``, and where to save the results, by style and
    then by variation; None = do not wait for them."""

    photo: Path
    styles: tuple[str, ...]
    variations: int
    outputs: tuple[str, ...] | None

    @property
    def files(self) -> dict[tuple[str, int], str]:
        """The outputs by style and variation."""
        pictures = [(style, number) for style in self.styles for number in range(1, self.variations + 1)]
        return dict(zip(pictures, self.outputs or (), strict=True))


@dataclass(frozen=True)
class Outcome:
    """How a photo's job ended: the job, or an error."""

    photo_job: PhotoJob
    job: Submitted | JobStatus | None = None
    error: Error | None = None

    @property
    def code(self) -> int:
        return OK if self.error is None else exit_code(self.error)

    def data(self) -> dict[str, Any]:
        """For ``--json``."""
        data: dict[str, Any] = {"photo": str(self.photo_job.photo)}
        if self.error is not None:
            return error_data(error_message(self.error), self.code, self.error) | data
        outputs = self.photo_job.outputs
        if outputs is not None:
            data |= {"output": outputs[0]} if len(outputs) == 1 else {"outputs": outputs}
        return {"success": True, **data, "data": self.job}


def common_exit_code(outcomes: Sequence[Outcome]) -> int:
    """The exit code for all photos together, as EXIT_CODES describes it."""
    codes = {outcome.code for outcome in outcomes} - {OK}
    return OK if not codes else codes.pop() if len(codes) == 1 else FAILED


class Batch:
    """Runs the jobs of photos, ``at_once`` of them at a time.

    ``display_for`` makes the display for a label, which is the photo's name when there are several. With ``quiet`` the
    results' paths are not printed on stdout.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        preferences: Preferences,
        *,
        keep_mask: Path | None = None,
        reference: Path | None = None,
        timeout: float | None,
        at_once: int,
        display_for: Callable[[str], Display],
        quiet: bool,
    ) -> None:
        self._url, self._api_key = url, api_key
        self._preferences, self._timeout = preferences, timeout
        self._keep_mask, self._reference = keep_mask, reference
        self._slots = asyncio.Semaphore(at_once)
        self._display_for, self._quiet = display_for, quiet

    async def run(self, photo_jobs: Sequence[PhotoJob]) -> list[Outcome]:
        """Run all the jobs; when this task is cancelled, the jobs that it waits for are cancelled too."""
        several = len(photo_jobs) > 1
        async with AsyncClient(self._url, api_key=self._api_key) as client, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._run_one(client, each, f"{each.photo}: " if several else ""))
                for each in photo_jobs
            ]
        return [task.result() for task in tasks]

    async def _run_one(self, client: AsyncClient, photo_job: PhotoJob, label: str) -> Outcome:
        async with self._slots:
            try:
                return Outcome(photo_job, await self._restyle(client, photo_job, label))
            except (errors.ReroomError, OSError) as error:
                print_stderr(f"reroom: {label}{error_message(error)}")
                return Outcome(photo_job, error=error)

    async def _restyle(self, client: AsyncClient, photo_job: PhotoJob, label: str) -> Submitted | JobStatus:
        job = await self._submit(client, photo_job)
        if photo_job.outputs is None:
            self._print(job.job_id)
            return job
        print_stderr(f"{label}job {job.job_id}")
        try:
            show = self._display_for(label).show
            done = await client.wait(job, after="0", timeout=self._timeout, on_event=show)
        except asyncio.CancelledError:
            await cancel_after_interrupt(self._url, self._api_key, job.job_id)
            raise
        print_warnings(done, label)
        if done.children:
            await self._save_children(client, done, photo_job, label)
        else:
            assert done.result is not None, "a completed job has a result"
            await self._save(client, done.result, photo_job.outputs[0])
        return done

    async def _submit(self, client: AsyncClient, photo_job: PhotoJob) -> Submitted:
        submitting = asyncio.ensure_future(
            client.submit(
                photo_job.photo,
                photo_job.styles[0],
                self._preferences,
                keep_mask=self._keep_mask,
                reference=self._reference,
                styles=photo_job.styles if len(photo_job.styles) > 1 else (),
                variations=photo_job.variations,
            )
        )
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # The service may have created the job already. Its id, needed to cancel it, is in the answer.
            with suppress(errors.ReroomError, OSError, TimeoutError):
                job = await asyncio.wait_for(submitting, ANSWER_SECONDS)
                await cancel_after_interrupt(self._url, self._api_key, job.job_id)
            raise

    async def _save_children(
        self, client: AsyncClient, done: JobStatus, photo_job: PhotoJob, label: str
    ) -> None:
        """Save what was completed. Raises the first error when something was not, or could not be saved."""
        broken: list[errors.ReroomError | OSError] = []
        for child in done.children:
            try:
                if child.error is not None:
                    raise errors.JobFailed(child.job_id, child.error.code, child.error.detail)
                if child.result is None:
                    raise errors.JobCancelled(child.job_id)
                await self._save(client, child.result, photo_job.files[child.style, child.variation])
            except (errors.ReroomError, OSError) as error:
                print_stderr(
                    f"reroom: {label}{child.style}, variation {child.variation}: {error_message(error)}"
                )
                broken.append(error)
        if broken:
            raise broken[0]

    async def _save(self, client: AsyncClient, result: JobResult, output: str) -> None:
        if output == STDOUT:
            write_stdout(await client.picture(result.transformed_url))
        else:
            await client.download(result.url_for(output), output)
            if not is_stdout(output):
                self._print(output)

    def _print(self, line: str) -> None:
        if self._quiet:
            return
        if sys.stdout.isatty() and stderr.is_terminal:
            # Both are the same terminal: print above the progress bars, not through them.
            print_stderr(line)
        else:
            click.echo(line)


async def cancel_after_interrupt(url: str, api_key: str | None, job: str) -> None:
    """Cancel a job after Ctrl-C, without retries, by a new client: the old one's connections may be in any state."""
    try:
        once = RetryPolicy(attempts=1)
        async with AsyncClient(url, api_key=api_key, timeout=CANCEL_SECONDS, retry=once) as client:
            await client.cancel(job)
    except errors.Conflict:
        print_stderr(f"reroom: job {job} had ended already")
    except errors.ReroomError as error:
        print_stderr(f"reroom: job {job} may go on: {error}")
    else:
        print_stderr(f"reroom: cancelled job {job}")
