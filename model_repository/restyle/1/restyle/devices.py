"""What the models that this one calls run on, as far as their processes say so."""

import os
from collections.abc import Mapping
from pathlib import Path


def read_devices(models: Mapping[str, int]) -> dict[str, str]:
    """cpu or cuda by name, for those of ``models`` (with their versions) that have written it down.

    The embedded stack's backend for ONNX graphs does, as <model>/<version> in the folder REROOM_DEVICES. A response of
    Triton 2.51's Python backend has no place for it. Other backends, and models that are code, say nothing.
    """
    folder = os.environ.get("REROOM_DEVICES")
    if not folder:
        return {}
    files = {model: Path(folder, model, str(version)) for model, version in models.items()}
    return {model: file.read_text() for model, file in files.items() if file.is_file()}
