"""What the embedded stack keeps in its folder so that it outlives a restart: the signing key, and a key to the API."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.process import StackError

COMMAND_SECONDS = 60.0


def signing_key(run: Path) -> str:
    """The key kept in ``run``, so that signed URLs outlive a restart of the stack."""
    file = run / "signing_key"
    if not file.exists() or not file.read_text():
        write_secret(file, secrets.token_hex(32))
    return file.read_text()


def api_key(run: Path, env: Mapping[str, str]) -> str:
    """The API key kept in ``run``; a new one the first time, and when the kept one is no longer valid. ``env`` has the
    settings of the API, whose store must be running. Raises StackError."""
    file = run / "api_key"
    kept = file.read_text() if file.exists() else ""
    if kept.count("_") == 2:
        shown = _keys(env, "show", kept.split("_")[1])
        if shown and shown[0]["secrets"]:
            return kept
    made = _keys(env, "create", "--name", "make up", check=True)
    write_secret(file, made["key"])
    return file.read_text()


def write_secret(file: Path, secret: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = file.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(secret)
    temporary.replace(file)


def _keys(env: Mapping[str, str], *arguments: str, check: bool = False) -> Any:
    """The answer of ``python -m orchestrator keys``; None, or with ``check`` StackError, if it failed."""
    command = [sys.executable, "-m", "orchestrator", "keys", *arguments, "--json"]
    done = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    if done.returncode == 0:
        return json.loads(done.stdout)
    if check:
        raise StackError(f"no API key could be made: {done.stderr.strip()}")
    return None
