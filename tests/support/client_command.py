"""The command ``reroom`` for its tests: in this process, which is fast, or as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from reroom._cli import main
from tests.conftest import ROOT
from tests.support.client_service import Service


def run(service_url: str, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, run in this process."""
    ran = CliRunner().invoke(main, [*map(str, arguments)], env={"REROOM_URL": service_url})
    return ran.exit_code, ran.stdout, ran.stderr


def start(service_url: str, *arguments: str | Path, **options: Any) -> subprocess.Popen[Any]:
    """The command as a process, for signals, terminals and pipes."""
    env = {
        **os.environ,
        "REROOM_URL": service_url,
        "PYTHONPATH": str(ROOT / "client" / "src"),
        "COLUMNS": "120",
    }
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([sys.executable, "-m", "reroom", *map(str, arguments)], env=env, **options)


def interrupted(process: subprocess.Popen[Any]) -> str:
    """The rest of stderr after Ctrl-C now; asserts that the command ends as interrupted."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 130
    return str(err)


def interrupted_at_its_first_step(process: subprocess.Popen[Any], jobs: int = 1) -> str:
    """As ``interrupted``, once ``jobs`` jobs have begun."""
    assert process.stderr is not None
    for line in process.stderr:
        if "step 1" in line and not (jobs := jobs - 1):
            break
    return interrupted(process)


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def preferences_sent(service: Service) -> Any:
    sent = service.bodies[0].decode()
    return json.loads(sent.split('name="preferences"\r\n\r\n')[1].split("\r\n")[0])
