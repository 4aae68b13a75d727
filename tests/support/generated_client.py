"""openapi-python-client on the API's description: the package that it makes, imported."""

from __future__ import annotations

import importlib
import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.api_schema import described
from tests.support.programs import ran

PACKAGE = "generated_reroom"


class GeneratedClient:
    """A package made in ``folder``, which must be on the import path."""

    def __init__(self, folder: Path) -> None:
        source, config = folder / "openapi.json", folder / "config.json"
        source.write_text(json.dumps(described()))
        config.write_text(json.dumps({"post_hooks": [], "package_name_override": PACKAGE}))
        command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(source), "--meta", "none",
                   "--config", str(config), "--output-path", str(folder / PACKAGE)]  # fmt: skip
        made = ran(*command, timeout=120)
        said = made.stdout + made.stderr
        assert made.returncode == 0, said
        # It has no types for pictures as whole bodies; those addresses come as links anyway.
        assert set(re.findall(r"WARNING parsing (\S+ \S+)", said)) <= {
            "GET /files/{key}",
            "PUT /files/{key}",
            "GET /styles/{style}/picture",
        }, said

    def submit(self, url: str, data: bytes, style: str, preferences: dict[str, Any]) -> Any:
        """The receipt, or the problem."""
        models, types = self._module("models"), self._module("types")
        form = models.SubmitForm(
            file=types.File(payload=io.BytesIO(data), file_name="Küche.jpg"),
            style=style,
            preferences=models.Preferences(**preferences),
        )
        with self._module("client").Client(base_url=url) as client:
            return self._module("api.transform.submit").sync(client=client, body=form)

    def restyle(self, url: str, data: bytes, style: str, preferences: dict[str, Any], seconds: float) -> Any:
        """The status of the completed job; fails when it is not completed in time."""
        states, get_status = self._module("models").JobState, self._module("api.transform.get_status").sync
        submitted = self.submit(url, data, style, preferences)
        deadline = time.monotonic() + seconds
        with self._module("client").Client(base_url=url) as client:
            while time.monotonic() < deadline:
                status = get_status(submitted.job_id, client=client).data
                assert status.status != states.FAILED, status.error
                if status.status == states.COMPLETED:
                    return status
                time.sleep(0.1)
        raise AssertionError(f"not completed within {seconds:g} s: {status}")

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"{PACKAGE}.{name}")
