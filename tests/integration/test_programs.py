"""Every program of the project explains itself with ``--help``, and does nothing else."""

from __future__ import annotations

import json
import os
import sys

from tests.conftest import ROOT
from tests.support.programs import ran

PLACES = (ROOT, ROOT / "client" / "src")
NO_MODULES = {"guard", "check_cuda", "device_program"}
"""Started by their path: the first by our own code only, the others where their siblings are found."""

DRIVER = """
import contextlib, io, json, runpy, sys
for module in sys.argv[1:]:
    output, sys.argv = io.StringIO(), [module, "--help"]
    try:
        with contextlib.redirect_stdout(output):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = "no exit"
    except SystemExit as end:
        status = end.code
    except Exception as error:
        status = repr(error)
    print(json.dumps([module, status, output.getvalue()]), flush=True)
"""


def programs() -> list[str]:
    """What ``python -m`` runs, as packages (``__main__.py``) or modules."""
    found = []
    for place in PLACES:
        for package in ("orchestrator", "export", "dollhouse", "stack", "benchmarks", "reroom"):
            for file in (place / package).rglob("*.py"):
                runs = file.name == "__main__.py" or '__name__ == "__main__"' in file.read_text()
                if runs and file.stem not in NO_MODULES:
                    parts = file.relative_to(place).with_suffix("").parts
                    found.append(".".join(part for part in parts if part != "__main__"))
    return sorted(found)


def test_every_program_prints_its_usage_and_ends() -> None:
    names = programs()
    assert {"orchestrator.app", "orchestrator.worker", "stack", "export", "reroom"} <= set(names)
    # One process, because many of them would load torch, each for five seconds. A server would start, with these.
    env = {**os.environ, "REROOM_SIGNING_KEY": "k" * 32, "REROOM_PORT": "0"}
    done = ran(sys.executable, "-W", "ignore", "-c", DRIVER, *names, cwd=ROOT, env=env, timeout=120)
    answers = {name: (status, said) for name, status, said in map(json.loads, done.stdout.splitlines())}
    wrong = {name: answers.get(name) for name in names if answers.get(name, (None, ""))[0] != 0}
    assert wrong == {}, done.stderr[-2000:]
    assert all("usage:" in output.lower() for _, output in answers.values())


def test_scripts_that_are_started_by_their_path_print_their_usage_too() -> None:
    backend = ROOT / "stack" / "backends" / "onnxruntime"
    scripts = (
        *(
            "stack/watch_triton.py",
            "export/releases/checksums.py",
            "setup/environment.py",
            "model_repository/restyle/1/rehearsal.py",
        ),
        *(f"{backend.relative_to(ROOT)}/check_cuda.py", "benchmarks/device_program.py"),
    )
    for script in scripts:
        done = ran(sys.executable, ROOT / script, "--help", env={**os.environ, "PYTHONPATH": str(backend)})
        assert done.returncode == 0, done.stderr
        assert "usage:" in done.stdout.lower()


def test_servers_take_no_arguments() -> None:
    for module in ("orchestrator.app", "orchestrator.worker", "orchestrator.commands.api_health"):
        done = ran(sys.executable, "-m", module, "now", cwd=ROOT)
        assert done.returncode == 2
        assert "unrecognized arguments: now" in done.stderr
