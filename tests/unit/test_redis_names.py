"""What two versions of the service must agree on while a deployment rolls, and Python with the Lua scripts always."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.adapters.redis import scripts
from orchestrator.adapters.redis.keys import GROUP, PARKED, Keys
from orchestrator.domain.job import TERMINAL, JobState

LUA = Path(scripts.__file__).with_name("lua")


@pytest.mark.parametrize("path", sorted(LUA.glob("*/*.lua")), ids=lambda path: path.stem)
def test_scripts_take_shared_names_from_python(path: Path) -> None:
    quoted = set(re.findall(r"'([^'\n]*)'", re.sub(r"--.*", "", path.read_text())))
    assert not quoted & {*JobState, GROUP, PARKED}


def test_the_constants_of_the_scripts() -> None:
    made = scripts.constants()
    assert made.startswith("local QUEUE, WAITING, DELAYED, ")
    assert "local ANALYZING = 'analyzing'\n" in made
    terminal = re.findall(r"\[(\w+)\] = true", made)
    assert {JobState[name] for name in terminal} == TERMINAL


def test_stored_names_stay() -> None:
    jobs = "queue waiting delayed declined cleanup dead stats workers"
    turns = "turns hurried spent work deadlines"
    names = f"{jobs} {turns} api_keys stored outbox lanes expiring trees since lately_failed errands canaries"
    names += " report: ready: job: events: done: claim: photo: once: api_key: ticket: rate: reserved: account: usage:"
    names += (
        " own_styles: listed: favourites: lane: busy: delivery: sent: endpoint: endpoints: levels: canary:"
    )
    assert Keys.under("reroom:") == tuple(f"reroom:{name}" for name in names.split())
    assert (GROUP, PARKED) == ("workers", "parked")
