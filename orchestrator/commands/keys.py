"""``python -m orchestrator keys``: makes, lists, shows, rotates and revokes API keys."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from orchestrator.adapters.redis import open_keys
from orchestrator.api.responses.key_data import key_data
from orchestrator.domain.keys import DEFAULT_PLAN, PLAN, Key, Scope
from orchestrator.domain.plans import PlansError
from orchestrator.services.keys import GRACE_SECONDS, KeyService, MadeKey
from orchestrator.settings import load_store_settings

DEFAULT_SCOPES = (Scope.TRANSFORM, Scope.READ)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Command = Callable[[KeyService, argparse.Namespace], Awaitable[None]]


def add_commands(commands: Any) -> None:
    """Add ``keys`` to the subparsers of a program. Each command's namespace has ``run``, a coroutine function."""
    keys = commands.add_parser("keys", help="API keys: who may call the service")
    actions = keys.add_subparsers(required=True, metavar="ACTION")

    create = _action(actions, "create", _create, "make a key, and print it: it is not shown again")
    create.add_argument(
        "--name", required=True, type=_name, help="for people: which application or person has it"
    )
    scopes = ", ".join(Scope)
    create.add_argument(
        "--scopes",
        type=_scopes,
        default=DEFAULT_SCOPES,
        help=f"what it may do, separated by commas, of {scopes} ({','.join(DEFAULT_SCOPES)})",
    )
    create.add_argument(
        "--plan", type=_plan, default=DEFAULT_PLAN, help=f"the set of its limits ({DEFAULT_PLAN})"
    )
    create.add_argument(
        "--expires", type=_duration, metavar="TIME", help="when it ends, such as 12h or 90d from now (never)"
    )

    _action(actions, "list", _list, "all keys, also those that were revoked or have expired")

    show = _action(actions, "show", _show, "one key")
    rotate = _action(actions, "rotate", _rotate, "give a key a new secret, and print it")
    revoke = _action(actions, "revoke", _revoke, "refuse a key from now on")
    for each in (show, rotate, revoke):
        each.add_argument("id", help="the 16 digits after rr_, as `keys list` shows them")
    rotate.add_argument(
        "--grace",
        type=_duration,
        metavar="TIME",
        default=GRACE_SECONDS,
        help="how long the secret before it lives on, such as 30m or 0s (1d)",
    )


def _action(actions: Any, name: str, command: Command, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help)
    parser.add_argument("--json", action="store_true", help="answer in JSON, as /admin/keys does")

    async def run(options: argparse.Namespace) -> None:
        settings = load_store_settings()
        async with open_keys(settings.redis_url, settings.redis_prefix) as store:
            await command(KeyService(store), options)

    parser.set_defaults(run=run)
    return parser


async def _create(keys: KeyService, options: argparse.Namespace) -> None:
    plans = load_store_settings().plans.by_name
    if options.plan not in plans:
        raise PlansError(f"there is no plan {options.plan}, only {', '.join(plans)}: see REROOM_KEY_PLANS")
    expires = None if options.expires is None else time.time() + options.expires
    made = await keys.create(options.name, options.scopes, plan=options.plan, expires=expires)
    _print_made(made, options)


async def _list(keys: KeyService, options: argparse.Namespace) -> None:
    _print(await keys.all(), options)


async def _show(keys: KeyService, options: argparse.Namespace) -> None:
    _print([await keys.get(options.id)], options)


async def _rotate(keys: KeyService, options: argparse.Namespace) -> None:
    _print_made(await keys.rotate(options.id, options.grace), options)


async def _revoke(keys: KeyService, options: argparse.Namespace) -> None:
    _print([await keys.revoke(options.id)], options)


def _print_made(made: MadeKey, options: argparse.Namespace) -> None:
    if options.json:
        print(msgspec.json.encode({"key": made.text, "data": key_data(made.key)}).decode())
        return
    print(made.text)
    _print([made.key], options)


def _print(keys: Iterable[Key], options: argparse.Namespace) -> None:
    if options.json:
        print(msgspec.json.encode([key_data(key) for key in keys]).decode())
        return
    rows = [_row(key) for key in keys]
    if not rows:
        print("there are no keys: make one with `python -m orchestrator keys create --name NAME`")
        return
    rows.insert(0, ("id", "name", "scopes", "plan", "made", "last used", "state"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(key: Key) -> tuple[str, ...]:
    now = time.time()
    if key.revoked is not None:
        state = f"revoked {_day(key.revoked)}"
    elif not key.lives(now):
        state = f"expired {_day(key.expires)}"
    else:
        state = "valid" if key.expires is None else f"valid until {_day(key.expires)}"
        if sum(secret.lives(now) for secret in key.secrets) > 1:
            state += ", two secrets"
    # A name may hold anything, and a terminal obeys control characters.
    name = key.name if key.name.isprintable() else ascii(key.name)
    return (key.id, name, ",".join(key.scopes), key.plan, _day(key.created), _day(key.last_used), state)


def _day(seconds: float | None) -> str:
    return "never" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _name(text: str) -> str:
    if not 1 <= len(text) <= 100:
        raise argparse.ArgumentTypeError("a name has 1 to 100 characters")
    return text


def _plan(text: str) -> str:
    if not re.fullmatch(PLAN, text):
        raise argparse.ArgumentTypeError("a plan's name has 1 to 40 of a-z, 0-9, _ and -")
    return text


def _scopes(text: str) -> list[Scope]:
    found = [each.strip() for each in text.split(",") if each.strip()]
    unknown = [each for each in found if each not in list(Scope)]
    if unknown or not found:
        said = f"{', '.join(unknown)} is none" if unknown else "name at least one"
        raise argparse.ArgumentTypeError(f"{said}: there are {', '.join(Scope)}")
    return [Scope(each) for each in found]


def _duration(text: str) -> float:
    """Seconds."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 30m, 12h or 90d")
    return float(int(found[1]) * _UNITS[found[2]])
