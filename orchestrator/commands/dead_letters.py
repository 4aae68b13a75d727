"""``python -m orchestrator dead-letters``: lists, shows, replays and drops jobs that were given up."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from orchestrator.adapters.opening import open_jobs, open_storage
from orchestrator.api.responses.letter_data import letter_answer, letter_data
from orchestrator.services.dead_letters import DeadLetters
from orchestrator.settings import load_settings, load_store_settings

Command = Callable[[DeadLetters, argparse.Namespace], Awaitable[None]]


def add_commands(commands: Any) -> None:
    """Add ``dead-letters`` to the subparsers of a program. Each command's namespace has ``run``, a coroutine
    function."""
    letters = commands.add_parser("dead-letters", help="jobs that were given up")
    actions = letters.add_subparsers(required=True, metavar="ACTION")
    listing = _action(actions, "list", _list, "all of them, the newest first")
    show = _action(actions, "show", _show, "one of them")
    for each in (listing, show):
        each.add_argument("--json", action="store_true", help="answer in JSON, as /admin/dead-letters does")
    replay = _action(
        actions,
        "replay",
        _replay,
        "let it wait again, if its photo is still there; takes the settings of the storage as well",
        with_storage=True,
    )
    drop = _action(actions, "drop", _drop, "forget it, and delete its photo")
    for each in (show, replay, drop):
        each.add_argument("job", help="the job's id, as `dead-letters list` shows it")


def _action(
    actions: Any, name: str, command: Command, help: str, *, with_storage: bool = False
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help)

    async def run(options: argparse.Namespace) -> None:
        async with _opened(with_storage) as dead_letters:
            await command(dead_letters, options)

    parser.set_defaults(run=run)
    return parser


@asynccontextmanager
async def _opened(with_storage: bool) -> AsyncIterator[DeadLetters]:
    if with_storage:
        settings = load_settings()
        async with open_jobs(settings) as store, open_storage(settings) as storage:
            yield DeadLetters(store, storage)
    else:
        async with open_jobs(load_store_settings()) as store:
            yield DeadLetters(store)


async def _list(dead_letters: DeadLetters, options: argparse.Namespace) -> None:
    found = await dead_letters.all()
    if options.json:
        print(msgspec.json.encode([letter_data(each) for each in found]).decode())
    elif not found:
        print("no job was given up")
    for letter in () if options.json else found:
        at = datetime.fromtimestamp(letter.at, UTC).strftime("%Y-%m-%d %H:%M")
        print(f"{letter.job_id}  {at}  {letter.code}  {letter.attempts} attempts")


async def _show(dead_letters: DeadLetters, options: argparse.Namespace) -> None:
    found = letter_answer(await dead_letters.show(options.job))
    if options.json:
        print(msgspec.json.encode(found).decode())
        return
    for name, value in msgspec.structs.asdict(found.data).items():
        print(f"{name}: {value}")
    if found.job is None:
        print("its record has expired")
        return
    for name, value in msgspec.structs.asdict(found.job).items():
        print(f"{name}: {value}")


async def _replay(dead_letters: DeadLetters, options: argparse.Namespace) -> None:
    await dead_letters.replay(options.job)
    print(f"{options.job} waits again")


async def _drop(dead_letters: DeadLetters, options: argparse.Namespace) -> None:
    await dead_letters.drop(options.job)
    print(f"{options.job} is forgotten, and its photo is deleted soon")
