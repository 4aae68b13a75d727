"""Exits with 0 when the API of this host answers, for a container's health check.

    python -m orchestrator.commands.api_health

The API's own ``/health`` reports on Redis, Triton, storage and workers.
"""

from __future__ import annotations

import os
import sys
import urllib.request
from http.client import HTTPException

from orchestrator.programs.arguments import no_arguments

ANSWER_SECONDS = 4.0


def main() -> int:
    no_arguments("orchestrator.commands.api_health", __doc__ or "")
    port = os.environ.get("REROOM_PORT") or "8000"
    url = f"http://127.0.0.1:{port}/health/live"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS):
            return 0
    except (OSError, HTTPException) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
