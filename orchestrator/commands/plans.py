"""``python -m orchestrator plans``: checks a file of plans."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.domain.plans import Plan, load_plans
from orchestrator.domain.styles import STYLES, load_styles


def add_commands(commands: Any) -> None:
    """Add ``plans`` to the subparsers of a program. Each command's namespace has ``run``, a coroutine function."""
    plans = commands.add_parser("plans", help="plans: the limits that keys have")
    actions = plans.add_subparsers(required=True, metavar="ACTION")
    described = "say what is wrong with a file of plans, or what each plan limits"
    check = actions.add_parser("check", help=described, description=described)
    check.add_argument("file", type=Path, help="TOML, as REROOM_KEY_PLANS names it")
    named = os.environ.get("REROOM_STYLES_FILE") or None
    about = "the file of styles that plans may name (REROOM_STYLES_FILE)"
    check.add_argument("--styles", type=Path, default=named, help=about)
    check.set_defaults(run=_check)


async def _check(options: argparse.Namespace) -> None:
    styles = STYLES if options.styles is None else load_styles(Path(options.styles), STYLES)
    for name, plan in load_plans(options.file, styles).by_name.items():
        print(f"{name}: {', '.join(_limits(plan)) or 'no limits'}")


def _limits(plan: Plan) -> list[str]:
    """What differs from a plan without limits."""
    usual = Plan()
    return [
        f"{name} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in msgspec.structs.asdict(plan).items()
        if value != getattr(usual, name)
    ]
