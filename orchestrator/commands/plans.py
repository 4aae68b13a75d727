"""``python -m orchestrator plans``: checks a file of plans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.domain.plans import Plan, load_plans


def add_commands(commands: Any) -> None:
    """Add ``plans`` to the subparsers of a program. Each command's namespace has ``run``, a coroutine function."""
    plans = commands.add_parser("plans", help="plans: the limits that keys have")
    actions = plans.add_subparsers(required=True, metavar="ACTION")
    described = "say what is wrong with a file of plans, or what each plan limits"
    check = actions.add_parser("check", help=described, description=described)
    check.add_argument("file", type=Path, help="TOML, as REROOM_KEY_PLANS names it")
    check.set_defaults(run=_check)


async def _check(options: argparse.Namespace) -> None:
    for name, plan in load_plans(options.file).by_name.items():
        print(f"{name}: {', '.join(_limits(plan)) or 'no limits'}")


def _limits(plan: Plan) -> list[str]:
    """What differs from a plan without limits."""
    usual = Plan()
    return [
        f"{name} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in msgspec.structs.asdict(plan).items()
        if value != getattr(usual, name)
    ]
