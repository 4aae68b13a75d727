"""Prints the API's OpenAPI document, as an API with default settings serves it.

python -m orchestrator.commands.openapi > docs/openapi.json
"""

from __future__ import annotations

import json

from orchestrator.api.openapi import document
from orchestrator.app import ROUTES
from orchestrator.programs.arguments import no_arguments
from orchestrator.settings import Settings


def main() -> None:
    no_arguments("orchestrator.commands.openapi", __doc__ or "")
    described = document(ROUTES, Settings.model_fields["max_upload_bytes"].default)
    print(json.dumps(described, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
